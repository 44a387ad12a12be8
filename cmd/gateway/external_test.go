package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
)

func (a answer) access(t testing.TB) openapi.ExternalAccess {
	t.Helper()
	var e openapi.ExternalAccess
	require.NoError(t, json.Unmarshal(a.body, &e), "%d %s", a.status, a.body)
	return e
}

func TestExternalAccess(t *testing.T) {
	g := newGateway(t, nil)
	token := staff(t)
	x := newTenant(t, behaviour{access: reasons.Enabled})
	a := g.call(http.MethodGet, x.path("external-db-access"), token, "")
	require.Equal(t, openapi.Disabled, a.access(t).Status)

	for _, method := range []string{http.MethodPost, http.MethodPut} {
		a = g.call(method, x.path("external-db-access"), token, `{"enabled":true}`)
		require.Equal(t, http.StatusOK, a.status, "%s", a.body)
		require.Equal(t, openapi.Enabled, a.access(t).Status)
		require.True(t, a.access(t).Enabled)
		require.Equal(t, "postgresql://tenant_x:********@db.example.com:5432/site_x?sslmode=verify-full", a.access(t).ExternalDatabaseUrl)
		generation := x.object().Generation
		require.Equal(t, http.StatusOK, g.call(method, x.path("external-db-access"), token, `{"enabled":true}`).status)
		require.Equal(t, generation, x.object().Generation, "nothing is written for what is so")
		require.Equal(t, openapi.Enabled, g.call(http.MethodGet, x.path("external-db-access"), token, "").access(t).Status)

		a = g.call(method, x.path("external-db-access"), token, `{"enabled":false}`)
		require.Equal(t, http.StatusOK, a.status, "%s", a.body)
		require.Equal(t, openapi.Disabled, a.access(t).Status)
		require.Empty(t, a.access(t).ExternalDatabaseUrl)
		require.Nil(t, x.object().Spec.ExternalAccess)
	}
}

func TestExternalAccessThatIsNotOffered(t *testing.T) {
	g := newGateway(t, nil)
	for _, reason := range []string{reasons.NotOffered, reasons.NotEnforced} {
		x := newTenant(t, behaviour{access: reason})
		p := requireProblem(t, g.call(http.MethodPost, x.path("external-db-access"), staff(t), `{"enabled":true}`), http.StatusConflict, openapi.NotOffered)
		require.Contains(t, p.Detail, reason)
		require.Contains(t, p.Detail, "host db.internal has no rule")
		a := g.call(http.MethodGet, x.path("external-db-access"), staff(t), "")
		require.Equal(t, openapi.Disabled, a.access(t).Status)
	}
}

// Without an external address no access is asked for: it would come as a surprise once there is one.
func TestExternalAccessWithoutAnAddress(t *testing.T) {
	environment(t, "inward")
	var e v1alpha1.TenantEnvironment
	require.NoError(t, admin.Get(t.Context(), client.ObjectKey{Name: "inward"}, &e))
	before := e.DeepCopy()
	e.Spec.Postgres.External = nil
	require.NoError(t, admin.Patch(t.Context(), &e, client.MergeFrom(before)))
	g := newGateway(t, nil) // its cache begins after that
	x := newTenantIn(t, "tenants", "inward", uuid.NewString(), behaviour{access: reasons.Enabled})
	requireProblem(t, g.call(http.MethodPost, x.path("external-db-access"), staff(t), `{"enabled":true}`), http.StatusConflict, openapi.NotOffered)
	require.Nil(t, x.object().Spec.ExternalAccess)
}

// The operator is down for longer than the wait.
func TestExternalAccessThatTakesLonger(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{ignore: true})
	a := g.call(http.MethodPost, x.path("external-db-access"), staff(t), `{"enabled":true}`)
	require.Equal(t, http.StatusAccepted, a.status)
	require.Equal(t, openapi.Enabling, a.access(t).Status)
	require.Equal(t, x.path("external-db-access"), a.header.Get("Location"))
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.NotNil(t, x.object().Spec.ExternalAccess)
}
