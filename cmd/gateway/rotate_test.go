package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
)

func TestRotated(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{commit: 50 * time.Millisecond, prove: 50 * time.Millisecond, complete: -1})
	a := g.rotate(x, staff(t), `{"reason":"laptop lost"}`)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	r := a.rotation(t)
	require.Equal(t, openapi.Rotated, r.Status)
	require.Equal(t, "Credentials rotated. Retrieve via: fly secrets list -a sp-"+x.id[:8], r.Message)
	require.Equal(t, "postgresql://tenant_x:********@db.internal:5432/site_x", r.InternalDatabaseUrl)
	require.Empty(t, r.ExternalDatabaseUrl)
	require.EqualValues(t, 1, r.Revision)
	require.Equal(t, `"1"`, a.header.Get("ETag"))
	require.Equal(t, "/api/v1/tenants/"+x.id+"/rotations/1", r.Links.Self)
	require.Equal(t, openapi.Machines{Total: 4}, *r.Machines)
	request := x.object().Spec.RotationRequest
	require.Equal(t, "laptop lost", request.Reason)
	require.Equal(t, "system:serviceaccount:tenants:staff", request.RequestedBy)
}
