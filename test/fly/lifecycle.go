package flyemulator

import (
	"net/http"
	"time"
)

// passingStates are those that a Machine leaves on its own.
var passingStates = map[string]bool{
	stateCreated: true, stateStarting: true, stateStopping: true, stateSuspending: true, stateRestarting: true, stateReplacing: true,
}

// transit ends what runs on the Machine and takes it through a passing state to another. The caller holds mu.
func (e *Emulator) transit(a *app, m *machine, kind, through, to string) {
	m.epoch++
	m.restarts = 0
	e.endProcess(m)
	e.enter(m, through, kind, "user")
	epoch := m.epoch
	e.goWork(func() { e.arrive(a, m, epoch, to) })
}

// arrive waits for the passing state to pass and the previous process to be gone, and enters the new state.
func (e *Emulator) arrive(a *app, m *machine, epoch int, to string) {
	if !e.pass(m) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.epoch != epoch {
		return
	}
	e.enter(m, to, eventOf[to], "flyd")
	if to == stateStarted {
		e.launch(a, m)
	}
}

// eventOf names the event that comes with arriving in a state.
var eventOf = map[string]string{stateStarted: "start", stateStopped: "exit", stateSuspended: "suspend"}

// pass lets the time of a passing state go by. False: the emulator is closing.
func (e *Emulator) pass(m *machine) bool {
	e.mu.Lock()
	delay, ended := time.Duration(e.switches.TransitionMS)*time.Millisecond, m.ended
	e.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-e.ctx.Done():
		return false
	}
	if ended != nil {
		<-ended
	}
	for {
		e.mu.Lock()
		held, changed := e.switches.HoldTransitions, e.changed
		e.mu.Unlock()
		if !held {
			return e.ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-e.ctx.Done():
			return false
		}
	}
}

// crashed is what follows the exit of a started Machine's app: a restart, or the end of restarts.
func (e *Emulator) crashed(a *app, m *machine, epoch, exitCode int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.epoch != epoch || m.state != stateStarted {
		return
	}
	m.restarts++
	restarting := m.mayRestart(exitCode)
	e.note(m, "exit", stateStopped, "flyd", map[string]any{
		"restart_count": m.restarts,
		"exit_event": map[string]any{
			"exit_code": exitCode, "guest_exit_code": exitCode, "requested_stop": false, "restarting": restarting,
			"exited_at": e.now().UTC().Format(time.RFC3339Nano),
		},
	})
	e.endProcess(m)
	if !restarting {
		e.enter(m, stateStopped, "exit", "flyd")
		return
	}
	e.enter(m, stateStarting, "start", "flyd")
	e.goWork(func() { e.arrive(a, m, epoch, stateStarted) })
}

func (m *machine) mayRestart(exitCode int) bool {
	limit := 3
	if m.parsed.Restart.MaxRetries != nil {
		limit = *m.parsed.Restart.MaxRetries
	}
	switch m.parsed.Restart.Policy {
	case "no":
		return false
	case "always":
		return true
	default:
		return exitCode != 0 && m.restarts <= limit
	}
}

func (e *Emulator) startMachine(c *call) (answer, error) {
	m, before := c.machine, c.machine.state
	switch before {
	case stateStarted:
	case stateStopped, stateSuspended:
		if before == stateStopped && e.switches.StopStartRefreshesEnv {
			e.snapshot(c.app, m, c.app.vault.version, false)
		}
		e.transit(c.app, m, "start", stateStarting, stateStarted)
	default:
		return answer{}, fail(http.StatusPreconditionFailed, "failed_precondition: unable to start machine from current state: '%s'", before)
	}
	return ok(map[string]any{"previous_state": before})
}

func (e *Emulator) stopMachine(c *call) (answer, error) {
	return e.leaveStarted(c, "stop", stateStopping, stateStopped)
}

func (e *Emulator) suspendMachine(c *call) (answer, error) {
	return e.leaveStarted(c, "suspend", stateSuspending, stateSuspended)
}

// restartMachine boots again with the environment that the Machine has.
func (e *Emulator) restartMachine(c *call) (answer, error) {
	return e.leaveStarted(c, "restart", stateRestarting, stateStarted)
}

func (e *Emulator) leaveStarted(c *call, kind, through, to string) (answer, error) {
	switch c.machine.state {
	case to:
		if to != stateStarted {
			return ok(done)
		}
	case stateStarted:
	default:
		return answer{}, fail(http.StatusPreconditionFailed, "failed_precondition: unable to %s machine from current state: '%s'", kind, c.machine.state)
	}
	e.transit(c.app, c.machine, kind, through, to)
	return ok(done)
}

func (e *Emulator) deleteMachine(c *call) (answer, error) {
	query := c.URL.Query()
	force := query.Get("force") == "true" || query.Get("kill") == "true"
	if m := c.machine; !force && m.state != stateStopped && m.state != stateSuspended {
		return answer{}, fail(http.StatusPreconditionFailed, "failed_precondition: unable to destroy machine, not currently stopped")
	}
	e.destroy(c.machine)
	return ok(done)
}

// destroy ends the Machine for good. The caller holds mu.
func (e *Emulator) destroy(m *machine) {
	m.epoch++
	m.lease = nil
	e.endProcess(m)
	e.enter(m, stateDestroyed, "destroy", "user")
}

func (e *Emulator) cordon(c *call) (answer, error) {
	c.machine.cordoned = true
	return ok(done)
}

func (e *Emulator) uncordon(c *call) (answer, error) {
	c.machine.cordoned = false
	return ok(done)
}
