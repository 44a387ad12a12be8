package integration

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// A request is done once, however often it is sent, and the status names the requester and the reason.
func TestRequestRotatesOnce(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	old := x.URL()

	request := `rotationRequest: {replacesRevision: 1, reason: "laptop lost"}`
	x.Apply("rotationGeneration: 1", request)
	x.WaitReady()
	requireRefused(t, old)
	requireAccepted(t, x.URL())
	o := x.Get()
	require.EqualValues(t, 2, o.Status.Revision)
	require.EqualValues(t, 1, o.Status.RotationGeneration)
	require.Equal(t, "Requested", o.Status.LastRotation.Cause)
	require.Equal(t, "laptop lost", o.Status.LastRotation.Reason)

	x.Apply("rotationGeneration: 1", `rotationRequest: {replacesRevision: 1, reason: "the same, of a caller who came late"}`)
	x.Poke()
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())

	beyond := []string{"rotationGeneration: 1", "rotationRequest: {replacesRevision: 20}"}
	output, err := try(x.Manifest(beyond...), "apply", "-f", "-")
	require.Error(t, err)
	require.Contains(t, output, "rotationRequest.replacesRevision 20 is above the newest revision, 2: to have that one replaced, write 2")

	// An object that has only just been made knows of no revision. It says what to write, and waits for that.
	x.Delete()
	x.Apply(beyond...)
	x.WaitReason("InvalidSpec")
	require.Contains(t, x.Get().Condition("Stalled").Message, `{"rotationRequest":{"replacesRevision":2}}`)
	require.Empty(t, kubectl(t, "", "-n", "tenants-sandbox", "get", "tcred", x.Name, "-o", "jsonpath={.status.failure}"), "it is tried again by time")
	x.Apply("rotationGeneration: 1", "suspend: false")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
}

// A tenant with a request gets the next slot of the environment, however many tenants have waited for it before.
func TestARequestIsFirstInTheQueue(t *testing.T) {
	t.Parallel()
	narrow := newEnvironment(t, "narrow", "maxConcurrent: 1")
	holder, requested := newTenantIn(t, narrow, "started", "started"), newTenantIn(t, narrow, "stopped")
	requested.Apply()
	requested.WaitReady()

	holder.Apply("rotationGeneration: 1")
	require.Eventually(t, func() bool { return moved(holder) == 1 }, patience, 20*time.Millisecond)
	leaseMachines(t, holder, 600) // the rollout waits, and keeps its slot
	var raised []tenant
	for range 4 {
		x := newTenantIn(t, narrow, "stopped")
		x.Apply("rotationGeneration: 1")
		x.WaitReason("Progressing")
		raised = append(raised, x)
	}
	requested.Apply(`rotationRequest: {replacesRevision: 0, reason: "laptop lost"}`)
	requested.WaitReason("Progressing")
	require.Equal(t, map[string]int{"committed": 1}, holder.Rows(), "the only slot")

	leaseMachines(t, holder, 1)
	for _, x := range append(raised, requested, holder) {
		x.WaitReady()
	}
	for _, x := range raised {
		require.True(t, committed(t, requested).Before(committed(t, x)))
	}
}

// leaseMachines gives another client the leases of the tenant's Machines for so many seconds.
func leaseMachines(t *testing.T, x tenant, seconds int) {
	t.Helper()
	for _, m := range x.Look().Machines {
		admin(t, http.MethodPost, "/admin/apps/"+x.App()+"/machines/"+m.ID+"/lease", fmt.Sprintf(`{"owner":"a deployment","ttl":%d}`, seconds), nil)
	}
}

// committed is when the tenant's only rotation was committed.
func committed(t *testing.T, x tenant) (at time.Time) {
	t.Helper()
	require.NoError(t, x.Pool().QueryRow(context.Background(), "SELECT committed_at FROM tenant_credentials.rotations WHERE tenant_id = $1", x.ID).Scan(&at))
	return at
}

// Only a user with the verb attribute writes another's name into the ledger.
func TestRequestedByIsOnesOwnName(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply()
	const namespace, resource = "tenants-sandbox", "tenantcredentials.credentials.systemprompt.io"
	kubectl(t, "", "-n", namespace, "create", "rolebinding", "request-editors", "--clusterrole=tenant-credential-operator-edit", "--user=alice", "--user=gateway")
	kubectl(t, "", "-n", namespace, "create", "role", "request-attribute", "--verb=attribute", "--resource="+resource)
	kubectl(t, "", "-n", namespace, "create", "rolebinding", "request-attribute", "--role=request-attribute", "--user=gateway")
	request := func(as, requestedBy string, more ...string) (string, error) {
		manifest := x.Manifest(append(more, "rotationRequest: {replacesRevision: 0, requestedBy: "+requestedBy+"}")...)
		return try(manifest, "--as="+as, "apply", "-f", "-")
	}
	require.Eventually(t, func() bool { // the authorizer learns of the roles a moment later
		_, err := try("", "--as=gateway", "auth", "can-i", "attribute", resource, "-n", namespace)
		return err == nil
	}, patience, 200*time.Millisecond)

	output, err := request("alice", "bob")
	require.Error(t, err)
	require.Contains(t, output, "write your own name, requestedBy: alice, or leave it out")
	output, err = request("gateway", "bob")
	require.NoError(t, err, output)
	x.WaitReady()
	require.Equal(t, "bob", x.Get().Status.LastRotation.RequestedBy)
	output, err = request("alice", "bob", "suspend: true")
	require.NoError(t, err, "the request is the one that was there: %s", output)
	output, err = request("alice", "alice")
	require.NoError(t, err, output)
}

// session opens a session as the tenant's app does, and returns what says whether it is still there.
func session(t *testing.T, url string) (alive func() bool) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close(context.Background()) })
	return func() bool {
		_, err := connection.Exec(t.Context(), "SELECT")
		return err == nil
	}
}

// authenticationTimePasses has the rotation look as old as a login may last, once it has noted the earlier sessions.
func authenticationTimePasses(t *testing.T, x tenant) {
	t.Helper()
	x.SQL("UPDATE tenant_credentials.rotations SET sessions_before = sessions_before - interval '66 s' WHERE tenant_id = '" + x.ID + "' AND state IN ('committed', 'rolled')")
}

// closedFirst says that no earlier session or login was left when the tenant's newest rotation was committed.
func closedFirst(t *testing.T, x tenant) (is bool) {
	t.Helper()
	require.NoError(t, x.Pool().QueryRow(context.Background(),
		"SELECT closed_at < quiet_at AND quiet_at < committed_at FROM tenant_credentials.rotations WHERE tenant_id = $1 ORDER BY revision DESC LIMIT 1", x.ID).Scan(&is))
	return is
}

// After a compromise no session is left that was opened with the previous password, before the new one is set, with any answer of Fly.
func TestCompromisedEndsSessions(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	thief := session(t, x.URL())
	require.True(t, thief())

	lift := x.Fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"delay","delay_ms":3000}`)
	defer lift()
	x.Apply("rotationGeneration: 1", "rotationRequest: {replacesRevision: 1, compromised: true}")
	require.Eventually(t, func() bool { return x.Rows()["open"] == 1 }, patience, 50*time.Millisecond)
	mend := x.Fault(`{"route":"GET /v1/apps/{app}","status":503,"count":-1}`) // for the passes after this one
	require.Eventually(t, func() bool { return !thief() }, patience, 100*time.Millisecond, "the session of before is still there")
	require.Eventually(t, func() bool { return x.Rows()["committed"] == 1 }, patience, 50*time.Millisecond)
	require.True(t, closedFirst(t, x))
	owner := session(t, x.URL())
	mend()
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
	require.True(t, owner(), "a session with the present password")
}

// Terminate ends the remaining earlier sessions once the Machines have moved, and not before.
func TestTerminateEndsSessionsAfterTheRollout(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	forgotten := session(t, x.URL())
	mend := x.Fault(`{"route":"POST /v1/apps/{app}/machines/{id}","status":503,"count":-1}`)

	x.Apply("rotationGeneration: 2", "rotation: {sessionPolicy: Terminate}")
	x.WaitReason("ConnectionFailed")
	require.Equal(t, 1, x.Rows()["committed"])
	require.True(t, forgotten(), "the Machine has not moved yet")
	mend()
	require.Eventually(t, func() bool { return !forgotten() }, 3*time.Minute, 100*time.Millisecond, "the session of before is still there")
	authenticationTimePasses(t, x)
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
}
