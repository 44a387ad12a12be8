package integration

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// Each obstacle shows its own reason and a message with fact, consequence and command; nothing is changed by it; and the rotation
// that was asked for happens automatically once the cause is gone.
func TestObstacles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason  string
		says    []string
		arrange func(t *testing.T) (x tenant, spec []string, heal func())
	}{
		{"FlyAppNotFound", []string{"does not exist. Nothing was changed. To fix: fly apps create sp-"}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t)
			return x, nil, func() { x.MakeApp("postgres://unknown", "stopped") }
		}},
		{"TenantNotFound", []string{"Table management.tenants of environment sandbox has no row for tenant", "Nothing was changed. To fix: insert the row"}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			x.SQL("CREATE TABLE IF NOT EXISTS public.parked (LIKE management.tenants)")
			x.SQL("WITH gone AS (DELETE FROM management.tenants WHERE id = '" + x.ID + "' RETURNING *) INSERT INTO public.parked SELECT * FROM gone")
			return x, nil, func() {
				x.SQL("INSERT INTO management.tenants SELECT * FROM public.parked WHERE id = '" + x.ID + "'")
			}
		}},
		{"RoleNotFound", []string{"does not exist. Nothing was changed. To fix, in PostgreSQL: CREATE ROLE"}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			x.SQL("ALTER ROLE " + x.Role() + " RENAME TO parked_" + x.Short)
			return x, nil, func() { x.SQL("ALTER ROLE parked_" + x.Short + " RENAME TO " + x.Role()) }
		}},
		{"RoleNotAllowed", []string{"has the attribute CREATEDB: ALTER ROLE tenant_", "does not rotate such a role", "Nothing was changed."}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			x.SQL("ALTER ROLE " + x.Role() + " CREATEDB")
			return x, nil, func() { x.SQL("ALTER ROLE " + x.Role() + " NOCREATEDB") }
		}},
		{"RoleNotAllowed", []string{"has a database that accepts no connections: ALTER DATABASE site_", "Nothing was changed."}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			x.SQL("ALTER DATABASE site_" + x.Short + " ALLOW_CONNECTIONS false")
			return x, nil, func() { x.SQL("ALTER DATABASE site_" + x.Short + " ALLOW_CONNECTIONS true") }
		}},
		{"TenantNotBound", []string{"Namespace tenants-sandbox is not bound to tenant", "The operator does nothing for this object.", "kubectl label namespace tenants-sandbox tenant.credentials"}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			kubectl(t, "", "label", "namespace", "tenants-sandbox", "tenant.credentials.systemprompt.io/"+x.ID+"-")
			return x, nil, x.Bind
		}},
		{"EnvironmentNotFound", []string{"TenantEnvironment nowhere-", "does not exist. Nothing was changed. To fix: create the environment; or recreate this object with the name of an existing one."}, func(t *testing.T) (tenant, []string, func()) {
			e, server := platform.NewServer(t, "nowhere")
			manifest := e.Manifest(t)
			e.Prepare(t, server, manifest)
			return newTenantIn(t, e, "stopped"), nil, func() { e.Create(t, manifest) }
		}},
		{"AuthenticationFailed", []string{"Fly rejected the token (HTTP 401). Nothing was changed. To fix: replace key token in Secret tcred-system/fly-"}, func(t *testing.T) (tenant, []string, func()) {
			e, mend := platform.NewEnvironmentWithoutToken(t, "fly")
			return newTenantIn(t, e, "stopped"), nil, mend
		}},
		{"ConnectionFailed", []string{"503", "Nothing was changed."}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			return x, nil, x.Fault(`{"route":"*","mode":"status","status":503,"body":"<html>busy</html>","count":-1}`)
		}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			x, spec, heal := test.arrange(t)
			x.Apply(append(spec, "rotationGeneration: 1")...)
			x.WaitReason(test.reason)
			ready := x.Get().Condition("Ready")
			for _, part := range test.says {
				require.Contains(t, ready.Message, part)
			}
			require.Equal(t, x.Get().Metadata.Generation, ready.ObservedGeneration)
			require.Zero(t, x.Writes(), "something was written to Fly")
			require.Zero(t, x.Rows()["committed"]+x.Rows()["completed"])
			heal()
			x.WaitReady()
			require.Equal(t, map[string]int{"completed": 1}, x.Rows())
			requireAccepted(t, x.URL())
		})
	}
}

// PostgreSQL is down: a tenant with a rotation due says so, nothing is lost, and it goes on when the server is back. The status of a tenant at
// rest is not touched. The other environment's tenants do not notice.
func TestPostgresDown(t *testing.T) { // not parallel: the other tests need the server
	x, resting := newTenant(t, "stopped"), newTenant(t, "stopped")
	for _, each := range []tenant{x, resting} {
		each.Apply()
		each.WaitReady()
	}
	seen := resting.Get().Status
	require.NoError(t, playground("postgres-down", "sandbox").Run())
	x.Apply("rotationGeneration: 1")
	x.WaitReason("EnvironmentNotReady")
	o := x.Get()
	require.Contains(t, o.Condition("Ready").Message, "Nothing was changed.")
	require.Contains(t, o.Condition("Ready").Message, "Retrying automatically.")
	require.NotContains(t, o.Condition("Ready").Message, "kubectl get tenv", "which a tenant's people may not")
	require.Equal(t, "Unknown", o.Condition("PostgresSynced").Status)
	require.Zero(t, x.Writes())
	resting.Poke()
	require.Equal(t, seen, resting.Get().Status)
	kubectl(t, "", "wait", "tenv", "prod", "--for=condition=Ready", "--timeout=10s")

	require.NoError(t, playground("postgres-up", "sandbox").Run())
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	resting.Poke()
	require.Equal(t, seen, resting.Get().Status)
}

// A second object for the same tenant changes nothing, and takes over once the first is gone.
func TestTwoObjectsForOneTenant(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	y := x
	y.Name = x.Name + "-twin"
	y.Apply("rotationGeneration: 5")
	y.WaitReason("OwnershipConflict")
	require.Contains(t, y.Get().Condition("Ready").Message, "tenants-sandbox/"+x.Name)
	require.Equal(t, "OwnershipConflict", y.Get().Condition("Stalled").Reason)
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	x.Delete()
	y.Poke()
	y.WaitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
}

// Two tenants whose IDs begin with the same eight digits have the same names, and the second one is told how to get its own.
func TestNameConflict(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply()
	x.WaitReady()
	y := platform.NewNamedRow(t, x.Short+"-0000-4000-8000-000000000000", x.Name+"-same")
	y.Bind()
	y.Apply("rotationGeneration: 1")
	y.WaitReason("NameConflict")
	require.Contains(t, y.Get().Condition("Ready").Message, "db_role")
	require.Empty(t, y.Rows())

	own := newTenant(t, "stopped")
	own.SQL(fmt.Sprintf("UPDATE management.tenants SET db_role = '%s', db_name = 'site_%s', fly_app = '%s' WHERE id = '%s'", own.Role(), own.Short, own.App(), y.ID))
	y.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, y.Rows())
	own.SQL("DELETE FROM management.tenants WHERE id = '" + own.ID + "'")
}

// A password that another client changes behind the operator's back is noticed, and a raised generation sets all of it right.
func TestDriftIsShownAndHealed(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	for name, change := range map[string]func(){
		"PostgresSynced": func() { x.SQL("ALTER ROLE " + x.Role() + " PASSWORD 'somebodyelse'") },
		"HashSynced":     func() { x.SQL("UPDATE management.tenants SET password_hash = 'x' WHERE id = '" + x.ID + "'") },
		"FlySecretSynced": func() {
			admin(t, http.MethodPut, "/admin/apps/"+x.App()+"/secrets/DATABASE_URL", `{"value":"postgres://other"}`, nil)
		},
	} {
		change()
		x.Poke()
		x.WaitReason("DriftDetected")
		require.Equal(t, "False", x.Get().Condition(name).Status)
		next := x.Get().Status.RotationGeneration + 1
		require.Contains(t, x.Get().Condition("Ready").Message, fmt.Sprintf("raise spec.rotationGeneration to %d", next))
		x.Apply(fmt.Sprintf("rotationGeneration: %d", next))
		x.WaitReady()
		requireAccepted(t, x.URL())
	}
}
