package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The main job: a raised generation, and everything has moved when Ready is true again. The same manifest again does nothing at all.
func TestRaisedGenerationRotatesEverything(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started", "started", "stopped")
	x.Apply()
	x.WaitReady()
	require.Equal(t, "Adopted", x.Get().Condition("Ready").Reason)
	require.Empty(t, x.Rows(), "adoption must not rotate")
	require.Zero(t, x.Writes(), "adoption must not write to Fly")
	old := x.URL()
	requireAccepted(t, old)

	x.Apply("rotationGeneration: 1")
	x.WaitReady()

	requireRefused(t, old)
	requireAccepted(t, x.URL())
	verifier, hash := x.Hashes()
	require.Equal(t, verifier, hash, "the stored hash is not the new password's")
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	for _, machine := range x.Look().Machines {
		if machine.State == "started" {
			require.Equal(t, x.URL(), machine.Env["DATABASE_URL"], "a started Machine runs with an old value")
		}
	}
	o := x.Get()
	require.EqualValues(t, 1, o.Status.RotationGeneration)
	require.EqualValues(t, 1, o.Status.Revision)
	require.Equal(t, "GenerationRaised", o.Status.LastRotation.Cause)
	require.Equal(t, 3, o.Status.Fly.Machines.Total)
	require.Equal(t, 2, o.Status.Fly.Machines.Updated)
	require.Equal(t, 1, o.Status.Fly.Machines.OnNextStart)
	require.Empty(t, o.Metadata.Finalizers)

	writes := x.Writes()
	x.Apply("rotationGeneration: 1")
	x.Poke()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	require.Equal(t, writes, x.Writes(), "the same manifest again wrote to Fly")
	require.Equal(t, o.Status, x.Get().Status, "the same manifest again wrote status")

	managers := kubectl(t, "", "-n", "tenants-sandbox", "get", "tcred", x.Name, "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}")
	require.NotContains(t, strings.Fields(managers), "manager")
	require.Contains(t, managers, "tenant-credential-operator", "what the operator writes stands under its name")
}

// A rotation that was done for an object is not done again for its successor.
func TestDeletedAndMadeAgainRotatesNothing(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started")
	x.Apply("rotationGeneration: 2")
	x.WaitReady()
	value, writes := x.URL(), x.Writes()

	x.Delete()
	x.Apply("rotationGeneration: 2")
	x.WaitReady()
	require.Equal(t, "Rotated", x.Get().Condition("Ready").Reason)
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	require.Equal(t, writes, x.Writes())

	x.Delete()
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	require.Equal(t, value, x.URL(), "made again at a lower number: nothing rotates")
	o := x.Get()
	require.EqualValues(t, 2, o.Status.RotationGeneration, "what is done stays done")
	require.Contains(t, o.Condition("Ready").Message, "spec.rotationGeneration 1 is not above 2, which is already completed; no rotation starts. To rotate: raise spec.rotationGeneration to 3.")

	// Without a number in between, and then again with the one that was done long ago.
	x.Delete()
	x.Apply()
	x.WaitReady()
	x.Delete()
	x.Apply("rotationGeneration: 2")
	x.WaitReady()
	require.Equal(t, value, x.URL(), "a number that is done rotated again")
	x.Apply("rotationGeneration: 3")
	x.WaitReady()
	require.NotEqual(t, value, x.URL())
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
}

// A deletion in the middle of a rotation waits until the tenant cannot be locked out.
func TestDeletionFinishesTheRotation(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started", "started")
	x.Apply("rotationGeneration: 1")
	require.Eventually(t, func() bool { return len(x.Get().Metadata.Finalizers) > 0 }, patience, 100*time.Millisecond)
	x.Delete()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	requireAccepted(t, x.URL())
	for _, machine := range x.Look().Machines {
		require.Equal(t, x.URL(), machine.Env["DATABASE_URL"])
	}
}

// Suspend forbids starting, never finishing.
func TestSuspend(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started", "started")
	x.Apply("suspend: true", "rotationGeneration: 1")
	x.WaitReason("Suspended")
	require.Empty(t, x.Rows())
	require.Zero(t, x.Writes())

	x.Apply("suspend: false", "rotationGeneration: 1")
	x.WaitReason("Progressing")
	x.Apply("suspend: true", "rotationGeneration: 1")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
}

// A rotation that is asked for during a rollout follows it at once, and until then no status says that all is done.
func TestRaisedDuringARollout(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started")
	x.Apply("rotationGeneration: 1")
	x.WaitReason("Progressing")
	x.Apply("rotationGeneration: 2")
	x.WaitReady()
	require.EqualValues(t, 2, x.Get().Status.RotationGeneration)
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
}

// Another variable is another delivery: the operator does not have the password, so a new one is made.
func TestChangedVariableRotates(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped") // a started one, whose app reads DATABASE_URL, would rightly halt the rollout
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	x.Apply("rotationGeneration: 1", "delivery: {fly: {variable: PG_URL}}")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
	require.Equal(t, "DeliveryChanged", x.Get().Status.LastRotation.Cause)
	values := map[string]string{}
	for _, secret := range x.Look().Secrets {
		values[secret.Name] = secret.Value
	}
	requireAccepted(t, values["PG_URL"])
	requireRefused(t, values["DATABASE_URL"])
	admin(t, http.MethodPut, "/admin/apps/"+x.App()+"/secrets/DATABASE_URL", `{"value":"`+values["PG_URL"]+`"}`, nil) // the part that the checker looks at
}

// An edited environment reaches its tenants at once: a namespace that is allowed now, and an address that the apps are told by a new
// DATABASE_URL.
func TestEditedEnvironmentReachesItsTenants(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, "edited")
	x := newTenantIn(t, e, "stopped")
	edit := func(patch string) { kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", patch) }
	edit(`{"spec":{"allowedNamespaces":{"selector":{"matchLabels":{"example.com/environment":"elsewhere"}}}}}`)
	x.Apply("rotationGeneration: 1")
	x.WaitReason("NamespaceNotAllowed")
	require.Empty(t, x.Rows())

	edit(`{"spec":{"allowedNamespaces":{"selector":{"matchLabels":{"example.com/environment":"sandbox"}}}}}`)
	x.WaitReady()
	require.Contains(t, x.URL(), "@127.0.0.1:")
	edit(`{"spec":{"postgres":{"internal":{"host":"localhost"}}}}`)
	delivered := func(rotations int) func() bool { return func() bool { return x.Rows()["completed"] == rotations } }
	require.Eventually(t, delivered(2), patience, 100*time.Millisecond, "the new address was not delivered")
	require.Contains(t, x.URL(), "@localhost:")
	requireAccepted(t, x.URL())
	edit(`{"spec":{"postgres":{"internal":{"host":"127.0.0.1"}}}}`)
	require.Eventually(t, delivered(3), patience, 100*time.Millisecond, "the previous address was not delivered")
	x.WaitReady()
}

// Fly does what it is told, and its answer is lost every time: nothing is committed, the old password stays valid, the status says what
// not to do, and it heals.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started")
	x.Apply()
	x.WaitReady()
	old := x.URL()
	mend := x.Fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"drop-response","count":-1}`)
	x.Apply("rotationGeneration: 1")
	x.WaitReason("OutcomeUnknown")
	require.NotEqual(t, old, x.URL(), "the fault did not take effect first")
	requireAccepted(t, old)
	requireRefused(t, x.URL())
	require.Equal(t, map[string]int{"open": 1}, x.Rows())
	require.Contains(t, x.Get().Condition("FlySecretSynced").Message, "do not deploy app "+x.App())
	require.Equal(t, old, x.Look().Machines[0].Env["DATABASE_URL"], "a Machine was moved onto a value that never became valid")

	// A later refusal of Fly takes back nothing that the previous attempt has left there.
	mend()
	mend = x.Fault(`{"route":"POST /v1/apps/{app}/secrets","status":422,"count":-1}`)
	x.WaitReason("Rejected")
	for _, c := range x.Get().Status.Conditions {
		require.NotContains(t, c.Message, "Nothing was changed", c.Type)
	}
	require.Equal(t, "Unknown", x.Get().Condition("FlySecretSynced").Status)
	require.Contains(t, x.Get().Condition("Ready").Message, "do not deploy app "+x.App())

	mend()
	x.WaitReady()
	requireRefused(t, old)
	requireAccepted(t, x.URL())
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
}

// A Machine that does not come up stops the rollout before the others are touched; healed, it goes on automatically.
func TestCrashingMachineHaltsTheRollout(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started", "started")
	x.Apply()
	x.WaitReady()
	for _, machine := range x.Look().Machines {
		admin(t, http.MethodPatch, "/admin/apps/"+x.App()+"/machines/"+machine.ID, `{"boot":"crash"}`, nil)
	}
	x.Apply("rotationGeneration: 1")
	x.WaitReason("MachineUnhealthy")
	o := x.Get()
	require.Equal(t, "RolloutHalted", o.Condition("Stalled").Reason)
	updated := 0
	for _, machine := range x.Look().Machines {
		updated += machine.Updates
	}
	require.Equal(t, 1, updated, "the rollout continued after a Machine that does not come up")

	for _, machine := range x.Look().Machines {
		admin(t, http.MethodPatch, "/admin/apps/"+x.App()+"/machines/"+machine.ID, `{"boot":"healthy"}`, nil)
	}
	x.Apply("rotationGeneration: 2") // a raised generation starts anew where the rollout is halted
	x.WaitReady()
	require.Equal(t, map[string]int{"superseded": 1, "completed": 1}, x.Rows())
}

// The others go on as they were while the rollout is halted, and once the Machine is repaired it goes on automatically.
func TestRepairedMachineLetsTheRolloutContinue(t *testing.T) {
	long(t)
	t.Parallel()
	x := newTenant(t, "started", "started", "started")
	x.Apply()
	x.WaitReady()
	before := x.Look().Machines
	for _, machine := range before {
		admin(t, http.MethodPatch, "/admin/apps/"+x.App()+"/machines/"+machine.ID, `{"boot":"crash"}`, nil)
	}
	x.Apply("rotationGeneration: 1")
	x.WaitReason("MachineUnhealthy")
	crashed := ""
	for i, machine := range x.Look().Machines {
		switch {
		case machine.Updates > 0:
			require.Empty(t, crashed, "the rollout continued after a Machine that does not come up")
			crashed = machine.ID
		default:
			require.Equal(t, "started", machine.State)
			require.Equal(t, before[i].Env, machine.Env)
		}
		admin(t, http.MethodPatch, "/admin/apps/"+x.App()+"/machines/"+machine.ID, `{"boot":"healthy"}`, nil)
	}
	require.Contains(t, x.Get().Condition("FlyMachinesUpdated").Message, "Machine "+crashed)
	x.StartMachine(crashed)
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	for _, machine := range x.Look().Machines {
		require.Equal(t, x.URL(), machine.Env["DATABASE_URL"])
	}
}

// The manager is stopped in the middle of a rollout and goes on when it is back.
func TestRestartGoesOn(t *testing.T) { // not parallel: the other tests need the manager
	x := newTenant(t, "started", "started")
	x.Apply("rotationGeneration: 1")
	x.WaitReason("Progressing")
	value := x.URL()
	require.NoError(t, playground("manager-down").Run())
	requireAccepted(t, value)
	require.NoError(t, playground("manager-up").Run())
	x.WaitReady()
	require.Equal(t, value, x.URL(), "a committed rotation was made again")
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
}
