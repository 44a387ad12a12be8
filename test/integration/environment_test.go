package integration

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An environment whose token is of another organization is not Ready, says how to fix that, and reports both moments by an event. A tenant without
// delivery to Fly is rotated all the same.
func TestTokenOfAnotherOrganization(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, "organization")
	require.Equal(t, "Fly accepts the token.", e.WaitFor(t, "FlyReachable", "True"))
	kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", `{"spec":{"fly":{"organization":"example-sandbx"}}}`)
	require.Equal(t, "The Fly token is of organization example-sandbox, not of example-sandbx.", e.WaitFor(t, "FlyReachable", "False"))
	require.Contains(t, e.WaitFor(t, "Ready", "False"), "To fix: correct spec.fly.organization (kubectl edit tenv "+e.Name+"), or replace key token in Secret tcred-system/")

	x := newTenantIn(t, e)
	x.Apply(deliversTo(x), "rotationGeneration: 1")
	x.WaitReady()
	requireAccepted(t, secretURL(t, x))
	x.Delete()
	x.DeleteSecret(secretOf(x)) // which Kubernetes' garbage collector does in a cluster
	y := newTenantIn(t, e, "stopped")
	y.Apply("rotationGeneration: 1")
	y.WaitReason("PermissionDenied")
	require.Zero(t, y.Writes())

	kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", `{"spec":{"fly":{"organization":"example-sandbox"}}}`)
	e.WaitFor(t, "Ready", "True")
	e.WaitFor(t, "FlyReachable", "True")
	y.WaitReady()
	requireAccepted(t, y.URL())
	require.Eventually(t, func() bool {
		told := kubectl(t, "", "get", "events", "-A", "--field-selector=involvedObject.kind=TenantEnvironment,involvedObject.name="+e.Name, "-o", "jsonpath={.items[*].reason}")
		reasons := strings.Fields(told)
		return slices.Contains(reasons, "EnvironmentReady") && slices.Contains(reasons, "EnvironmentNotReady")
	}, patience, 200*time.Millisecond, "an event is missing")
}
