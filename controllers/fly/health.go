package fly

import (
	"fmt"
	"time"
)

// passing is the status of a check that passes.
const passing = "passing"

// health is what can be said of a Machine that should run.
type health int

const (
	well health = iota
	pending
	unwell
)

const (
	// smokeTime is how long a Machine has to run before it counts as well, whatever its checks say: a process may answer its
	// checks and exit a moment later because it cannot log in. flyctl takes the same.
	smokeTime = 10 * time.Second
	// crashMemory is how long a crash counts against a Machine that has started again.
	crashMemory = time.Minute
	// checkTime is what a check has, beyond its own grace period, to pass for the first time.
	checkTime = time.Minute
	// settleTime is how long a Machine may be on its way to a state; Fly calls longer ones stuck.
	settleTime = 5 * time.Minute
)

// judge says how a Machine that should run is, and why it is not well.
func judge(m machine, now time.Time) (health, string) {
	launched := m.lastLaunch()
	started := m.lastStart(launched)
	if at, code, crashed := m.lastCrash(launched); crashed && (m.State != "started" || now.Sub(at) < crashMemory) {
		return unwell, fmt.Sprintf("its process exited with code %d", code)
	}
	switch m.State {
	case "started":
		if started.IsZero() { // the list of events has lost it
			started = m.changedAt()
		}
		return judgeRunning(m, now.Sub(started))
	case "failed":
		return unwell, "it is in state failed"
	case "stopped", "suspended":
		if !started.IsZero() { // it came up, and was stopped since: by Fly's proxy, or by a user
			return well, ""
		}
	}
	since := later(launched, m.changedAt())
	if since.IsZero() || now.Sub(since) < settleTime {
		return pending, "it is " + m.State
	}
	return unwell, "it has not started and is " + m.State
}

// judgeRunning looks at the checks and at the time it has run.
func judgeRunning(m machine, running time.Duration) (health, string) {
	grace, expected := m.settings.grace, m.settings.checked
	bad := ""
	for _, c := range m.Checks {
		if c.Status != passing {
			bad = fmt.Sprintf("check %s is %s", c.Name, c.Status)
			break
		}
	}
	switch {
	case expected && len(m.Checks) == 0:
		bad = "its checks have no result"
	case bad == "" && running < smokeTime:
		return pending, "it has only just started"
	}
	switch {
	case bad == "":
		return well, ""
	case running < checkTime+grace:
		return pending, bad
	}
	return unwell, bad
}

// lastLaunch is the time at which the present config came to the Machine; events before it are of another one. Events come in
// no promised order.
func (m machine) lastLaunch() time.Time {
	var last time.Time
	for _, e := range m.Events {
		if e.kind() == launch {
			last = later(last, e.at())
		}
	}
	return last
}

// lastStart is the time at which the Machine was last up, not before since; zero = never.
func (m machine) lastStart(since time.Time) time.Time {
	var last time.Time
	for _, e := range m.Events {
		if e.kind() == start && !e.at().Before(since) {
			last = later(last, e.at())
		}
	}
	return last
}

// lastCrash looks at the last exit of the main process, not before since. An exit that no client asked for is a crash when it
// failed, and also when Fly starts the Machine again: a program may well exit with 0 because it cannot log in.
func (m machine) lastCrash(since time.Time) (at time.Time, code int, crashed bool) {
	for _, e := range m.Events {
		x := e.exit()
		if x == nil || e.at().Before(since) || e.at().Before(at) {
			continue
		}
		at, code = e.at(), x.ExitCode
		crashed = !x.RequestedStop && (x.ExitCode != 0 || x.OOMKilled || !m.resting())
	}
	return at, code, crashed
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
