package rotation

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAssess(t *testing.T) {
	facts := func(change ...func(*Facts)) Facts {
		f := Facts{Asked: 1, Completed: 1, DeliveryDigest: "d", ToFly: true, Last: &Last{Revision: 4, Completed: true, Generation: 1, DeliveryDigest: "d"}}
		for _, c := range change {
			c(&f)
		}
		return f
	}
	raised := func(f *Facts) { f.Asked = 2 }
	open := func(f *Facts) { f.Open = true }
	committed := func(f *Facts) { f.Last.Completed = false }
	moved := func(f *Facts) { f.Last.Completed, f.Last.Moved = false, true }
	tests := map[string]struct {
		facts Facts
		want  State
	}{
		"at rest":             {facts(), State{Phase: Resting}},
		"due":                 {facts(raised), State{Phase: Attempting, Cause: GenerationRaised}},
		"suspended":           {facts(raised, func(f *Facts) { f.Suspended = true }), State{Phase: Waiting, Cause: GenerationRaised, Wait: ForResume}},
		"no slot":             {facts(raised, func(f *Facts) { f.Wait = ForSlot }), State{Phase: Waiting, Cause: GenerationRaised, Wait: ForSlot}},
		"too early":           {facts(open, func(f *Facts) { f.TooEarly = true }), State{Phase: Waiting, Cause: OpenAttempt, Wait: ForRetry}},
		"too early for a new": {facts(raised, func(f *Facts) { f.TooEarly = true }), State{Phase: Attempting, Cause: GenerationRaised}},
		"open, and nothing is left to receive the password": {facts(open, func(f *Facts) { f.ToFly = false }), State{Phase: Abandoning, Cause: OpenAttempt}},

		"committed":               {facts(committed), State{Phase: RollingOut}},
		"for the user's deploy":   {facts(committed, func(f *Facts) { f.Last.AwaitsDeploy = true }), State{Phase: AwaitingDeploy}},
		"deployed":                {facts(moved, func(f *Facts) { f.Last.AwaitsDeploy = true }), State{Phase: Completing}},
		"moved":                   {facts(moved), State{Phase: Completing}},
		"moved, with two logins":  {facts(moved, func(f *Facts) { f.Last.FormerLogin = true }), State{Phase: Retiring}},
		"rolled":                  {facts(committed, func(f *Facts) { f.Last.Rolled = true }), State{Phase: Retiring}},
		"rolled, closed just now": {facts(committed, func(f *Facts) { f.Last.Rolled, f.Last.Retired = true, true }), State{Phase: Completing}},
		"sessions are left":       {facts(moved, func(f *Facts) { f.Last.SessionsLeft = true }), State{Phase: EndingSessions}},
		"sessions are left, and Machines are moved": {facts(committed, func(f *Facts) { f.Last.SessionsLeft = true }), State{Phase: RollingOut}},
		"halted, and raised":                        {facts(committed, raised, func(f *Facts) { f.Last.Halted = true }), State{Phase: Attempting, Cause: GenerationRaised}},

		"drifted":           {facts(func(f *Facts) { f.Drifts = map[Drift]bool{DriftedHash: true, DriftedPassword: true} }), State{Phase: Resting, Drift: DriftedPassword}},
		"drifted, and due":  {facts(raised, func(f *Facts) { f.Drifts = map[Drift]bool{DriftedHash: true} }), State{Phase: Attempting, Cause: GenerationRaised}},
		"unbound, and open": {facts(open, func(f *Facts) { f.Unbound, f.Suspended = true, true }), State{Phase: Attempting, Cause: OpenAttempt}},
		"unbound, and due":  {facts(raised, func(f *Facts) { f.Unbound, f.Suspended = true, true }), State{Phase: Resting}},
		"unbound, open for the Secret alone": {facts(open, func(f *Facts) { f.Unbound, f.Suspended, f.ToFly = true, true, false }),
			State{Phase: Abandoning, Cause: OpenAttempt}},
		"unbound, and superseded": {facts(committed, func(f *Facts) { f.Unbound, f.Suspended, f.Last.Superseded = true, true, true }), State{Phase: Resting}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, Assess(test.facts)) })
	}
}

// A phase of a committed rotation says so.
func TestCommitted(t *testing.T) {
	for phase, committed := range map[Phase]bool{"": false, Resting: false, Waiting: false, Attempting: false, Abandoning: false,
		RollingOut: true, AwaitingDeploy: true, Retiring: true, EndingSessions: true, Completing: true} {
		require.Equal(t, committed, phase.Committed(), phase)
	}
}
