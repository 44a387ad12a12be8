package fly

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
)

const (
	testApp      = "sp-acme"
	secretsRoute = "POST /v1/apps/{app}/secrets"
	listRoute    = "GET /v1/apps/{app}/machines"
	updateRoute  = "POST /v1/apps/{app}/machines/{id}"
)

// world is an app at the emulator, and a client whose clock can run ahead.
type world struct {
	*flyemulator.Emulator
	*Client
	t     *testing.T
	ids   []string // of the Machines, in the order in which they were given; state is in the order of the IDs, which are random
	ahead atomic.Int64
}

func newWorld(t *testing.T, machines ...flyemulator.NewMachine) *world {
	t.Helper()
	w := &world{Emulator: flyemulator.New(flyemulator.Options{}), t: t}
	server := httptest.NewServer(w.API())
	t.Cleanup(func() { w.Emulator.Close(); server.Close() })
	w.SetSwitches(func(s *flyemulator.Switches) { s.TransitionMS = 1 })
	w.PutToken(testToken, flyemulator.Token{Organization: "o"})
	w.PutApp(testApp, "o", "DATABASE_URL")
	old := "old value"
	w.PutSecret(testApp, "DATABASE_URL", &old)
	for _, m := range machines {
		id, err := w.AddMachine(testApp, m)
		require.NoError(t, err)
		w.ids = append(w.ids, id)
	}
	w.Client = open(t, server.URL)
	w.now = func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
	unhurried := time.Now()
	w.limits.now = func() time.Time { unhurried = unhurried.Add(time.Minute); return unhurried }
	return w
}

func (w *world) later(d time.Duration) { w.ahead.Add(int64(d)) }

func (w *world) fault(f flyemulator.Fault) {
	w.t.Helper()
	_, err := w.AddFault(f)
	require.NoError(w.t, err)
}

// set writes a new value and returns the rollout that follows from it.
func (w *world) set(revision int64) Rollout {
	w.t.Helper()
	secret, err := w.SetSecret(w.t.Context(), testApp, "DATABASE_URL", credential.SecretOf(fmt.Sprintf("value %d", revision)))
	require.NoError(w.t, err)
	return Rollout{Variable: "DATABASE_URL", Revision: revision, SecretVersion: secret.Version}
}

// Advance makes a pass as the operator does: it reads the app first, and the pass before has come to its end.
func (w *world) Advance(ctx context.Context, r Rollout) (Progress, error) {
	w.awaitRest()
	var err error
	if r.App, err = w.App(ctx, testApp); err != nil {
		return Progress{}, err
	}
	return w.Client.Advance(ctx, r)
}

// Probe looks at the app as the operator does.
func (w *world) Probe(ctx context.Context) (Progress, error) {
	app, err := w.App(ctx, testApp)
	if err != nil {
		return Progress{}, err
	}
	return w.Client.Probe(ctx, app, "DATABASE_URL")
}

// awaitRest waits until no Machine is on its way from one state to another.
func (w *world) awaitRest() {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		return !slices.ContainsFunc(w.state(), func(m flyemulator.MachineState) bool { return strings.HasSuffix(m.State, "ing") })
	}, 10*time.Second, time.Millisecond)
}

// run makes passes until the rollout is done or halted.
func (w *world) run(r Rollout) Progress {
	w.t.Helper()
	for range 20 {
		p, err := w.Advance(w.t.Context(), r)
		require.NoError(w.t, err)
		if p.Done() || p.Halted != "" {
			return p
		}
		w.later(smokeTime)
	}
	require.Fail(w.t, "the rollout does not end")
	return Progress{}
}

func (w *world) state() []flyemulator.MachineState {
	w.t.Helper()
	app, ok := w.Inspect(w.t.Context(), testApp)
	require.True(w.t, ok)
	return app.Machines
}

// start starts a Machine as another client would.
func (w *world) start(id string) {
	w.t.Helper()
	w.awaitStopped(id)
	require.NoError(w.t, w.call(w.t.Context(), machineRequest(testApp, id, "start machine", http.MethodPost, "/start"), nil))
	w.awaitRest()
}

func (w *world) awaitStopped(id string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.machine(id).State == "stopped" }, 10*time.Second, time.Millisecond)
}

func (w *world) machine(id string) flyemulator.MachineState {
	for _, m := range w.state() {
		if m.ID == id {
			return m
		}
	}
	return flyemulator.MachineState{}
}

var (
	started   = flyemulator.NewMachine{State: "started"}
	stopped   = flyemulator.NewMachine{State: "stopped"}
	suspended = flyemulator.NewMachine{State: "suspended"}
)
