package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An attempt that Fly has refused for sure has changed nothing: the operator need not go on with it. Suspended meanwhile, it does not start again
// once the token is repaired; and when it does, it is the first revision.
func TestARefusedAttemptCanBeTakenBack(t *testing.T) {
	t.Parallel()
	for _, strategy := range []string{"InPlace", "Overlap"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, "stopped")
			x.SQL("SELECT tenant_credentials.prepare_overlap('" + x.Role() + "')")
			rotation := "rotation: {strategy: " + strategy + "}"
			x.Apply(rotation)
			x.WaitReady()
			mend := x.Fault(`{"route":"POST /v1/apps/{app}/secrets","status":403,"count":-1}`)
			x.Apply(rotation, "rotationGeneration: 1")
			x.WaitReason("PermissionDenied")
			require.Contains(t, x.Get().Condition("Ready").Message, "Nothing was changed.")
			require.Eventually(t, func() bool { // between two tries
				return x.Rows()["discarded"] == 1 && len(x.Get().Metadata.Finalizers) == 0
			}, patience, 100*time.Millisecond, x.Describe())

			x.Apply(rotation, "rotationGeneration: 1", "suspend: true")
			x.WaitReason("Suspended") // a try that had begun before was refused, too
			mend()
			x.Poke()
			require.Equal(t, map[string]int{"discarded": 1}, x.Rows())
			requireAccepted(t, x.InitialURL())

			x.Apply(rotation, "rotationGeneration: 1", "suspend: false")
			x.WaitReady()
			require.Equal(t, map[string]int{"completed": 1}, x.Rows())
			require.EqualValues(t, 1, x.Get().Status.Revision)
			requireRefused(t, x.InitialURL())
		})
	}
}

// An object whose only attempt was refused goes at once, and leaves the app its password.
func TestARefusedAttemptDoesNotHoldTheObject(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply("rotationGeneration: 1")
	defer x.Fault(`{"route":"POST /v1/apps/{app}/secrets","status":403,"count":-1}`)()
	x.WaitReason("PermissionDenied")
	kubectl(t, "", "-n", "tenants-sandbox", "delete", "tcred", x.Name, "--timeout=30s")
	requireAccepted(t, x.InitialURL())
}

// Where a Machine's own config keeps the secret from its processes, nothing is changed, unless that is meant.
func TestAHiddenSecretIsNoticedBefore(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"env":                `"env":{"DATABASE_URL":"postgres://kept"}`,
		"ignore_app_secrets": `"processes":[{"ignore_app_secrets":true}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, "stopped")
			admin(t, http.MethodPost, "/admin/apps/"+x.App()+"/machines", `{"state":"stopped","config":{"image":"hidden",`+config+`}}`, nil)
			x.Apply("rotation: {strategy: InPlace}", "rotationGeneration: 1")
			x.WaitReason("SecretHidden")
			require.Contains(t, x.Get().Condition("Ready").Message, name)
			require.Contains(t, x.Get().Condition("Ready").Message, "Nothing was changed.")
			require.Empty(t, x.Rows())
			requireNoMachineTouched(t, x)
			requireAccepted(t, x.InitialURL())

			x.Apply("rotation: {strategy: InPlace}", "rotationGeneration: 1", "delivery: {fly: {acceptHidden: true}}")
			x.WaitReady()
			requireAccepted(t, x.URL())
		})
	}
}

// A rotation after a compromise does not wait for a Machine's config.
func TestAHiddenSecretKeepsNoCompromisedPassword(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	admin(t, http.MethodPost, "/admin/apps/"+x.App()+"/machines", `{"state":"stopped","config":{"image":"hidden","env":{"DATABASE_URL":"postgres://kept"}}}`, nil)
	x.Apply("rotationRequest: {replacesRevision: 0, compromised: true}")
	require.Eventually(t, func() bool { return x.Rows()["completed"] == 1 }, 3*time.Minute, 200*time.Millisecond, x.Describe())
	requireRefused(t, x.InitialURL())
}

// expires has a login expire after some time, and the operator look at it.
func expires(t *testing.T, x tenant, login, after string) {
	t.Helper()
	x.SQL(`DO $$ BEGIN EXECUTE format('ALTER ROLE "` + login + `" VALID UNTIL %L', now() + interval '` + after + `'); END $$`)
	x.Poke()
}

// awaitWarning waits until Ready's message has a warning, or has none.
func awaitWarning(t *testing.T, x tenant, warned bool) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(x.Get().Condition("Ready").Message, "Warning: ") == warned }, patience, 100*time.Millisecond)
}

// A login that expires soon is warned of, and the operator notices automatically when it has expired.
func TestALoginThatExpires(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	expires(t, x, x.Role(), "15 days")
	require.NotContains(t, x.Get().Condition("Ready").Message, "Warning")
	for _, near := range []string{"5 days", "30 s"} {
		expires(t, x, x.Role(), near)
		awaitWarning(t, x, true)
		require.Equal(t, "True", x.Get().Condition("Ready").Status)
		require.Contains(t, x.Get().Condition("Ready").Message, "Warning: role "+x.Role()+" expires at ")
		require.Contains(t, x.Get().Condition("Ready").Message, "ALTER ROLE "+x.Role()+" VALID UNTIL 'infinity'.")
	}
	x.WaitReason("RoleNotAllowed")
	require.Contains(t, x.Get().Condition("Ready").Message, "has expired: ALTER ROLE "+x.Role()+" VALID UNTIL 'infinity'")
	x.SQL("ALTER ROLE " + x.Role() + " VALID UNTIL 'infinity'")
	x.Poke()
	x.WaitReady()
}
