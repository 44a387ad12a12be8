package integration

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each obstacle shows its own reason and a message with fact, consequence and command; nothing is changed by it; and the rotation
// that was asked for happens by itself once the cause is gone.
func TestObstacles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason  string
		says    []string
		arrange func(t *testing.T) (x tenant, spec []string, heal func())
	}{
		{"FlyAppNotFound", []string{"does not exist. Nothing was changed. Create it (fly apps create sp-"}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t)
			return x, nil, func() { x.makeApp("postgres://unknown", "stopped") }
		}},
		{"TenantNotFound", []string{"Table management.tenants of environment sandbox has no row for tenant", "Nothing was changed. Insert the row"}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			x.sql("CREATE TABLE IF NOT EXISTS public.parked (LIKE management.tenants)")
			x.sql("WITH gone AS (DELETE FROM management.tenants WHERE id = '" + x.id + "' RETURNING *) INSERT INTO public.parked SELECT * FROM gone")
			return x, nil, func() {
				x.sql("INSERT INTO management.tenants SELECT * FROM public.parked WHERE id = '" + x.id + "'")
			}
		}},
		{"RoleNotFound", []string{"does not exist. Nothing was changed. In PostgreSQL: CREATE ROLE"}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			x.sql("ALTER ROLE " + x.role() + " RENAME TO parked_" + x.short)
			return x, nil, func() { x.sql("ALTER ROLE parked_" + x.short + " RENAME TO " + x.role()) }
		}},
		{"RoleNotAllowed", []string{"has the attribute CREATEDB: ALTER ROLE tenant_", "rotates no such role", "Nothing was changed."}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			x.sql("ALTER ROLE " + x.role() + " CREATEDB")
			return x, nil, func() { x.sql("ALTER ROLE " + x.role() + " NOCREATEDB") }
		}},
		{"TenantNotBound", []string{"Namespace tenants-sandbox is not bound to tenant", "Nothing was changed.", "kubectl label namespace tenants-sandbox tenant.credentials"}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			kubectl(t, "", "label", "namespace", "tenants-sandbox", "tenant.credentials.systemprompt.io/"+x.id+"-")
			return x, nil, x.bind
		}},
		{"EnvironmentNotFound", []string{"TenantEnvironment nowhere-", "does not exist. Nothing was changed. Create it, or write one that exists: kubectl get tenv"}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			name := "nowhere-" + x.short
			return x, []string{"environmentRef: {name: " + name + "}"}, func() { copyEnvironment(t, name, "fly-sandbox") }
		}},
		{"AuthenticationFailed", []string{"Fly token rejected (401). Nothing was changed. Replace key token in Secret tcred-system/fly-"}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			name := "fly-" + x.short
			kubectl(t, "", "-n", "tcred-system", "create", "secret", "generic", name, "--from-literal=token=expiredtokenexpiredtokenexpired")
			copyEnvironment(t, name, name)
			return x, []string{"environmentRef: {name: " + name + "}"}, func() {
				kubectl(t, `{"stringData":{"token":"`+os.Getenv("FLY_API_TOKEN")+`"}}`, "-n", "tcred-system", "patch", "secret", name, "--patch-file=/dev/stdin")
			}
		}},
		{"ConnectionFailed", []string{"503", "Nothing was changed."}, func(t *testing.T) (tenant, []string, func()) {
			x := newTenant(t, "stopped")
			return x, nil, x.fault(`{"route":"*","mode":"status","status":503,"body":"<html>busy</html>","count":-1}`)
		}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			x, spec, heal := test.arrange(t)
			x.apply(append(spec, "rotationGeneration: 1")...)
			x.waitReason(test.reason)
			ready := x.get().condition("Ready")
			for _, part := range test.says {
				require.Contains(t, ready.Message, part)
			}
			require.Equal(t, x.get().Metadata.Generation, ready.ObservedGeneration)
			require.Zero(t, x.writes(), "something was written to Fly")
			require.Zero(t, x.rows()["committed"]+x.rows()["completed"])
			heal()
			x.waitReady()
			require.Equal(t, map[string]int{"completed": 1}, x.rows())
			requireAccepted(t, x.url())
		})
	}
}

// copyEnvironment makes an environment like sandbox, with a Fly token from another Secret.
func copyEnvironment(t *testing.T, name, tokenSecret string) {
	t.Helper()
	manifest, err := os.ReadFile(os.Getenv("PLAYGROUND_DIR") + "/environment-sandbox.yaml")
	require.NoError(t, err)
	text := strings.Replace(string(manifest), "name: sandbox\n", "name: "+name+"\n", 1)
	kubectl(t, strings.Replace(text, "name: fly-sandbox", "name: "+tokenSecret, 1), "apply", "-f", "-")
}

// Postgres is down: the tenant says so, nothing is lost, and it goes on when the server is back. The other environment's tenants
// do not notice.
func TestPostgresDown(t *testing.T) { // not parallel: the other tests need the server
	x := newTenant(t, "stopped")
	x.apply()
	x.waitReady()
	require.NoError(t, playground("postgres-down", "sandbox").Run())
	x.apply("rotationGeneration: 1")
	x.waitReason("EnvironmentNotReady")
	o := x.get()
	require.Contains(t, o.condition("Ready").Message, "Nothing was changed.")
	require.Contains(t, o.condition("Ready").Message, "kubectl get tenv sandbox -o wide")
	require.Equal(t, "Unknown", o.condition("PostgresSynced").Status)
	require.Zero(t, x.writes())
	kubectl(t, "", "wait", "tenv", "prod", "--for=condition=Ready", "--timeout=10s")

	require.NoError(t, playground("postgres-up", "sandbox").Run())
	x.waitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.rows())
}

// A second object for the same tenant changes nothing, and takes over once the first is gone.
func TestTwoObjectsForOneTenant(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.apply("rotationGeneration: 1")
	x.waitReady()
	y := x
	y.name = x.name + "-twin"
	y.apply("rotationGeneration: 5")
	y.waitReason("OwnershipConflict")
	require.Contains(t, y.get().condition("Ready").Message, "tenants-sandbox/"+x.name)
	require.Equal(t, "OwnershipConflict", y.get().condition("Stalled").Reason)
	require.Equal(t, map[string]int{"completed": 1}, x.rows())
	x.delete()
	y.poke()
	y.waitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.rows())
}

// Two tenants whose IDs begin with the same eight digits have the same names, and the second one is told how to get its own.
func TestNameConflict(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.apply()
	x.waitReady()
	y := tenant{t: t, id: x.short + "-0000-4000-8000-000000000000", short: x.short, name: x.name + "-same"}
	y.sql("INSERT INTO management.tenants (id, name, password_hash) VALUES ('" + y.id + "', 'same', '')")
	y.bind()
	y.apply("rotationGeneration: 1")
	y.waitReason("NameConflict")
	require.Contains(t, y.get().condition("Ready").Message, "db_role")
	require.Empty(t, y.rows())

	own := newTenant(t, "stopped")
	own.sql(fmt.Sprintf("UPDATE management.tenants SET db_role = '%s', db_name = 'site_%s', fly_app = '%s' WHERE id = '%s'", own.role(), own.short, own.app(), y.id))
	y.waitReady()
	require.Equal(t, map[string]int{"completed": 1}, y.rows())
	own.sql("DELETE FROM management.tenants WHERE id = '" + own.id + "'")
}

// Whoever changes a password behind the operator's back is noticed, and a raised generation sets all of it right.
func TestDriftIsShownAndHealed(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.apply("rotationGeneration: 1")
	x.waitReady()
	for name, change := range map[string]func(){
		"PostgresSynced": func() { x.sql("ALTER ROLE " + x.role() + " PASSWORD 'somebodyelse'") },
		"HashSynced":     func() { x.sql("UPDATE management.tenants SET password_hash = 'x' WHERE id = '" + x.id + "'") },
		"FlySecretSynced": func() {
			admin(t, http.MethodPut, "/admin/apps/"+x.app()+"/secrets/DATABASE_URL", `{"value":"postgres://other"}`, nil)
		},
	} {
		change()
		x.poke()
		x.waitReason("DriftDetected")
		require.Equal(t, "False", x.get().condition(name).Status)
		next := x.get().Status.RotationGeneration + 1
		require.Contains(t, x.get().condition("Ready").Message, fmt.Sprintf("raise spec.rotationGeneration to %d", next))
		x.apply(fmt.Sprintf("rotationGeneration: %d", next))
		x.waitReady()
		requireAccepted(t, x.url())
	}
}
