package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/test/issuer"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// customers are those of one platform: an issuer of their tokens, and a database that names each tenant's owner.
type customers struct {
	t      testing.TB
	issuer *issuer.Issuer
	server *pgserver.Server
	dba    *pgx.Conn
	logins string
	config string
}

func newCustomers(t testing.TB, server *pgserver.Server) *customers {
	t.Helper()
	c := &customers{t: t, issuer: issuer.New(), server: server, logins: t.TempDir(), config: filepath.Join(t.TempDir(), "authentication.yaml")}
	t.Cleanup(c.issuer.Close)
	require.NoError(t, os.WriteFile(c.config, fmt.Appendf(nil, `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: %s
    audiences: [tenants]
    certificateAuthority: |
      %s
  claimMappings:
    username: {claim: sub, prefix: ""}
`, c.issuer.URL, strings.ReplaceAll(strings.TrimSpace(c.issuer.CA), "\n", "\n      ")), 0o600))
	name := "platform_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	root, err := pgx.Connect(context.Background(), server.SuperuserURL())
	require.NoError(t, err)
	_, err = root.Exec(context.Background(), "create database "+name)
	require.NoError(t, err)
	require.NoError(t, root.Close(context.Background()))
	c.dba, err = pgx.Connect(context.Background(), strings.Replace(server.SuperuserURL(), "/postgres?", "/"+name+"?", 1))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.dba.Close(context.Background()) })
	password := secrets.add("the-gateways-password-" + uuid.NewString())
	_, err = c.dba.Exec(context.Background(), fmt.Sprintf(`create schema tenant_credentials;
		create table tenant_credentials.owners (tenant uuid primary key, owner text);
		create function tenant_credentials.owner_is(tenant uuid, subject text) returns boolean language sql security definer
			set search_path = pg_catalog, pg_temp as 'select o.owner = subject from tenant_credentials.owners o where o.tenant = owner_is.tenant';
		revoke execute on function tenant_credentials.owner_is from public;
		create role %[1]s login password '%[2]s';
		grant usage on schema tenant_credentials to %[1]s;
		grant execute on function tenant_credentials.owner_is to %[1]s`, name+"_gateway", password))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(c.logins, "sandbox"), []byte(server.URL(name+"_gateway", password, name)), 0o600))
	return c
}

func (c *customers) options(o *options) { o.issuers, o.ownerLogins = c.config, c.logins }

func (c *customers) own(tenantID, subject string) {
	c.t.Helper()
	_, err := c.dba.Exec(context.Background(), "insert into tenant_credentials.owners values ($1, $2)", tenantID, subject)
	require.NoError(c.t, err)
}

func (c *customers) token(subject string) string {
	return secrets.add(c.issuer.Token("tenants", subject))
}

func TestAnOwner(t *testing.T) {
	c := newCustomers(t, postgres)
	g := newGateway(t, c.options)
	alice, bob := c.token("alice"), c.token("bob")
	mine, others, unknown := newTenant(t, behaviour{}), newTenant(t, behaviour{}), &tenant{t: t, id: uuid.NewString()}
	c.own(mine.id, "alice")
	c.own(others.id, "bob")
	require.Eventually(t, func() bool { return g.rotate(mine, alice, "").status == http.StatusOK }, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, "alice", mine.object().Spec.RotationRequest.RequestedBy)
	require.Equal(t, "alice", *g.call(http.MethodGet, mine.path("rotations", "1"), alice, "").rotation(t).RequestedBy)
	require.Equal(t, http.StatusOK, g.rotate(mine, staff(t), "").status)
	require.Nil(t, g.call(http.MethodGet, mine.path("rotations", "2"), alice, "").rotation(t).RequestedBy, "the staff's name is not a customer's to know")
	require.NotContains(t, string(g.call(http.MethodGet, mine.path("rotations"), alice, "").body), "staff")
	for _, path := range []struct{ method, path, body string }{
		{http.MethodPost, "rotate-credentials", ""}, {http.MethodGet, "rotations", ""}, {http.MethodGet, "rotations/1", ""},
		{http.MethodGet, "external-db-access", ""}, {http.MethodPost, "external-db-access", `{"enabled":true}`},
	} {
		foreign := g.call(path.method, others.path(path.path), alice, path.body)
		requireProblem(t, foreign, http.StatusForbidden, openapi.Forbidden)
		require.Equal(t, string(foreign.body), string(g.call(path.method, unknown.path(path.path), alice, path.body).body))
	}
	require.Nil(t, others.object().Spec.RotationRequest)

	managedElsewhere := uuid.NewString()
	c.own(managedElsewhere, "alice")
	requireProblem(t, g.rotate(&tenant{t: t, id: managedElsewhere}, alice, ""), http.StatusNotFound, openapi.TenantNotFound)

	mine.change(func(c *v1alpha1.TenantCredential) { c.Spec.Suspend = true })
	p := requireProblem(t, g.rotate(mine, alice, ""), http.StatusConflict, openapi.Suspended)
	require.NotContains(t, p.Detail, mine.key.Name)
	others.restate(func(c *v1alpha1.TenantCredential) {
		set(c, v1alpha1.StalledCondition, metav1.ConditionTrue, reasons.FlyAppNotFound, "Tenant 4f21a7c9 has the app.")
	})
	p = requireProblem(t, g.rotate(others, bob, ""), http.StatusConflict, openapi.Stalled)
	require.NotContains(t, p.Detail, "4f21a7c9")
}

// A customer whose name is that of a subject of the cluster is a customer all the same.
func TestACustomerHasNoRightInTheCluster(t *testing.T) {
	c := newCustomers(t, postgres)
	g := newGateway(t, c.options)
	x := newTenant(t, behaviour{ignore: true})
	for _, name := range []string{"system:serviceaccount:tenants:staff", "system:admin", "admin"} {
		requireProblem(t, g.rotate(x, c.token(name), ""), http.StatusForbidden, openapi.Forbidden)
	}
	claims := c.issuer.Claims("tenants", "mallory")
	claims["groups"] = []string{"system:masters"}
	requireProblem(t, g.rotate(x, secrets.add(c.issuer.Sign(claims)), ""), http.StatusForbidden, openapi.Forbidden)
}

func TestWhereTheOwnerCannotBeAskedNothingIsDone(t *testing.T) {
	server, err := pgserver.Start(t.Context(), pgserver.Options{Version: "18"})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	c := newCustomers(t, server)
	g := newGateway(t, c.options)
	x := newTenant(t, behaviour{})
	c.own(x.id, "alice")
	require.Eventually(t, func() bool { return g.rotate(x, c.token("alice"), "").status == http.StatusOK }, 10*time.Second, 20*time.Millisecond)
	server.Down()
	before := x.object().Spec.RotationRequest.ID
	for _, token := range []string{c.token("alice"), c.token("bob")} {
		known := g.rotate(x, token, "")
		requireProblem(t, known, http.StatusServiceUnavailable, openapi.Unavailable)
		unknown := g.rotate(&tenant{t: t, id: uuid.NewString()}, token, "")
		require.Equal(t, string(known.body), string(unknown.body))
	}
	require.Equal(t, before, x.object().Spec.RotationRequest.ID)
	require.Equal(t, http.StatusOK, g.rotate(x, staff(t), "").status, "whose right is the cluster's is not held up")
}

func TestAnIssuerThatDoesNotAnswer(t *testing.T) {
	c := newCustomers(t, postgres)
	c.issuer.Down()
	g := newGateway(t, c.options)
	x := newTenant(t, behaviour{ignore: true})
	a := g.call(http.MethodGet, x.path("rotations"), c.token("alice"), "")
	requireProblem(t, a, http.StatusServiceUnavailable, openapi.Unavailable)
	require.Equal(t, http.StatusOK, g.call(http.MethodGet, x.path("rotations"), staff(t), "").status)
}

func TestBadTokensOfAnIssuer(t *testing.T) {
	c := newCustomers(t, postgres)
	g := newGateway(t, c.options)
	x := newTenant(t, behaviour{ignore: true})
	c.own(x.id, "alice")
	require.Eventually(t, func() bool {
		return g.call(http.MethodGet, x.path("rotations"), c.token("alice"), "").status == http.StatusOK
	}, 10*time.Second, 20*time.Millisecond)
	good := c.issuer.Claims("tenants", "alice")
	for name, token := range map[string]string{
		"expired":      c.issuer.Sign(issuer.With(good, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})),
		"none":         c.issuer.Unsigned(good),
		"confused":     c.issuer.Confused(good),
		"forged":       c.issuer.Forge(good),
		"another aud":  c.issuer.Sign(issuer.With(good, map[string]any{"aud": "tenant-credential-gateway"})),
		"without name": c.issuer.Sign(issuer.With(good, map[string]any{"sub": nil})),
	} {
		t.Run(name, func(t *testing.T) {
			a := g.call(http.MethodGet, x.path("rotations"), secrets.add(token), "")
			requireProblem(t, a, http.StatusUnauthorized, openapi.Unauthenticated)
			require.Contains(t, a.header.Get("WWW-Authenticate"), `error="invalid_token"`)
		})
	}
	c.issuer.Rotate()
	require.Equal(t, http.StatusOK, g.call(http.MethodGet, x.path("rotations"), c.token("alice"), "").status)
}
