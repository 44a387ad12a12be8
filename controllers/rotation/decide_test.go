package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestOverlaps(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		want  bool
	}{
		"one login":                            {Facts{}, false},
		"two logins":                           {Facts{Overlap: true}, true},
		"back to one":                          {Facts{SecondActive: true}, true},
		"two, after a completed one":           {Facts{Overlap: true, Last: &Last{Completed: true}}, true},
		"two, the previous one being closed":   {Facts{Overlap: true, Last: &Last{Rolled: true}}, true},
		"two, while Machines are moved":        {Facts{Overlap: true, SecondActive: true, Last: &Last{}}, false},
		"issued, and the strategy has changed": {Facts{Open: true, Issued: true}, true},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, test.facts.Overlaps()) })
	}
}

func TestDecide(t *testing.T) {
	done := func(change ...func(*Last)) *Last {
		last := &Last{Revision: 4, Completed: true, Generation: 1, DeliveryDigest: "d"}
		for _, c := range change {
			c(last)
		}
		return last
	}
	rolling := func(last *Last) { last.Completed = false }
	tests := []struct {
		name  string
		facts Facts
		want  decision
	}{
		{"adopted, nothing asked", Facts{DeliveryDigest: "d"}, decision{step: nothing}},
		{"adopted, first generation", Facts{Asked: 1, DeliveryDigest: "d"}, decision{start, GenerationRaised}},
		{"done", Facts{Asked: 1, Completed: 1, DeliveryDigest: "d", Last: done()}, decision{step: nothing}},
		{"lowered by a revert", Facts{Asked: 0, Completed: 1, DeliveryDigest: "d", Last: done()}, decision{step: nothing}},
		{"raised", Facts{Asked: 2, Completed: 1, DeliveryDigest: "d", Last: done()}, decision{start, GenerationRaised}},
		{"raised by many is one rotation", Facts{Asked: 9, Completed: 1, DeliveryDigest: "d", Last: done()}, decision{start, GenerationRaised}},
		{"other variable", Facts{Asked: 1, Completed: 1, DeliveryDigest: "e", Last: done()}, decision{start, DeliveryChanged}},
		{"other variable of an adopted password: nothing of ours is there", Facts{DeliveryDigest: "e"}, decision{step: nothing}},
		{"lost by a failover", Facts{Asked: 1, Completed: 1, Regressed: true, DeliveryDigest: "d", Last: done()}, decision{start, LedgerRegressed}},
		{"lost with the generation that was done", Facts{Asked: 2, Completed: 1, Regressed: true, DeliveryDigest: "d"}, decision{start, LedgerRegressed}},
		{"lost while an older one rolls again", Facts{Asked: 1, Regressed: true, Suspended: true, Last: done(rolling)}, decision{start, LedgerRegressed}},
		{"lost and suspended", Facts{Asked: 1, Completed: 1, Regressed: true, Suspended: true, DeliveryDigest: "d", Last: done()}, decision{hold, LedgerRegressed}},
		{"an attempt lost by a failover, deleted", Facts{Asked: 1, Completed: 1, Lost: true, Deleted: true, DeliveryDigest: "d", Last: done()}, decision{start, LedgerRegressed}},
		{"an attempt lost by a failover, suspended", Facts{Asked: 1, Completed: 1, Lost: true, Suspended: true, DeliveryDigest: "d", Last: done()}, decision{hold, LedgerRegressed}},
		{"suspended and due", Facts{Asked: 2, Completed: 1, Suspended: true, DeliveryDigest: "d", Last: done()}, decision{hold, GenerationRaised}},
		{"suspended and not due", Facts{Asked: 1, Completed: 1, Suspended: true, DeliveryDigest: "d", Last: done()}, decision{step: nothing}},
		{"deleted and due", Facts{Asked: 2, Completed: 1, Deleted: true, DeliveryDigest: "d", Last: done()}, decision{step: nothing}},
		{"open", Facts{Asked: 1, Open: true, DeliveryDigest: "d"}, decision{start, OpenAttempt}},
		{"open, suspended and deleted", Facts{Open: true, Suspended: true, Deleted: true}, decision{start, OpenAttempt}},
		{"open while an older one rolls", Facts{Open: true, Last: done(rolling)}, decision{start, OpenAttempt}},
		{"rolling out", Facts{Asked: 1, Last: done(rolling), DeliveryDigest: "d"}, decision{step: finish}},
		{"rolling out, suspended", Facts{Asked: 1, Suspended: true, Last: done(rolling)}, decision{step: finish}},
		{"rolling out, raised meanwhile, waits", Facts{Asked: 2, Last: done(rolling)}, decision{step: finish}},
		{"rolling out, other variable meanwhile, waits", Facts{Asked: 1, Last: done(rolling), DeliveryDigest: "e"}, decision{step: finish}},
		{"halted, raised", Facts{DeliveryDigest: "d", Asked: 2, Last: done(rolling, func(l *Last) { l.Halted = true })}, decision{start, GenerationRaised}},
		{"halted, not raised", Facts{DeliveryDigest: "d", Asked: 1, Last: done(rolling, func(l *Last) { l.Halted = true })}, decision{step: finish}},
		{"halted, and for another place", Facts{Asked: 1, DeliveryDigest: "d2", Last: done(rolling, func(l *Last) { l.Halted = true })}, decision{start, DeliveryChanged}},
		{"rolling, and for another place", Facts{Asked: 1, DeliveryDigest: "d2", Last: done(rolling)}, decision{step: finish}},
		{"halted, and for another place, suspended", Facts{Asked: 1, DeliveryDigest: "d2", Suspended: true, Last: done(rolling, func(l *Last) { l.Halted = true })}, decision{step: finish}},
		{"halted, raised, suspended", Facts{DeliveryDigest: "d", Asked: 2, Suspended: true, Last: done(rolling, func(l *Last) { l.Halted = true })}, decision{step: finish}},
		{"requested, never rotated", Facts{DeliveryDigest: "d", Request: &Request{}}, decision{start, Requested}},
		{"requested", Facts{Asked: 1, Completed: 1, DeliveryDigest: "d", Last: done(), Request: &Request{Replaces: 4}}, decision{start, Requested}},
		{"requested, and done", Facts{Asked: 1, Completed: 1, DeliveryDigest: "d", Last: done(), Request: &Request{Replaces: 3}}, decision{step: nothing}},
		{"requested, suspended", Facts{Asked: 1, Completed: 1, Suspended: true, DeliveryDigest: "d", Last: done(), Request: &Request{Replaces: 4}}, decision{hold, Requested}},
		{"requested during a rollout, waits", Facts{Asked: 1, Last: done(rolling), Request: &Request{Replaces: 4}}, decision{step: finish}},
		{"requested, halted", Facts{DeliveryDigest: "d", Asked: 1, Last: done(rolling, func(l *Last) { l.Halted = true }), Request: &Request{Replaces: 4}}, decision{start, Requested}},
		{"compromised during a rollout, does not wait", Facts{Asked: 1, Last: done(rolling), Request: &Request{Replaces: 4, Compromised: true}}, decision{start, Requested}},
		{"compromised during a rollout, suspended", Facts{Asked: 1, Suspended: true, Last: done(rolling), Request: &Request{Replaces: 4, Compromised: true}}, decision{step: finish}},
		{"compromised, and the rotation since has left the sessions", Facts{Asked: 1, Completed: 1, DeliveryDigest: "d", Last: done(), Request: &Request{Replaces: 3, Compromised: true}}, decision{start, Requested}},
		{"compromised, and done before the last rotation", Facts{Asked: 1, Completed: 1, Compromised: 3, DeliveryDigest: "d", Last: done(), Request: &Request{Replaces: 2, Compromised: true}}, decision{step: nothing}},
		{"compromised, during the rollout that answers it", Facts{Asked: 1, Compromised: 4, Last: done(rolling), Request: &Request{Replaces: 3, Compromised: true}}, decision{step: finish}},
		{"login unproved", Facts{Asked: 1, Suspended: true, Last: done(rolling, func(l *Last) { l.Unproved = true })}, decision{start, LoginUnproved}},
		{"the Secret is gone", Facts{Asked: 1, Completed: 1, DeliveryDigest: "d", Last: done(func(l *Last) { l.Gone = true })}, decision{start, DeliveryChanged}},
		{"the Secret is gone, suspended", Facts{Asked: 1, Completed: 1, Suspended: true, DeliveryDigest: "d", Last: done(func(l *Last) { l.Gone = true })}, decision{hold, DeliveryChanged}},
		{"the Secret is gone while the previous login is closed, waits", Facts{Asked: 1, DeliveryDigest: "d", Last: done(rolling, func(l *Last) { l.Rolled, l.Gone = true, true })}, decision{step: finish}},
		{"the Secret is gone before it was completed, suspended", Facts{Asked: 1, Suspended: true, Last: done(rolling, func(l *Last) { l.Gone = true })}, decision{start, DeliveryChanged}},
		{"superseded at Fly", Facts{Asked: 1, Last: done(rolling, func(l *Last) { l.Superseded = true })}, decision{start, FlySuperseded}},
		{"changed at Fly after completion is drift, not a rotation", Facts{Asked: 1, Completed: 1, DeliveryDigest: "d", Last: done(func(l *Last) { l.Superseded = true })}, decision{step: nothing}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, decide(test.facts)) })
	}
}

// Whatever the facts: what is unfinished is never left alone, and nothing new starts on a suspended or deleted object.
func TestDecideInvariants(t *testing.T) {
	draw := rapid.Custom(func(t *rapid.T) Facts {
		digest, flag, generation := rapid.SampledFrom([]string{"d", "e"}), rapid.Bool(), rapid.Int64Range(0, 3)
		f := Facts{Asked: generation.Draw(t, "asked"), Completed: generation.Draw(t, "completed"), Suspended: flag.Draw(t, "suspended"),
			Deleted: flag.Draw(t, "deleted"), Lost: flag.Draw(t, "lost"), Regressed: flag.Draw(t, "regressed"), DeliveryDigest: digest.Draw(t, "digest"), Open: flag.Draw(t, "open")}
		if flag.Draw(t, "requested") {
			f.Request = &Request{generation.Draw(t, "replaces"), flag.Draw(t, "compromised")}
		}
		if flag.Draw(t, "rotated before") {
			f.Last = &Last{Revision: 1 + generation.Draw(t, "revision"), Completed: flag.Draw(t, "done"), Generation: generation.Draw(t, "last"), DeliveryDigest: digest.Draw(t, "last digest"),
				Rolled: flag.Draw(t, "rolled"), Unproved: flag.Draw(t, "unproved"), Superseded: flag.Draw(t, "superseded"), Halted: flag.Draw(t, "halted"), Gone: flag.Draw(t, "gone")}
		}
		return f
	})
	rapid.Check(t, func(t *rapid.T) {
		f := draw.Draw(t, "facts")
		got := decide(f)
		unfinished := f.Open || f.Last != nil && !f.Last.Completed
		if unfinished && got.step != start && got.step != finish {
			t.Fatalf("an unfinished rotation is left alone: %+v", got)
		}
		if !unfinished && (f.Suspended || f.Deleted && !f.Lost) && got.step == start {
			t.Fatalf("a rotation starts on a suspended or deleted object: %+v", got)
		}
		if (got.step == start || got.step == hold) != (got.cause != "") {
			t.Fatalf("a cause without a rotation, or the other way round: %+v", got)
		}
	})
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	previous := time.Duration(0)
	for attempts := int32(1); attempts < 100; attempts++ {
		wait := Backoff(attempts, LongestRetry, 0)
		require.GreaterOrEqual(t, wait, previous)
		require.LessOrEqual(t, Backoff(attempts, LongestRetry, 0.999), LongestRetry*5/4)
		previous = wait
	}
	require.Equal(t, firstRetry, Backoff(1, LongestRetry, 0))
	require.Equal(t, LongestRetry, previous)
}
