package fly

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

// inGroup is a started Machine of a process group.
func inGroup(name string) flyemulator.NewMachine {
	return flyemulator.NewMachine{Config: json.RawMessage(fmt.Sprintf(`{"image":"i:1","metadata":{"fly_process_group":%q}}`, name))}
}

// updates counts, per process group, how often its Machines have been updated.
func (w *world) updates() map[string]int {
	w.t.Helper()
	counts := map[string]int{}
	for _, m := range w.state() {
		counts[readSettings(m.Config, "").group] += m.Updates
	}
	return counts
}

func TestTheFirstMovesAloneAndThenAThirdOfEachGroup(t *testing.T) {
	machines := []flyemulator.NewMachine{}
	for range 6 {
		machines = append(machines, inGroup("app"), inGroup("worker"))
	}
	w := newWorld(t, machines...)
	r := w.set(1)
	for pass, want := range []map[string]int{
		{"app": 1, "worker": 0}, {"app": 3, "worker": 1}, {"app": 5, "worker": 3}, {"app": 6, "worker": 5}, {"app": 6, "worker": 6},
	} {
		for range 2 { // the second comes before the Machines are known to be well, and moves none
			p, err := w.Advance(t.Context(), r)
			require.NoError(t, err)
			require.False(t, p.Done())
			require.Equal(t, want, w.updates(), "pass %d", pass)
		}
		w.later(smokeTime)
		w.AdvanceClock(smokeTime)
	}
	require.Equal(t, Progress{Total: 12, Updated: 12}, w.run(r))
}

func TestACordonedMachineStaysSo(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		w := newWorld(t, started, started)
		w.SetSwitches(func(s *flyemulator.Switches) { s.UpdateKeepsCordon = keeps })
		id := w.state()[0].ID
		require.NoError(t, w.call(t.Context(), machineRequest(testApp, id, "cordon machine", http.MethodPost, "/cordon"), nil))
		require.True(t, w.run(w.set(1)).Done())
		require.True(t, w.state()[0].Cordoned)
		require.False(t, w.state()[1].Cordoned)
		require.Equal(t, "value 1", w.state()[0].Env["DATABASE_URL"])
	}
}

// A deploy writes each Machine's config anew, under leases of its own, and knows nothing of the secret's version.
func TestADeployInTheMiddleIsKeptAndMovedToo(t *testing.T) {
	w := newWorld(t, started, started, started)
	w.SetSwitches(func(s *flyemulator.Switches) { s.PropagationLag = 1 })
	r := w.set(1)
	_, err := w.Advance(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, 1, w.state()[0].Updates)
	w.awaitRest()
	for _, m := range w.state()[:2] {
		w.deploy(m.ID, `{"image":"i:2","metadata":{"fly_release_version":"9"}}`)
		require.Equal(t, "old value", w.machine(m.ID).Env["DATABASE_URL"], "the deploy has missed it")
	}
	require.True(t, w.run(r).Done())
	for i, m := range w.state() {
		require.Equal(t, "value 1", m.Env["DATABASE_URL"])
		require.Equal(t, i < 2, bytes.Contains(m.Config, []byte(`"image":"i:2","metadata":{"tenant_credential_revision"`)), string(m.Config))
	}
}

// A user whose own deploy moves the Machines is told how far it has come, and no Machine is touched.
func TestDeployedGoesByInstances(t *testing.T) {
	w := newWorld(t, started, started, stopped)
	app, err := w.App(t.Context(), testApp)
	require.NoError(t, err)
	before, err := w.Instances(t.Context(), app)
	require.NoError(t, err)
	look := func() Progress {
		t.Helper()
		p, err := w.Deployed(t.Context(), app, "DATABASE_URL", before)
		require.NoError(t, err)
		return p
	}
	require.Equal(t, Progress{Total: 3, Waiting: "3 of 3 Machines take it with your next deploy, or with fly secrets deploy -a sp-acme"}, look())
	w.deploy(w.ids[0], `{"image":"i:2"}`)
	require.Equal(t, 0, look().Updated, "it has only just started")
	w.later(smokeTime)
	require.Equal(t, Progress{Total: 3, Updated: 1, Waiting: "2 of 3 Machines take it with your next deploy, or with fly secrets deploy -a sp-acme"}, look())
	w.deploy(w.ids[1], `{"image":"i:2"}`)
	w.deploy(w.ids[2], `{"image":"i:2"}`)
	require.Equal(t, Progress{Total: 3, Updated: 2, OnNextStart: 1}, look())
	require.True(t, look().Done())
	require.Equal(t, []int{1, 1, 1}, []int{w.machine(w.ids[0]).Updates, w.machine(w.ids[1]).Updates, w.machine(w.ids[2]).Updates}, "the deploys' own alone")
}

// A list that is wrongly empty is no deploy of all Machines.
func TestDeployedDoesNotBelieveAnEmptyList(t *testing.T) {
	w := newWorld(t, started)
	app, err := w.App(t.Context(), testApp)
	require.NoError(t, err)
	before, err := w.Instances(t.Context(), app)
	require.NoError(t, err)
	w.fault(flyemulator.Fault{Route: listRoute, Status: 200, Body: `[]`, Count: 2})
	_, err = w.Instances(t.Context(), app)
	require.Equal(t, failure.Wait, failure.ClassOf(err))
	p, err := w.Deployed(t.Context(), app, "DATABASE_URL", before)
	require.NoError(t, err)
	require.False(t, p.Done())
}

// deploy replaces a Machine's config as another client would.
func (w *world) deploy(id, config string) {
	w.t.Helper()
	nonce, err := w.acquire(w.t.Context(), testApp, id)
	require.NoError(w.t, err)
	request := machineRequest(testApp, id, "update machine", http.MethodPost, "")
	request.nonce, request.body = nonce, []byte(`{"config":`+config+`}`)
	require.NoError(w.t, w.call(w.t.Context(), request, nil))
	w.awaitRest()
	w.releaseLease(w.t.Context(), testApp, id, nonce)
}

func TestMachinesThatAppearDuringARolloutAreMoved(t *testing.T) {
	w := newWorld(t, started, started)
	w.SetSwitches(func(s *flyemulator.Switches) { s.PropagationLag = 1 })
	r := w.set(1)
	_, err := w.Advance(t.Context(), r)
	require.NoError(t, err)
	clone := w.state()[0].Config // with the metadata that says it has moved
	if !bytes.Contains(clone, []byte(metadataKey)) {
		clone = w.state()[1].Config
	}
	request := request{
		action: "create machine", id: testApp, method: http.MethodPost, path: "/apps/" + testApp + "/machines",
		body: []byte(`{"config":` + string(clone) + `}`), timeout: readTimeout,
	}
	var created machine
	require.NoError(t, w.call(t.Context(), request, &created))
	require.Equal(t, "old value", w.machine(created.ID).Env["DATABASE_URL"], "it has missed the new one")
	require.Equal(t, Progress{Total: 3, Updated: 3}, w.run(r))
	require.Equal(t, "value 1", w.machine(created.ID).Env["DATABASE_URL"])
}

func TestAStandbyIsMovedAndNotStarted(t *testing.T) {
	w := newWorld(t, started)
	config := fmt.Sprintf(`{"image":"i:1","standbys":[%q],"mounts":[{"volume":"vol_1","path":"/data","add_size_percent":10}]}`, w.state()[0].ID)
	id, err := w.AddMachine(testApp, flyemulator.NewMachine{State: "stopped", Config: json.RawMessage(config)})
	require.NoError(t, err)
	require.Equal(t, Progress{Total: 2, Updated: 1, OnNextStart: 1}, w.run(w.set(1)))
	require.Equal(t, "stopped", w.machine(id).State)
	require.Equal(t, "value 1", w.machine(id).Env["DATABASE_URL"])
	require.Contains(t, string(w.machine(id).Config), `"mounts":[{"volume":"vol_1","path":"/data","add_size_percent":10}]`)
}
