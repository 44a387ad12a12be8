package faultmatrix

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// aside is what has no place in the matrix.
type aside struct {
	name string
	run  func(*testing.T, *lane)
}

var incidents = append([]aside{
	{"leader frozen in its transaction for longer than its lease, and continued", frozenLeader},
	{"deposed leader's Fly write lands during the next rollout", func(t *testing.T, l *lane) { lateWrite(t, l, duringRollOut) }},
	{"deposed leader's Fly write lands after completion", func(t *testing.T, l *lane) { lateWrite(t, l, afterCompletion) }},
	{"deposed leader's status lands after completion", lateStatus},
}, betweenCommits()...)

// leaseTime is for how long a leader that is silent is still believed to lead, and then some.
const leaseTime = 40 * time.Second

// frozenLeader stops the leader, as a hypervisor may, while it waits for Fly with the row locked. Its lease runs out, the other one
// leads and meets the lock; then the first one goes on where it was, and so does its call.
func frozenLeader(t *testing.T, l *lane) {
	tr := l.begin(t, false)
	l.standby.start(t)
	frozen := l.holder(t)
	i := newIncident(l, step{locked: true}, fault{}, tr.tenant)
	var struck atomic.Bool
	trouble := make(chan error, 1)
	tr.raise(t, func(call faultproxy.Call, _ []faultproxy.Call) faultproxy.Fault {
		if call.Name != "set secret" || !i.mine(call) || !struck.CompareAndSwap(false, true) {
			return nil
		}
		return func(p faultproxy.Passage) {
			err := l.leader.process.Signal(syscall.SIGSTOP)
			err = errors.Join(err, l.awaitOther(frozen, leaseTime))
			i.awaitSuccessor()
			err = errors.Join(err, l.leader.process.Signal(syscall.SIGCONT), p.Forward())
			p.Answer()
			trouble <- err
		}
	})
	select {
	case err := <-trouble:
		require.NoError(t, err)
	case <-time.After(patience):
		require.Fail(t, "the Fly write never came")
	}
	l.succeed(t)
	l.awaitReady(t, tr.tenant, false)
	tr.finish(t, 1)
}

// moment is when a late write lands, seen from the rotation of the new leader.
type moment int

const (
	duringRollOut moment = iota
	afterCompletion
)

// lateWrite cuts the leader off while its Fly write is on its way, where it stays. The leader gives up, and its transaction is rolled
// back; the new one rotates with a new password; and then the old value arrives at Fly. During the rollout that is seen, and healed by
// another rotation. After it no write to Fly was due any more: it is drift, which is reported, and healed on request.
func lateWrite(t *testing.T, l *lane, when moment) {
	tr := l.begin(t, false)
	l.standby.start(t)
	i := newIncident(l, step{}, fault{}, tr.tenant)
	var struck, given atomic.Bool
	land, landed := make(chan struct{}), make(chan error, 1)
	trouble := make(chan error, 1)
	tr.raise(t, func(call faultproxy.Call, former []faultproxy.Call) faultproxy.Fault {
		switch {
		case !i.mine(call):
		case call.Name == "stage" && struck.Load(): // the new leader's: the previous one has given its lock back
			given.Store(true)
		case call.Name == "set secret" && struck.CompareAndSwap(false, true):
			return func(p faultproxy.Passage) {
				trouble <- i.handOver()
				<-land
				landed <- p.Forward()
			}
		case call.Name == "set secret" && !given.Load():
			return func(p faultproxy.Passage) { <-p.GivenUp() }
		case call.Name == "update machine" && when == duringRollOut && given.Load() && first("update machine")(call, former):
			return func(p faultproxy.Passage) {
				close(land)
				if p.Forward() == nil {
					p.Answer()
				}
			}
		}
		return nil
	})
	require.NoError(t, <-trouble)
	l.succeed(t)
	if when == duringRollOut {
		l.awaitReady(t, tr.tenant, false)
		require.NoError(t, <-landed)
		require.Equal(t, 1, tr.tenant.Rows()["superseded"], "a rotation was replaced")
		tr.finish(t, 1)
		return
	}
	l.awaitReady(t, tr.tenant, false)
	valid := tr.tenant.URL()
	require.Empty(t, tr.witness.end(), "seen meanwhile")
	close(land)
	require.NoError(t, <-landed)
	l.requireDrift(t, tr.tenant, valid)
	tr.next++
	tr.raise(t, nil)
	l.awaitReady(t, tr.tenant, false)
	tr.finish(t, 2)
}

// requireDrift asserts that a value that was never valid stands at Fly, that no Machine has it, and that the object says so.
func (l *lane) requireDrift(t *testing.T, x platform.Tenant, valid string) {
	t.Helper()
	platform.RequireRefused(t, x.URL())
	platform.RequireAccepted(t, valid)
	for _, machine := range x.Look().Machines {
		require.Equal(t, valid, machine.Env["DATABASE_URL"])
	}
	l.leader.kill() // a new manager looks at once
	l.deleteLease(t)
	l.leader.start(t)
	within(t, patience, "the drift is reported", func() bool {
		object := l.get(t, x)
		return !ready(object) && contains(message(object), "FlySecretSynced=False DriftDetected", "raise spec.rotationGeneration to")
	})
}

// lateStatus keeps the deposed leader's report of the rollout on its way until the new one has reported that all is done. It must not
// stand then.
func lateStatus(t *testing.T, l *lane) {
	tr := l.begin(t, false)
	l.standby.start(t)
	i := newIncident(l, step{}, fault{}, tr.tenant)
	var struck atomic.Bool
	land, landed, trouble := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	tr.raise(t, func(call faultproxy.Call, former []faultproxy.Call) faultproxy.Fault {
		if !i.mine(call) || !first("patch status", "COMMIT")(call, former) || !struck.CompareAndSwap(false, true) {
			return nil
		}
		return func(p faultproxy.Passage) {
			trouble <- i.handOver()
			<-land
			landed <- p.Forward()
		}
	})
	require.NoError(t, <-trouble)
	l.awaitReady(t, tr.tenant, false)
	close(land)
	require.NoError(t, <-landed)
	l.succeed(t)
	require.True(t, ready(l.get(t, tr.tenant)), message(l.get(t, tr.tenant)))
	tr.finish(t, 1)
}
