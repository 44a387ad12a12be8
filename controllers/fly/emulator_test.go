package fly

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

func TestEveryMachineGetsTheValueAndNoneIsStarted(t *testing.T) {
	w := newWorld(t, started, stopped, started, suspended)
	r := w.set(1)
	p := w.run(r)
	require.Equal(t, Progress{Total: 4, Updated: 2, OnNextStart: 2}, p)
	running := 0
	for _, m := range w.state() {
		require.Equal(t, "value 1", m.Env["DATABASE_URL"])
		require.Equal(t, fmt.Sprint(r.SecretVersion), m.SecretsVersion)
		require.Equal(t, 1, m.Updates)
		require.False(t, m.Leased)
		if m.State == "started" {
			running++
		}
	}
	require.Equal(t, 2, running)
	for _, request := range w.Requests() {
		require.NotContains(t, request.Path, "start", "nothing is started")
		require.NotContains(t, request.Query, "value", "no secret in a URL")
		require.Equal(t, request.Route == updateRoute, request.LeaseNonce && request.Method == http.MethodPost, request.Path)
	}
	require.Equal(t, p, w.run(r), "a pass after the end changes nothing")
	require.Equal(t, 1, w.state()[0].Updates)
	require.Equal(t, 4, w.run(w.set(2)).Total)
	require.Equal(t, "value 2", w.state()[0].Env["DATABASE_URL"])
}

func TestAnAppWithoutMachinesIsDone(t *testing.T) {
	w := newWorld(t)
	p, err := w.Advance(t.Context(), w.set(1))
	require.NoError(t, err)
	require.True(t, p.Done())
}

func TestALeaseOfAnotherClientIsWaitedFor(t *testing.T) {
	for name, listed := range map[string]bool{"in the list": true, "after the list": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, started)
			id := w.state()[0].ID
			if !listed { // the list was read before the lease was taken
				w.fault(flyemulator.Fault{
					Route: "POST /v1/apps/{app}/machines/{id}/lease", Status: 409, Count: 1,
					Body: `{"error":"aborted: machine ID x lease currently held by other@tokens.fly.io"}`,
				})
			} else {
				require.True(t, w.HoldLease(testApp, id, "other", time.Hour))
				_, err := w.Probe(t.Context())
				requireFailure(t, err, failure.Wait, reasons.LeaseHeld)
			}
			r := w.set(1)
			p, err := w.Advance(t.Context(), r)
			require.NoError(t, err)
			require.Contains(t, p.Waiting, "lease")
			require.Contains(t, p.Waiting, id)
			require.EqualValues(t, reasons.LeaseHeld, p.Reason)
			require.Equal(t, listed, w.state()[0].Leased, "it is not broken")
			require.Zero(t, w.state()[0].Updates)
			if listed {
				w.AdvanceClock(2 * time.Hour)
				w.later(2 * time.Hour)
			}
			require.True(t, w.run(r).Done())
		})
	}
}

func TestACrashLoopHaltsAtTheFirstMachineUntilItHeals(t *testing.T) {
	w := newWorld(t, started, started, started)
	first := w.state()[0].ID
	require.True(t, w.ChangeMachine(testApp, first, flyemulator.MachineChange{Boot: flyemulator.BootCrash}))
	r := w.set(1)
	_, err := w.Advance(t.Context(), r)
	require.NoError(t, err)
	w.awaitStopped(first) // its restarts are used up
	for range 2 {
		p := w.run(r)
		require.Contains(t, p.Halted, first)
		require.Equal(t, 1, p.Failed)
		require.Zero(t, w.state()[1].Updates+w.state()[2].Updates)
	}
	w.ChangeMachine(testApp, first, flyemulator.MachineChange{Boot: flyemulator.BootHealthy})
	w.start(first)
	w.later(crashMemory)
	require.Equal(t, Progress{Total: 3, Updated: 3}, w.run(r))
}

func TestChecksThatNewlyFailHaltUntilTheyPass(t *testing.T) {
	w := newWorld(t, started, started)
	r := w.set(1)
	_, err := w.Advance(t.Context(), r)
	require.NoError(t, err)
	w.SetSwitches(func(s *flyemulator.Switches) { s.HoldChecks = true })
	p := w.run(r)
	require.Contains(t, p.Halted, "check health is critical")
	require.Contains(t, p.Halted, w.state()[0].ID)
	require.Zero(t, w.state()[1].Updates)
	w.SetSwitches(func(s *flyemulator.Switches) { s.HoldChecks = false })
	require.True(t, w.run(r).Done(), "it goes on by itself")
}

func TestChecksThatFailedBeforeDoNotHalt(t *testing.T) {
	w := newWorld(t, flyemulator.NewMachine{Boot: flyemulator.BootUnhealthy}, started)
	w.later(10 * time.Minute) // it has failed for long
	_, err := w.Probe(t.Context())
	require.NoError(t, err)
	p := w.run(w.set(1))
	require.Equal(t, 2, p.Updated)
	require.Len(t, p.Warnings, 1)
}

// Once the new value is in force, a Machine with the old one fails its checks for that very reason: only what was so before the
// commit is a baseline.
func TestChecksThatFailSinceTheCommitHalt(t *testing.T) {
	w := newWorld(t, started, started)
	_, err := w.Probe(t.Context())
	require.NoError(t, err)
	first := w.state()[0].ID
	w.ChangeMachine(testApp, first, flyemulator.MachineChange{Boot: flyemulator.BootUnhealthy})
	w.later(10 * time.Minute)
	p := w.run(w.set(1))
	require.Contains(t, p.Halted, first)
	require.Zero(t, w.state()[1].Updates)
}

func TestAConfigIsPassedThrough(t *testing.T) {
	config := `{"zeta":{"unknown":1.50,"n":18446744073709551617},"image":"i:1","auto_destroy":false,` +
		`"restart":{"policy":"on-failure","max_retries":0},"guest":{"required_host_features":[],"cpus":1},` +
		`"env":{"A":"<&>\u00e9"},"empty":{},"metadata":{"z":"1","a":"2"},"services":[{"autostop":"a new way","checks":[]}],"rootfs":{"persist":"sometimes","size_gb":0}}`
	w := newWorld(t, flyemulator.NewMachine{Config: json.RawMessage(config)})
	r := w.set(1)
	require.True(t, w.run(r).Done())
	want, err := withMark([]byte(config), mark{revision: 1, secretsVersion: r.SecretVersion, machine: w.state()[0].ID}.String())
	require.NoError(t, err)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, want))
	require.Equal(t, compact.String(), string(w.state()[0].Config))
}

func TestALostAnswerToAnUpdateRebootsOnce(t *testing.T) {
	for _, mode := range []string{
		flyemulator.FaultDrop, flyemulator.FaultResetAfter, flyemulator.FaultResetBefore, flyemulator.FaultStatus,
	} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, started)
			r := w.set(1)
			w.fault(flyemulator.Fault{Route: updateRoute, Mode: mode, Status: 504})
			_, err := w.Advance(t.Context(), r)
			if err != nil {
				requireFailure(t, err, failure.Retry, reasons.ConnectionFailed)
			}
			require.True(t, w.run(r).Done())
			require.Equal(t, 1, w.state()[0].Updates)
			require.Equal(t, "value 1", w.state()[0].Env["DATABASE_URL"])
		})
	}
}

func TestAListThatContradictsTheCountIsNotBelieved(t *testing.T) {
	w := newWorld(t, started, started)
	r := w.set(1)
	w.fault(flyemulator.Fault{Route: listRoute, Status: 200, Body: `[]`, Count: 2})
	p, err := w.Advance(t.Context(), r)
	require.NoError(t, err)
	require.False(t, p.Done())
	require.Contains(t, p.Waiting, "counts 2 Machines")
	_, err = w.Probe(t.Context())
	requireFailure(t, err, failure.Wait, reasons.Unexpected)
	require.True(t, w.run(r).Done())
}

func TestAnUnreachableHostIsWaitedForAndTheOthersMove(t *testing.T) {
	w := newWorld(t, started, started)
	first := w.state()[0].ID
	w.ChangeMachine(testApp, first, flyemulator.MachineChange{HostStatus: "unreachable"})
	_, err := w.Probe(t.Context())
	requireFailure(t, err, failure.Wait, reasons.HostUnreachable)
	r := w.set(1)
	for range 3 {
		p, err := w.Advance(t.Context(), r)
		require.NoError(t, err)
		require.False(t, p.Done())
		w.later(smokeTime)
	}
	p, err := w.Advance(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, 1, p.Updated)
	require.Contains(t, p.Waiting, first)
	require.Zero(t, w.machine(first).Updates)
	w.ChangeMachine(testApp, first, flyemulator.MachineChange{HostStatus: "ok"})
	require.True(t, w.run(r).Done())
}

func TestProbeCountsWithoutTouching(t *testing.T) {
	w := newWorld(t, started, stopped, flyemulator.NewMachine{Config: json.RawMessage(`{"env":{"DATABASE_URL":"x"}}`)})
	p, err := w.Probe(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, p.Total)
	require.Equal(t, 1, p.OnNextStart)
	require.Len(t, p.Warnings, 1)
	for _, request := range w.Requests() {
		require.False(t, request.Write, request.Path)
	}
}

func TestAMachineThatIsDestroyedMeanwhileIsNoTrouble(t *testing.T) {
	w := newWorld(t, started, started)
	r := w.set(1)
	w.fault(flyemulator.Fault{Route: updateRoute, Status: 404, Body: `{"error":"machine not found"}`})
	p, err := w.Advance(t.Context(), r)
	require.NoError(t, err)
	require.Contains(t, p.Waiting, "gone")
	w.DestroyMachine(testApp, w.state()[0].ID)
	require.Equal(t, Progress{Total: 1, Updated: 1}, w.run(r))
}

func TestAMachineThatAFailedUpdateLeftStoppedIsNotPassedOver(t *testing.T) {
	w := newWorld(t, started)
	id := w.state()[0].ID
	r := w.set(1)
	w.fault(flyemulator.Fault{Route: updateRoute, Status: 503})
	_, err := w.Advance(t.Context(), r)
	requireFailure(t, err, failure.Retry, reasons.ConnectionFailed)
	require.NoError(t, w.call(t.Context(), machineRequest(testApp, id, "stop machine", http.MethodPost, "/stop"), nil))
	w.awaitStopped(id)
	p, err := w.Advance(t.Context(), r)
	require.NoError(t, err)
	require.False(t, p.Done())
	w.later(settleTime)
	require.Contains(t, w.run(r).Halted, id)
	w.start(id)
	w.later(smokeTime)
	require.True(t, w.run(r).Done())
}

func TestNoErrorHoldsTheTokenOrTheValue(t *testing.T) {
	leak := `{"error":"` + testToken + " " + testValue + `"}`
	for _, f := range []flyemulator.Fault{
		{Status: 400, Body: leak}, {Status: 401, Body: leak}, {Status: 403, Body: leak}, {Status: 422, Body: leak}, {Status: 200, Body: leak},
		{Mode: flyemulator.FaultResetBefore}, {Status: 500, Body: "<html>" + leak},
	} {
		w := newWorld(t, started)
		r := w.set(1)
		f.Route, f.Count = "*", -1
		w.fault(f)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := w.SetSecret(ctx, testApp, "DATABASE_URL", credential.SecretOf(testValue))
		cancel()
		errs := []error{err}
		_, err = w.App(t.Context(), testApp)
		errs = append(errs, err)
		_, err = w.SecretDigest(t.Context(), testApp, "DATABASE_URL")
		errs = append(errs, err)
		_, err = w.Probe(t.Context())
		errs = append(errs, err)
		_, err = w.Advance(t.Context(), r)
		errs = append(errs, err)
		for _, err := range errs {
			if err != nil {
				requireFailure(t, err, failure.ClassOf(err), failure.ReasonOf(err))
			}
		}
	}
}
