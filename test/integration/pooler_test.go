package integration

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// pooledTenant has PgBouncer between PostgreSQL and both the operator and the tenant's app. Verifiers are those that it does not look up.
func pooledTenant(t *testing.T, mode string, verifiers func(x tenant) map[string]string) (x tenant, restart func()) {
	t.Helper()
	e, server := platform.NewServer(t, "pooled")
	options := pgserver.PoolerOptions{SuperuserURL: server.SuperuserURL(), Mode: mode}
	pooler, err := pgserver.StartPooler(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { pooler.Stop() })
	e.Port = strconv.Itoa(pooler.Port)
	e.Install(t, server)
	kubectl(t, "", "patch", "tenv", e.Name, "--type", "merge", "-p", `{"spec":{"rotation":{"overlapGracePeriod":"1s"}}}`) // PgBouncer keeps idle sessions open
	x = platform.NewTenantIn(t, e, "started", "stopped")
	t.Cleanup(x.Delete)
	replace := func(verifiers map[string]string) {
		pooler.Stop()
		options.Port, options.Verifiers = pooler.Port, verifiers
		pooler, err = pgserver.StartPooler(t.Context(), options)
		require.NoError(t, err)
	}
	if verifiers != nil {
		replace(verifiers(x))
	}
	return x, func() { replace(nil) }
}

// With PgBouncer as it is installed, which looks verifiers up, a rotation works by either strategy, and after a compromise.
func TestRotationsThroughPgBouncer(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			if mode == "session" { // in which a pooler does less
				long(t)
			}
			x, _ := pooledTenant(t, mode, nil)
			x.Apply("rotation: {strategy: InPlace}", "rotationGeneration: 1")
			x.WaitReady()
			requireAccepted(t, x.URL())
			previous := x.URL()
			x.SQL("SELECT tenant_credentials.prepare_overlap('" + x.Role() + "')")
			x.Apply("rotation: {strategy: Overlap}", "rotationGeneration: 2")
			x.WaitReady()
			requireAccepted(t, x.URL())
			_, err := pgx.Connect(t.Context(), previous)
			require.Error(t, err) // PgBouncer has SQLSTATEs of its own
			x.Apply("rotation: {strategy: InPlace}", "rotationGeneration: 2", "rotationRequest: {replacesRevision: 2, compromised: true}")
			x.WaitReady()
			requireAccepted(t, x.URL())
			require.Equal(t, map[string]int{"completed": 3}, x.Rows())
		})
	}
}

// Where PgBouncer goes by a list with a previous verifier, the new password proves nothing, and no Machine is moved. Without the list the
// operator goes on automatically.
func TestPgBouncerWithAPreviousVerifier(t *testing.T) {
	t.Parallel()
	x, mend := pooledTenant(t, "session", func(x tenant) map[string]string {
		verifier, _ := x.Hashes()
		return map[string]string{x.Role(): verifier}
	})
	x.Apply("rotation: {strategy: InPlace}")
	x.WaitReady()
	x.Apply("rotation: {strategy: InPlace}", "rotationGeneration: 1")
	x.WaitReason("VerificationFailed")
	require.Contains(t, x.Get().Condition("Ready").Message, "A pooler before PostgreSQL (PgBouncer answers so) refused the tenant's login: it may still have the previous verifier.")
	require.NotEqual(t, "True", x.Get().Condition("PostgresSynced").Status)
	requireNoMachineTouched(t, x)

	mend()
	x.WaitReady()
	requireAccepted(t, x.URL())
	require.Equal(t, "LoginUnproved", x.Get().Status.LastRotation.Cause)
}
