package fly

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// move is a step of a rollout: one Machine, and what is to be written on it.
type move struct {
	machine machine
	// launch: it runs, so it comes up with the value; otherwise it stays down until a user or Fly's proxy starts it.
	launch bool
	mark   mark
}

// plan says how far the rollout has come, and which Machines move next; none = nothing can be moved now. It has no side effects.
//
// A Machine that is unwell with the new value, and was not before, halts everything. One that cannot be moved now does not hold the
// others back: each of them that still has the old password can open no new connection.
func plan(machines []machine, r Rollout, now time.Time) (Progress, []move) {
	var p Progress
	var left []machine
	scope := inScope(machines)
	pools := newPools(scope)
	for _, m := range scope {
		p.Total++
		p.warn(m.settings.hides.shadows(m.ID, r.Variable)...)
		if m.reached(r) {
			pools.note(m, p.count(m, now))
		} else {
			left = append(left, m)
		}
	}
	if p.Halted != "" {
		return p, nil
	}
	var next []move
	for _, m := range left {
		if why := blocked(m, now); why != nil {
			p.waitFor(why)
		} else if pools.admit(m) {
			next = append(next, newMove(m, r))
		}
	}
	if len(next) > 0 {
		p.waitInstead(next[0].machine.title() + " is the next to be updated")
	}
	return p, next
}

// count adds a Machine that has the revision, and says how it does with it.
func (p *Progress) count(m machine, now time.Time) arrival {
	found := m.settings.mark
	if found.onNextStart && m.resting() {
		p.OnNextStart++
		return arrivedUnproven
	}
	if m.unreachable() {
		p.waitFor(hostUnreachable(m))
		return coming
	}
	state, why := judge(m, now)
	switch {
	case state == well:
		p.Updated++
		return arrivedWell
	case state == pending:
		p.wait(m.title() + " has been updated and is coming up: " + why)
		return coming
	case found.unhealthyBefore:
		p.Updated++
		p.warn(m.title() + " was unhealthy before the update and still is: " + why)
	default:
		p.Failed++
		if p.Halted == "" {
			p.Halted = m.title() + " is unhealthy since the update: " + why
		}
	}
	return arrivedUnproven
}

// maxWarnings bounds how many warnings are kept.
const maxWarnings = 5

// warn keeps the first warnings, and says of the others how many they are.
func (p *Progress) warn(texts ...string) {
	for _, text := range texts {
		if len(p.Warnings) < maxWarnings {
			p.Warnings = append(p.Warnings, text)
			continue
		}
		p.more++
		p.Warnings = append(p.Warnings[:maxWarnings], fmt.Sprintf("and %d more of the kind", p.more))
	}
}

// wait keeps the first of several things that are waited for.
func (p *Progress) wait(why string) {
	if p.Waiting == "" {
		p.Waiting = why
	}
}

// waitFor is wait for what keeps a Machine from being moved.
func (p *Progress) waitFor(why *failure.Error) {
	if p.Waiting == "" && (why.Reason == reasons.LeaseHeld || why.Reason == reasons.HostUnreachable) {
		p.Reason = why.Reason
	}
	p.wait(why.Detail)
}

// waitInstead forgets what was noted before.
func (p *Progress) waitInstead(why string) { p.Waiting, p.Reason = why, "" }

// newMove decides from the state before the first attempt how the Machine is to come out.
func newMove(m machine, r Rollout) move {
	launch := m.running() || m.wasRunning
	return move{machine: m, launch: launch, mark: mark{
		machine:         m.ID,
		revision:        r.Revision,
		secretsVersion:  r.SecretVersion,
		onNextStart:     !launch,
		unhealthyBefore: m.running() && m.wasUnwell,
	}}
}

// inScope are the Machines that belong to a rollout, in the order in which they move: those that run first, as only they prove that the
// value is good.
func inScope(machines []machine) []machine {
	scope := slices.DeleteFunc(slices.Clone(machines), func(m machine) bool {
		return m.State == "destroyed" || m.State == "destroying" || temporary[m.settings.group]
	})
	slices.SortFunc(scope, func(a, b machine) int {
		return cmp.Or(cmp.Compare(a.turn(), b.turn()), cmp.Compare(a.settings.group, b.settings.group), cmp.Compare(a.ID, b.ID))
	})
	return scope
}

// temporary are the process groups of Machines that flyctl makes for one command and throws away.
var temporary = map[string]bool{
	"fly_app_release_command":      true,
	"release_command":              true,
	"fly_app_console":              true,
	"fly_app_test_machine_command": true,
}

// blocked says why a Machine cannot be updated now; nil = it can.
func blocked(m machine, now time.Time) *failure.Error {
	switch {
	case m.unreachable():
		return hostUnreachable(m)
	case m.Lease.held(now):
		return failure.New(failure.Wait, reasons.LeaseHeld, "another client holds the lease of "+m.title())
	case !m.running() && !m.resting():
		return failure.New(failure.Wait, reasons.Busy, m.title()+" is "+m.State)
	case m.State == "stopped" && m.justCrashed(now):
		return failure.New(failure.Wait, reasons.Busy, m.title()+" has just exited; whether Fly starts it again is not known yet")
	}
	return nil
}

func (m machine) justCrashed(now time.Time) bool {
	at, _, crashed := m.lastCrash(time.Time{})
	return crashed && now.Sub(at) < crashMemory
}

// unreachable: an update sends the whole config, and without its host Fly does not have it whole.
func (m machine) unreachable() bool {
	return !m.configured || (m.HostStatus != "" && m.HostStatus != "ok")
}

func hostUnreachable(m machine) *failure.Error {
	return failure.New(failure.Wait, reasons.HostUnreachable, "the host of "+m.title()+" cannot be reached")
}

// running: the Machine is up, or on its way up.
func (m machine) running() bool { return m.State == "started" || m.State == "starting" }

// resting: it is down, and stays so until a user or Fly's proxy starts it.
func (m machine) resting() bool {
	switch m.State {
	case "stopped", "suspended", "created", "failed":
		return true
	}
	return false
}

// serves: it runs, or did until this rollout touched it.
func (m machine) serves() bool { return !m.resting() || m.wasRunning }

// turn is 0 for Machines that move first, 1 for those that follow.
func (m machine) turn() int {
	if m.serves() {
		return 0
	}
	return 1
}

// title names a Machine in a sentence.
func (m machine) title() string {
	if group := m.settings.group; group != "" {
		return fmt.Sprintf("Machine %s (%s)", m.ID, shown(group))
	}
	return "Machine " + m.ID
}
