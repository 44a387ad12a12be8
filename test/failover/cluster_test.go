package failover

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// etcd is restored to its state of some time ago: specs and statuses are older than the ledger, a deleted object is back, a young one is gone.
// The ledger and Fly know the rotations since, so none is done again.
func TestEtcdRestored(t *testing.T) { // not parallel: it takes the cluster from every test
	e := newEnvironment(t)
	x, back := e.rotated(), e.rotated()
	backup := t.TempDir()
	withoutCluster(t, func(etcd string) { require.NoError(t, os.CopyFS(backup, os.DirFS(etcd))) })
	x.Apply("rotationGeneration: 2")
	x.WaitReady()
	back.Delete()
	young := platform.NewTenantIn(t, e.Environment, "stopped")
	young.Apply("rotationGeneration: 1")
	young.WaitReady()
	values := []string{x.URL(), back.URL(), young.URL()}

	withoutCluster(t, func(etcd string) {
		require.NoError(t, os.RemoveAll(etcd))
		require.NoError(t, os.CopyFS(etcd, os.DirFS(backup)))
	})
	eventually(t, "the status does not follow the ledger", func() bool { return x.Get().Status.Revision == 2 })
	x.WaitReady()
	back.Poke()
	back.WaitReady()
	young.Bind() // the namespace's label is as old as everything else
	young.Apply("rotationGeneration: 1")
	young.WaitReady()
	require.Equal(t, values, []string{x.URL(), back.URL(), young.URL()}, "something was rotated again")
	require.Len(t, e.revisions(x), 2)
	require.Len(t, e.revisions(back), 1)
	require.Len(t, e.revisions(young), 1)
	young.Delete()
	e.requireSound()
}

// withoutCluster does something to etcd's data while nothing runs that uses it.
func withoutCluster(t *testing.T, do func(etcd string)) {
	t.Helper()
	control := func(command string) {
		output, err := harness.Playground(command).CombinedOutput()
		require.NoError(t, err, "%s: %s", command, output)
	}
	managerStays.Lock()
	defer managerStays.Unlock()
	control("manager-down")
	control("cluster-down")
	do(os.Getenv("PLAYGROUND_ETCD_DIR"))
	control("cluster-up")
	control("manager-up")
}

// A user writes another server's URL into the login's Secret. That server has a ledger, too, and knows nothing of these tenants: it is not
// believed, and with the right URL all is as it was.
func TestLoginLeadsToAnotherServer(t *testing.T) {
	t.Parallel()
	e, other := newEnvironment(t), newEnvironment(t)
	x := e.rotated()
	writes, value, seen := x.Writes(), x.URL(), x.Get().Status
	login := func(of *environment) {
		harness.Kubectl(t, `{"stringData":{"url":"`+of.server.URL("tcred_operator", "operator", "platform")+`"}}`,
			"-n", "tcred-system", "patch", "secret", e.Name, "--patch-file=/dev/stdin")
	}
	login(other)
	require.Contains(t, e.WaitFor(e.t, "RotationsPaused", "True"), "it is another server")
	x.Poke()
	require.Equal(t, seen, x.Get().Status, "nothing is due, and nothing of what that server says is believed")
	login(e)
	e.WaitFor(e.t, "Ready", "True")
	x.WaitReady()
	require.Equal(t, writes, x.Writes())
	require.Equal(t, value, x.URL())
	require.Len(t, e.revisions(x), 1)
	require.True(t, other.one("SELECT count(*) = 0 FROM tenant_credentials.claims"), "the other server was written to")
}

// The object of an environment is made again, and its server from a dump of another one. No status knows the server that was used before; the ledger
// knows which one it was installed on, and nothing is rotated until the change is acknowledged.
func TestEnvironmentMadeAgainOnAnotherServer(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	x := e.rotated()
	e.Exec(t, "UPDATE tenant_credentials.settings SET installed_on = '1'") // as a dump of that server has it
	harness.Kubectl(t, "", "delete", "tenv", e.Name, "--timeout=60s")
	e.Create(t, e.Manifest(t, "maxConcurrent: 1"))
	message := e.WaitFor(t, "RotationsPaused", "True")
	require.Contains(t, message, "and had 1 before; it is another server")
	x.Apply("rotationGeneration: 2")
	x.WaitReason("EnvironmentNotReady")
	require.Len(t, e.revisions(x), 1)

	obey(t, message)
	x.WaitReady()
	require.Equal(t, []string{"1 completed GenerationRaised", "2 completed GenerationRaised"}, e.revisions(x))
	e.requireSound()
}
