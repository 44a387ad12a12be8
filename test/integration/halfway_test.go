package integration

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

const (
	holdsMachines = `{"route":"POST /v1/apps/{app}/machines/{id}","status":503,"count":-1}`
	oneLogin      = "rotation: {strategy: InPlace}"
)

// An environment stays until what was begun in it is finished, and nothing else begins. One that is let go by hand leaves a message that says
// so, and made again it finishes the rotation.
func TestAnEnvironmentStaysUntilItsRotationsAreFinished(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, "leaving")
	manifest := lastApplied(t, e)
	x, y := newTenantIn(t, e, "stopped", "stopped"), newTenantIn(t, e, "stopped")
	y.Apply(oneLogin)
	y.WaitReady()
	mend := x.Fault(holdsMachines)
	x.Apply(oneLogin, "rotationGeneration: 1")
	awaitCommitted(t, x)

	kubectl(t, "", "delete", "tenv", e.Name, "--wait=false")
	message := awaitTerminating(t, e)
	require.Contains(t, message, "The environment is being deleted, and stays until the operator has completed its unfinished rotations (1); no other rotation starts.")
	require.Contains(t, message, "kubectl patch tenv "+e.Name+` --type merge -p '{"metadata":{"finalizers":null}}'`)
	y.Apply(oneLogin, "rotationGeneration: 1")
	y.WaitReason("EnvironmentTerminating")
	require.Contains(t, y.Get().Condition("Ready").Message, "TenantEnvironment "+e.Name+" is being deleted, and no rotation starts in it. Nothing was changed.")
	require.Equal(t, "RetryingAfterFailure", y.Get().Condition("Reconciling").Reason)
	require.Empty(t, y.Rows())

	mend()
	kubectl(t, "", "wait", "tenv", e.Name, "--for=delete", "--timeout=150s")
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	requireAccepted(t, x.URL())
	y.WaitReason("EnvironmentNotFound")

	kubectl(t, manifest, "apply", "-f", "-")
	y.WaitReady()
	mend = x.Fault(holdsMachines)
	x.Apply(oneLogin, "rotationGeneration: 2")
	awaitCommitted(t, x)
	kubectl(t, "", "delete", "tenv", e.Name, "--wait=false")
	awaitTerminating(t, e)
	kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	kubectl(t, "", "wait", "tenv", e.Name, "--for=delete", "--timeout=60s")
	kubectl(t, "", "-n", "tenants-sandbox", "delete", "tcred", x.Name, "--wait=false")
	x.WaitReason("EnvironmentNotFound")
	message = x.Get().Condition("Ready").Message
	require.Contains(t, message, "Revision 2 is in force, and 0 of 2 Machines were last seen with it")
	require.NotContains(t, message, "Nothing was changed")
	require.Contains(t, message, "To fix: create the environment again, and the rotation continues; or remove the finalizer and leave the tenant as it is: kubectl -n tenants-sandbox patch tcred "+x.Name)

	mend()
	kubectl(t, manifest, "apply", "-f", "-")
	kubectl(t, "", "-n", "tenants-sandbox", "wait", "tcred", x.Name, "--for=delete", "--timeout=150s")
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
	requireAccepted(t, x.URL())
	y.Delete()
}

// Without a database no Machine comes up: the way out of a rollout that cannot be finished is one that works on an object that is going.
func TestAnObjectWithoutADatabaseCanBeLetGo(t *testing.T) {
	long(t)
	t.Parallel()
	e := newEnvironment(t, "dropped")
	x := newTenantIn(t, e, "started", "started")
	mend := x.Fault(holdsMachines)
	x.Apply(oneLogin, "rotationGeneration: 1")
	x.WaitReason("ConnectionFailed") // the login was checked, and Fly does not move the Machine
	require.Equal(t, map[string]int{"committed": 1}, x.Rows())
	e.Exec(t, "DROP DATABASE site_"+x.Short+" WITH (FORCE)")
	mend()
	x.WaitReason("MachineUnhealthy")
	require.Contains(t, x.Get().Condition("Ready").Message, "raise spec.rotationGeneration to 2")

	kubectl(t, "", "-n", "tenants-sandbox", "delete", "tcred", x.Name, "--wait=false")
	wayOut := regexp.MustCompile(`leave the tenant as it is: (kubectl .*)$`)
	require.Eventually(t, func() bool { return wayOut.MatchString(x.Get().Condition("Ready").Message) }, patience, 100*time.Millisecond, x.Describe())
	message := x.Get().Condition("Ready").Message
	require.NotContains(t, message, "rotationGeneration")
	output, err := exec.Command("bash", "-c", wayOut.FindStringSubmatch(message)[1]).CombinedOutput()
	require.NoError(t, err, "%s", output)
	kubectl(t, "", "-n", "tenants-sandbox", "wait", "tcred", x.Name, "--for=delete", "--timeout=60s")
}

// When an environment can no longer be used, the tenant and the environment report a half-done rotation as it was seen last.
func TestAHalfDoneRotationIsNoUnchangedTenant(t *testing.T) {
	t.Parallel()
	e, server := platform.NewServer(t, "halfway")
	e.Install(t, server)
	token := func() {
		kubectl(t, "", "-n", "tcred-system", "create", "secret", "generic", e.Name+"-token", "--from-literal=token="+os.Getenv("FLY_API_TOKEN"))
	}
	token()
	kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", `{"spec":{"fly":{"tokenSecretRef":{"name":"`+e.Name+`-token"}}}}`)
	x := newTenantIn(t, e, "started", "started")
	x.Apply(oneLogin)
	x.WaitReady()
	x.Apply(oneLogin, "rotationGeneration: 1")
	require.Eventually(t, func() bool { return moved(x) == 1 }, patience, 100*time.Millisecond, x.Describe())
	leaseMachines(t, x, 3600) // the first one is watched, and the second one waits
	require.Equal(t, "credentials.systemprompt.io/finish-rotation", finalizers(t, e))
	require.Eventually(t, func() bool { return x.Get().Status.Fly.Machines.Updated == 1 }, patience, 200*time.Millisecond, x.Describe())

	for reason, outage := range map[string]struct{ begin, end func() }{
		"ConnectionRefused": {server.Down, func() { require.NoError(t, server.Up(t.Context())) }},
		"SecretNotFound":    {func() { kubectl(t, "", "-n", "tcred-system", "delete", "secret", e.Name+"-token") }, token},
	} {
		outage.begin()
		message := e.WaitFor(t, "Ready", "False")
		require.Contains(t, message, "1 rotation is in progress: PostgreSQL may refuse the Machines of its app that are not yet updated", reason)
		require.NotContains(t, message, "keep their present passwords", reason)
		require.Eventually(t, func() bool {
			ready := x.Get().Condition("Ready")
			return ready.Reason == "EnvironmentNotReady" && regexp.MustCompile(`^TenantEnvironment \S+ is not ready \(`+reason+`: `).MatchString(ready.Message)
		}, patience, 200*time.Millisecond, x.Describe())
		message = x.Get().Condition("Ready").Message
		require.Contains(t, message, "Revision 1 is in force, and 1 of 2 Machines were last seen with it. The rotation continues once this is fixed.")
		require.NotContains(t, message, "Nothing was changed")
		outage.end()
		e.WaitFor(t, "Ready", "True")
	}
	leaseMachines(t, x, 1)
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	requireAccepted(t, x.URL())
	require.Eventually(t, func() bool { return finalizers(t, e) == "" }, patience, 200*time.Millisecond, "at rest it can be deleted without the operator")
}

func finalizers(t *testing.T, e platform.Environment) string {
	t.Helper()
	return kubectl(t, "", "get", "tenv", e.Name, "-o", "jsonpath={.metadata.finalizers[*]}")
}

// lastApplied is the environment as it was applied.
func lastApplied(t *testing.T, e platform.Environment) string {
	t.Helper()
	return kubectl(t, "", "get", "tenv", e.Name, "-o", `jsonpath={.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}`)
}

// awaitCommitted waits until a rotation of the tenant is committed and not completed.
func awaitCommitted(t *testing.T, x tenant) {
	t.Helper()
	require.Eventually(t, func() bool {
		return x.Rows()["committed"] == 1 && x.Get().Condition("Ready").Reason == "ConnectionFailed"
	},
		2*time.Minute, 100*time.Millisecond, x.Describe())
}

// awaitTerminating waits until the environment says that it is being deleted, and returns its message.
func awaitTerminating(t *testing.T, e platform.Environment) string {
	t.Helper()
	kubectl(t, "", "wait", "tenv", e.Name, "--timeout=60s", `--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=EnvironmentTerminating`)
	return e.WaitFor(t, "Ready", "True")
}
