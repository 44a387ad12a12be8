package integration

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// A login that the server refuses for any reason keeps every Machine from being moved, and no status calls it verified. The app's open
// sessions go on; once the cause is gone, a new password is set and proved automatically.
func TestALoginThatFailsMovesNoMachine(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started", "stopped")
	x.Apply("rotation: {strategy: InPlace}")
	x.WaitReady()
	x.SQL("ALTER ROLE " + x.Role() + " SET local_preload_libraries = 'nope'")
	x.Apply("rotation: {strategy: InPlace}", "rotationGeneration: 1")
	x.WaitReason("VerificationFailed")
	o := x.Get()
	require.Contains(t, o.Condition("Ready").Message, "The tenant's password is accepted, and then its session ends: SQLSTATE 58P01 (system error).")
	require.Contains(t, o.Condition("Ready").Message, "local_preload_libraries")
	require.Contains(t, o.Condition("Ready").Message, "no Machine was changed.")
	require.NotEqual(t, "True", o.Condition("PostgresSynced").Status)
	requireNoMachineTouched(t, x)

	x.SQL("ALTER ROLE " + x.Role() + " RESET ALL")
	x.WaitReady()
	require.Equal(t, 1, x.Rows()["completed"])
	require.Equal(t, "LoginUnproved", x.Get().Status.LastRotation.Cause)
	requireAccepted(t, x.URL())
}

func requireNoMachineTouched(t *testing.T, x tenant) {
	t.Helper()
	for _, machine := range x.Look().Machines {
		require.Zero(t, machine.Updates, "Machine %s was updated", machine.ID)
	}
}

// A role whose connections are all in use has accepted the password before it says so.
func TestARoleWithoutAConnectionLeft(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply("rotation: {strategy: InPlace}")
	x.WaitReady()
	session, err := pgx.Connect(t.Context(), x.URL())
	require.NoError(t, err)
	defer func() { _ = session.Close(context.Background()) }()
	x.SQL("ALTER ROLE " + x.Role() + " CONNECTION LIMIT 1")
	x.Apply("rotation: {strategy: InPlace}", "rotationGeneration: 1")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	_, err = session.Exec(t.Context(), "SELECT")
	require.NoError(t, err)
}
