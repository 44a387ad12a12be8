package faultmatrix

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// incident is one fault that happens once, at one step of one rotation.
type incident struct {
	lane   *lane
	step   step
	fault  fault
	tenant platform.Tenant
	site   *site

	over chan struct{} // closed when the fault has happened

	mu      sync.Mutex
	struck  bool
	trouble error
}

func newIncident(l *lane, s step, f fault, x platform.Tenant) *incident {
	return &incident{lane: l, step: s, fault: f, tenant: x, over: make(chan struct{})}
}

// choose is for the proxies: the first call of the step meets the fault. While the lease is being lost, its repetitions wait too.
func (i *incident) choose(call faultproxy.Call, former []faultproxy.Call) faultproxy.Fault {
	if !i.mine(call) {
		return nil
	}
	var before []faultproxy.Call
	for _, f := range former {
		if i.mine(f) {
			before = append(before, f)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.struck {
		if i.fault.deposes && i.step.name == "Fly write" && call.Name == "set secret" && !i.isOver() {
			return i.wait
		}
		return nil
	}
	if !i.step.is(call, before) {
		return nil
	}
	i.struck = true
	return i.strike
}

// mine says that a call is about the tenant.
func (i *incident) mine(call faultproxy.Call) bool {
	for _, name := range []string{i.tenant.ID, i.tenant.Role(), i.tenant.App(), i.tenant.Name} {
		if strings.Contains(call.About, name) {
			return true
		}
	}
	return false
}

func (i *incident) strike(p faultproxy.Passage) {
	happen := i.fault.onWire
	if i.step.inside != nil {
		happen = i.fault.inServer
	}
	if i.step.elsewhere {
		p = between{p, i}
	}
	err := happen(i, p)
	i.mu.Lock()
	i.trouble = err
	i.mu.Unlock()
	close(i.over)
}

// wait lets a repeated call go on when the first one does; if its caller has gone by then, it never was.
func (i *incident) wait(p faultproxy.Passage) {
	select {
	case <-p.GivenUp():
	case <-i.over:
		if p.Forward() == nil {
			p.Answer()
		}
	}
}

func (i *incident) isOver() bool {
	select {
	case <-i.over:
		return true
	default:
		return false
	}
}

// handOver cuts the leader off from the API server, and returns when the other manager leads.
func (i *incident) handOver() error {
	former, err := i.lane.lease(context.Background())
	if err != nil {
		return err
	}
	i.lane.leader.network.Cut()
	err = i.lane.cluster.CoordinationV1().Leases(operatorNamespace).Delete(context.Background(), leaseName, metav1.DeleteOptions{})
	return errors.Join(err, i.lane.awaitOther(former, handover))
}

// awaitOther returns when another manager leads.
func (l *lane) awaitOther(former string, patience time.Duration) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if holder, err := l.lease(context.Background()); err == nil && holder != "" && holder != former {
			return nil
		}
		time.Sleep(50 * time.Millisecond) // a lease sends no event
	}
	return errors.New("the other manager does not lead")
}

// awaitSuccessor returns when the new leader has come to the tenant: to its lock where the previous one holds that, or else to the look
// at it. Every call meanwhile is the new leader's, as the previous one waits. One that does not come in time is not waited for.
func (i *incident) awaitSuccessor() {
	sign := "observe"
	if i.step.locked {
		sign = "lock"
	}
	timeout := time.After(handover / 2)
	former, _ := i.lane.rules.Calls()
	for passed := len(former); ; {
		calls, more := i.lane.rules.Calls()
		for ; passed < len(calls); passed++ {
			if calls[passed].Name == sign && i.mine(calls[passed]) {
				return
			}
		}
		select {
		case <-more:
		case <-timeout:
			return
		}
	}
}
