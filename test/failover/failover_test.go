package failover

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// The primary is lost before the standby had its last commits. The app has a password that the new primary does not know: the operator sees
// that its status knows more than the ledger, and rotates at once, under a revision that neither server has ever given.
func TestPromotedStandbyThatLostCommits(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	x, bystander := e.rotated(), e.rotated()
	standby := e.standby()
	e.cutOff(standby)
	x.Apply("rotationGeneration: 2")
	x.WaitReady()
	lost := x.URL()
	platform.RequireAccepted(t, lost)

	e.promote(standby)
	platform.RequireRefused(t, lost)
	eventually(t, "the lost revision was not made up for", func() bool { return x.Get().Status.Revision == 3 })
	x.WaitReady()
	require.Equal(t, []string{"1 completed GenerationRaised", "3 completed LedgerRegressed"}, e.revisions(x))
	platform.RequireAccepted(t, x.URL())
	require.EqualValues(t, 3, x.Get().Status.Revision)
	require.EqualValues(t, 2, x.Get().Status.RotationGeneration)
	bystander.WaitReady()
	require.Equal(t, []string{"1 completed GenerationRaised"}, e.revisions(bystander))
	e.requireSound()
}

// The commits of an attempt are lost before any status spoke of them. Only the finalizer tells of the attempt, and at Fly a value that
// the ledger does not know.
func TestAttemptThatNoStatusKnew(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	x := e.rotated()
	platform.Admin(t, http.MethodPut, "/admin/apps/"+x.App()+"/secrets/DATABASE_URL", `{"value":"postgres://tenant:lost@127.0.0.1/lost"}`, nil)
	harness.Kubectl(t, "", "-n", "tenants-sandbox", "patch", "tcred", x.Name, "--type=merge", "-p",
		`{"metadata":{"finalizers":["credentials.systemprompt.io/finish-rotation"]},"spec":{"suspend":true}}`)
	x.WaitReason("Suspended") // the finalizer is the editor's word, too, so that it does not pass over spec.suspend
	require.Len(t, e.revisions(x), 1)
	harness.Kubectl(t, "", "-n", "tenants-sandbox", "patch", "tcred", x.Name, "--type=merge", "-p", `{"spec":{"suspend":false}}`)
	eventually(t, "the lost attempt was not made again", func() bool { return len(e.revisions(x)) == 2 })
	x.WaitReady()
	require.Equal(t, "2 completed LedgerRegressed", e.revisions(x)[1])
	platform.RequireAccepted(t, x.URL())
	require.Empty(t, x.Get().Metadata.Finalizers)
	e.requireSound()
}

// A DBA restores an hour-old backup. Only a person knows whether it is there to stay: nothing is rotated until the DBA says so with the command
// that the condition names; and then every tenant that lost something is.
func TestRestoredBackupWaitsForAcknowledgement(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	lost := []platform.Tenant{e.rotated(), e.rotated(), e.rotated()}
	bystander := e.rotated()
	e.server.Down()
	backup, err := e.server.Copy()
	require.NoError(t, err)
	require.NoError(t, e.server.Up(t.Context()))
	writes := make([]int, len(lost))
	for i, x := range lost {
		x.Apply("rotationGeneration: 2")
		x.WaitReady()
		writes[i] = x.Writes()
	}

	e.replaceServer(backup)
	for _, x := range lost {
		platform.RequireRefused(t, x.URL())
		x.WaitReason("RotationsPaused")
	}
	message := e.WaitFor(e.t, "RotationsPaused", "True")
	require.Contains(t, message, "lost rotations of 3 tenants")
	bystander.Poke()
	is, reason := ready(bystander)
	require.True(t, is, "nothing is due to it: %s", reason)
	bystander.Apply("rotationGeneration: 2")
	bystander.WaitReason("RotationsPaused")
	for i, x := range lost {
		require.Equal(t, writes[i], x.Writes(), "Fly was written to while the environment was paused")
	}
	managerStays.Lock()
	require.NoError(t, harness.Playground("manager-down").Run())
	require.NoError(t, harness.Playground("manager-up").Run())
	managerStays.Unlock()
	lost[0].Poke()
	lost[0].WaitReason("RotationsPaused")
	require.Equal(t, writes[0], lost[0].Writes(), "a restart ends the pause")

	obey(t, message)
	for _, x := range lost {
		x.WaitReady()
		require.Equal(t, []string{"1 completed GenerationRaised", "3 completed LedgerRegressed"}, e.revisions(x))
		platform.RequireAccepted(t, x.URL())
	}
	bystander.WaitReady()
	e.look()
	e.WaitFor(e.t, "RotationsPaused", "False")
	e.requireSound()
}

// Only the management table is restored: role and Fly agree, and no tenant is locked out. It is reported and not rotated for.
func TestManagementTableRestoredAlone(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	x := e.rotated()
	e.Exec(e.t, "CREATE TABLE public.backup AS SELECT * FROM management.tenants")
	x.Apply("rotationGeneration: 2")
	x.WaitReady()
	e.Exec(e.t, "UPDATE management.tenants t SET password_hash = b.password_hash FROM public.backup b WHERE b.id = t.id")
	x.Poke()
	x.WaitReason("DriftDetected")
	require.Equal(t, "False", x.Get().Condition("HashSynced").Status)
	require.Equal(t, "True", x.Get().Condition("PostgresSynced").Status)
	platform.RequireAccepted(t, x.URL())
	require.Len(t, e.revisions(x), 2)

	x.Apply("rotationGeneration: 3") // as the message says
	x.WaitReady()
	e.requireSound()
}

// A status that is lost is written anew from the ledger, in rest and in the middle of a rollout, and nothing is rotated.
func TestLostStatus(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	x := e.rotated()
	before := x.Get().Status
	loseStatus(t, x)
	x.Poke()
	x.WaitReady()
	after := x.Get().Status
	require.Equal(t, before.Revision, after.Revision)
	require.Equal(t, before.RotationGeneration, after.RotationGeneration)
	require.Len(t, e.revisions(x), 1)

	mend := x.Fault(`{"route":"GET /v1/apps/{app}/machines","status":503,"count":-1}`)
	y := platform.NewTenantIn(t, e.Environment, "started")
	t.Cleanup(y.Delete)
	mend()
	y.Apply("rotationGeneration: 1")
	y.WaitReason("Progressing")
	loseStatus(t, y)
	y.WaitReady()
	require.Equal(t, []string{"1 completed GenerationRaised"}, e.revisions(y))
	e.requireSound()
}

func loseStatus(t *testing.T, x platform.Tenant) {
	t.Helper()
	harness.Kubectl(t, "", "-n", "tenants-sandbox", "patch", "tcred", x.Name, "--subresource=status", "--type=json", "-p", `[{"op":"remove","path":"/status"}]`)
}
