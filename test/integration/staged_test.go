package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/jsonhttp"
)

// Staged: the value is at Fly, nothing is moved, both logins work; the user's own deploy moves the Machines, and the operator notices and
// closes the previous login.
func TestStagedWaitsForTheUsersDeploy(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, "staged", `rotation: {overlapGracePeriod: "2s"}`)
	x := newTenantIn(t, e, "started", "started", "stopped")
	ask := func(more ...string) {
		x.Apply(append(more, "delivery: {fly: {rolloutPolicy: Staged}}")...)
	}
	ask("rotationGeneration: 1")
	x.WaitReason("InvalidSpec")
	require.Contains(t, x.Get().Condition("Stalled").Message, `{"spec":{"rotation":{"strategy":"Overlap"}}}`)
	require.Empty(t, x.Rows(), "with one login no app could wait for a deploy")

	old := x.URL()
	x.SQL("SELECT tenant_credentials.prepare_overlap('" + x.Role() + "')")
	ask("rotationGeneration: 1", "rotation: {strategy: Overlap}")
	require.Eventually(t, func() bool { return x.Get().Condition("FlySecretSynced").Reason == "Staged" }, patience, 50*time.Millisecond, "%s", x.Describe())
	require.Eventually(t, func() bool {
		return strings.Contains(x.Get().Condition("Ready").Message, "3 of 3 Machines take it with your next deploy, or with fly secrets deploy -a "+x.App())
	}, patience, 50*time.Millisecond, "%s", x.Describe())
	require.Equal(t, map[string]int{"committed": 1}, x.Rows())
	requireAccepted(t, old)
	requireAccepted(t, x.URL())
	machines := x.Look().Machines
	for _, machine := range machines {
		require.Zero(t, machine.Updates, "the operator has moved a Machine")
	}

	deploy(t, x, machines[0].ID)
	x.Poke()
	require.Contains(t, x.Get().Condition("Ready").Message, "2 of 3 Machines")
	requireAccepted(t, old)
	deploy(t, x, machines[1].ID)
	deploy(t, x, machines[2].ID)
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	requireRefused(t, old)
	for _, machine := range x.Look().Machines {
		require.Equal(t, 1, machine.Updates, "Machine %s (%s)", machine.ID, machine.State)
		require.Equal(t, x.URL(), machine.Env["DATABASE_URL"])
	}
}

// deploy replaces a Machine as fly deploy does, with the config that it has.
func deploy(t *testing.T, x tenant, id string) {
	t.Helper()
	address := os.Getenv("FLY_API_BASE_URL") + "/v1/apps/" + x.App() + "/machines/" + id
	var machine struct{ Config json.RawMessage }
	require.NoError(t, jsonhttp.Call(context.Background(), http.MethodGet, address, os.Getenv("FLY_API_TOKEN"), nil, &machine))
	require.NoError(t, jsonhttp.Call(context.Background(), http.MethodPost, address, os.Getenv("FLY_API_TOKEN"), map[string]any{"config": machine.Config}, nil))
}
