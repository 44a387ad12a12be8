package integration

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The main job: a raised generation, and everything has moved when Ready is true again. The same manifest again does nothing at all.
func TestRaisedGenerationRotatesEverything(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started", "started", "stopped")
	x.apply()
	x.waitReady()
	require.Equal(t, "Adopted", x.get().condition("Ready").Reason)
	require.Empty(t, x.rows(), "adoption must not rotate")
	require.Zero(t, x.writes(), "adoption must not write to Fly")
	old := x.url()
	requireAccepted(t, old)

	x.apply("rotationGeneration: 1")
	x.waitReady()

	requireRefused(t, old)
	requireAccepted(t, x.url())
	verifier, hash := x.hashes()
	require.Equal(t, verifier, hash, "the stored hash is not the new password's")
	require.Equal(t, map[string]int{"completed": 1}, x.rows())
	for _, machine := range x.look().Machines {
		if machine.State == "started" {
			require.Equal(t, x.url(), machine.Env["DATABASE_URL"], "a started Machine runs with an old value")
		}
	}
	o := x.get()
	require.EqualValues(t, 1, o.Status.RotationGeneration)
	require.EqualValues(t, 1, o.Status.Revision)
	require.Equal(t, "GenerationRaised", o.Status.LastRotation.Reason)
	require.Equal(t, 3, o.Status.Fly.Machines.Total)
	require.Equal(t, 2, o.Status.Fly.Machines.Updated)
	require.Equal(t, 1, o.Status.Fly.Machines.OnNextStart)
	require.Empty(t, o.Metadata.Finalizers)

	writes := x.writes()
	x.apply("rotationGeneration: 1")
	x.poke()
	require.Equal(t, map[string]int{"completed": 1}, x.rows())
	require.Equal(t, writes, x.writes(), "the same manifest again wrote to Fly")
	require.Equal(t, o.Status, x.get().Status, "the same manifest again wrote status")
}

// What was done for an object is not done again for its successor.
func TestDeletedAndMadeAgainRotatesNothing(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started")
	x.apply("rotationGeneration: 2")
	x.waitReady()
	value, writes := x.url(), x.writes()

	x.delete()
	x.apply("rotationGeneration: 2")
	x.waitReady()
	require.Equal(t, "Rotated", x.get().condition("Ready").Reason)
	require.Equal(t, map[string]int{"completed": 1}, x.rows())
	require.Equal(t, writes, x.writes())

	x.delete()
	x.apply("rotationGeneration: 1")
	x.waitReady()
	require.Equal(t, value, x.url(), "made again at a lower number: nothing rotates")
	x.apply("rotationGeneration: 2")
	x.waitReady()
	require.NotEqual(t, value, x.url(), "raised from there: it rotates")
	require.Equal(t, map[string]int{"completed": 2}, x.rows())
}

// A deletion in the middle of a rotation waits until the tenant can not be locked out.
func TestDeletionFinishesTheRotation(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started", "started")
	x.apply("rotationGeneration: 1")
	x.waitReason("Progressing")
	require.NotEmpty(t, x.get().Metadata.Finalizers)
	x.delete()
	require.Equal(t, map[string]int{"completed": 1}, x.rows())
	requireAccepted(t, x.url())
	for _, machine := range x.look().Machines {
		require.Equal(t, x.url(), machine.Env["DATABASE_URL"])
	}
}

// Suspend forbids starting, never finishing.
func TestSuspend(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started", "started")
	x.apply("suspend: true", "rotationGeneration: 1")
	x.waitReason("Suspended")
	require.Empty(t, x.rows())
	require.Zero(t, x.writes())

	x.apply("suspend: false", "rotationGeneration: 1")
	x.waitReason("Progressing")
	x.apply("suspend: true", "rotationGeneration: 1")
	x.waitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.rows())
}

// Another variable is another delivery: nobody has the password, so a new one is made.
func TestChangedVariableRotates(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped") // a started one, whose app reads DATABASE_URL, would rightly halt the roll-out
	x.apply("rotationGeneration: 1")
	x.waitReady()
	x.apply("rotationGeneration: 1", "delivery: {fly: {variable: PG_URL}}")
	x.waitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.rows())
	require.Equal(t, "DeliveryChanged", x.get().Status.LastRotation.Reason)
	values := map[string]string{}
	for _, secret := range x.look().Secrets {
		values[secret.Name] = secret.Value
	}
	requireAccepted(t, values["PG_URL"])
	requireRefused(t, values["DATABASE_URL"])
	admin(t, http.MethodPut, "/admin/apps/"+x.app()+"/secrets/DATABASE_URL", `{"value":"`+values["PG_URL"]+`"}`, nil) // what the checker looks at
}

// An edited environment reaches its tenants at once: a namespace that is allowed now, and an address that the apps are told by a new
// DATABASE_URL.
func TestEditedEnvironmentReachesItsTenants(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	environment := "edited-" + x.short
	copyEnvironment(t, environment, "fly-sandbox")
	edit := func(patch string) { kubectl(t, "", "patch", "tenv", environment, "--type=merge", "-p", patch) }
	edit(`{"spec":{"allowedNamespaces":{"selector":{"matchLabels":{"example.com/environment":"elsewhere"}}}}}`)
	spec := []string{"environmentRef: {name: " + environment + "}", "rotationGeneration: 1"}
	x.apply(spec...)
	x.waitReason("NamespaceNotAllowed")
	require.Empty(t, x.rows())

	edit(`{"spec":{"allowedNamespaces":{"selector":{"matchLabels":{"example.com/environment":"sandbox"}}}}}`)
	x.waitReady()
	require.Contains(t, x.url(), "@127.0.0.1:")
	edit(`{"spec":{"postgres":{"internal":{"host":"localhost"}}}}`)
	delivered := func(rotations int) func() bool { return func() bool { return x.rows()["completed"] == rotations } }
	require.Eventually(t, delivered(2), time.Minute, 100*time.Millisecond, "the new address was not delivered")
	require.Contains(t, x.url(), "@localhost:")
	requireAccepted(t, x.url())
	edit(`{"spec":{"postgres":{"internal":{"host":"127.0.0.1"}}}}`) // where the checker knows the server
	require.Eventually(t, delivered(3), time.Minute, 100*time.Millisecond, "the former address was not delivered")
	x.waitReady()
}

// Fly does what it is told, and its answer is lost every time: nothing is committed, the old password stays valid, the status says what
// not to do, and it heals.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started")
	x.apply()
	x.waitReady()
	old := x.url()
	mend := x.fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"drop-response","count":-1}`)
	x.apply("rotationGeneration: 1")
	x.waitReason("OutcomeUnknown")
	require.NotEqual(t, old, x.url(), "the fault did not take effect first")
	requireAccepted(t, old)
	requireRefused(t, x.url())
	require.Equal(t, map[string]int{"open": 1}, x.rows())
	require.Contains(t, x.get().condition("FlySecretSynced").Message, "do not deploy app "+x.app())
	require.Equal(t, old, x.look().Machines[0].Env["DATABASE_URL"], "a Machine was moved onto a value that never became valid")

	mend()
	x.waitReady()
	requireRefused(t, old)
	requireAccepted(t, x.url())
	require.Equal(t, map[string]int{"completed": 1}, x.rows())
}

// A Machine that does not come up stops the roll-out before the others are touched; healed, it goes on by itself.
func TestCrashingMachineHaltsTheRollOut(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started", "started")
	x.apply()
	x.waitReady()
	for _, machine := range x.look().Machines {
		admin(t, http.MethodPatch, "/admin/apps/"+x.app()+"/machines/"+machine.ID, `{"boot":"crash"}`, nil)
	}
	x.apply("rotationGeneration: 1")
	x.waitReason("MachineUnhealthy")
	o := x.get()
	require.Equal(t, "RolloutHalted", o.condition("Stalled").Reason)
	updated := 0
	for _, machine := range x.look().Machines {
		updated += machine.Updates
	}
	require.Equal(t, 1, updated, "the roll-out went on after a Machine that does not come up")

	for _, machine := range x.look().Machines {
		admin(t, http.MethodPatch, "/admin/apps/"+x.app()+"/machines/"+machine.ID, `{"boot":"healthy"}`, nil)
	}
	x.apply("rotationGeneration: 2") // a raised generation starts anew where the roll-out is halted
	x.waitReady()
	require.Equal(t, map[string]int{"superseded": 1, "completed": 1}, x.rows())
}

// The manager is stopped in the middle of a roll-out and goes on when it is back.
func TestRestartGoesOn(t *testing.T) { // not parallel: the other tests need the manager
	x := newTenant(t, "started", "started")
	x.apply("rotationGeneration: 1")
	x.waitReason("Progressing")
	value := x.url()
	require.NoError(t, playground("manager-down").Run())
	requireAccepted(t, value)
	require.NoError(t, playground("manager-up").Run())
	x.waitReady()
	require.Equal(t, value, x.url(), "a committed rotation was made again")
	require.Equal(t, map[string]int{"completed": 1}, x.rows())
}
