package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/jsonhttp"
)

// performance carries a plan out.
type performance struct {
	system   *system
	plan     *plan
	managers *managers
	recovery *recovery
	log      *os.File
	began    time.Time

	mu     sync.Mutex
	done   map[string]int // steps, by what they did
	errors []string
}

// perform returns when every step of every lane has been carried out, and every fault is over.
func (p *performance) perform(ctx context.Context) {
	var group sync.WaitGroup
	queues := make([]chan step, len(p.plan.tenants))
	for i := range queues {
		queues[i] = make(chan step, len(p.plan.lanes[laneTenants]))
		group.Go(func() { // actions on one object happen in the plan's order, and do not keep others waiting
			for s := range queues[i] {
				p.carryOut(ctx, s)
			}
		})
	}
	for lane, steps := range p.plan.lanes {
		group.Go(func() {
			for _, s := range steps {
				p.await(ctx, s.at)
				switch lane {
				case laneTenants:
					queues[s.tenant] <- s
				case laneMachines, laneFly:
					group.Go(func() { p.carryOut(ctx, s) })
				default:
					p.carryOut(ctx, s)
				}
			}
			if lane == laneTenants {
				for _, queue := range queues {
					close(queue)
				}
			}
		})
	}
	group.Wait()
}

func (p *performance) await(ctx context.Context, at time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(at - time.Since(p.began)):
	}
}

// carryOut does what a step says, and waits until it is over.
func (p *performance) carryOut(ctx context.Context, s step) {
	began := time.Since(p.began)
	err := p.do(ctx, s)
	ended := time.Since(p.began)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[s.do]++
	line := fmt.Sprintf("%7.1f–%.1f s: %s", began.Seconds(), ended.Seconds(), s)
	if err != nil {
		line += ": " + err.Error()
		p.errors = append(p.errors, line)
	}
	fmt.Fprintln(p.log, line)
}

func (p *performance) do(ctx context.Context, s step) error {
	switch s.do {
	case doRaise, doSuspend, doRecreate, doApply, doRequest:
		return p.onObject(ctx, s)
	case doDestroy, doAdd, doUpdate, doLease, doStop, doStart:
		return p.onMachine(ctx, s)
	case doFly:
		return p.atFly(ctx, s)
	}
	defer func() { p.recovery.faultEnded(-1, time.Now()) }()
	switch s.do {
	case doKill, doKillLease:
		return until(ctx, func() error { return p.managers.kill(ctx, s.do == doKillLease) })
	case doTerminate:
		p.managers.terminate()
		return nil
	case doFreeze:
		p.managers.freeze(s.lasts)
		return nil
	case doSecond:
		return p.managers.second(s.lasts, syscall.SIGTERM)
	case doSecondEnd:
		return p.managers.second(s.lasts, syscall.SIGKILL)
	case doRestart, doCrash:
		return restartPostgres(s)
	case doAPIKill:
		return playground("apiserver-kill")
	case doAPIReboot:
		err := playground("cluster-down")
		time.Sleep(s.lasts) // this is the fault
		return errors.Join(err, playground("cluster-up"))
	}
	return fmt.Errorf("the soak does not know how to %s", s.do)
}

func playground(arguments ...string) error {
	if output, err := harness.Playground(arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("playground %s: %w: %s", strings.Join(arguments, " "), err, output)
	}
	return nil
}

// restartPostgres stops the server as an administrator does, or at once, so that it has to recover from its log.
func restartPostgres(s step) error {
	if s.do == doCrash {
		content, err := os.ReadFile(filepath.Join(filepath.Dir(os.Getenv("PLAYGROUND_SANDBOX_POSTGRES_LOG")), "data", "postmaster.pid"))
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(strings.SplitN(string(content), "\n", 2)[0])
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil { // immediate shutdown
			return err
		}
	}
	err := playground("postgres-down", environment) // waits for its end
	time.Sleep(s.lasts)                             // this is the fault
	return errors.Join(err, playground("postgres-up", environment))
}

// onObject does what a user does with kubectl. The API server may be away: it is tried until it is back.
func (p *performance) onObject(ctx context.Context, s step) error {
	switch s.do {
	case doRaise:
		return p.patch(ctx, s.tenant, fmt.Sprintf(`{"spec":{"rotationGeneration":%d}}`, s.number))
	case doSuspend:
		err := p.patch(ctx, s.tenant, fmt.Sprintf(`{"spec":{"suspend":true,"rotationGeneration":%d}}`, s.number))
		time.Sleep(3 * time.Second) // like a user who thinks again
		return errors.Join(err, p.patch(ctx, s.tenant, `{"spec":{"suspend":false}}`))
	case doApply:
		return p.patch(ctx, s.tenant, fmt.Sprintf(`{"spec":{"rotationGeneration":%d,"delivery":{"fly":{"variable":"DATABASE_URL"}}}}`, s.number))
	case doRequest:
		return p.request(ctx, s)
	default:
		return p.recreate(ctx, s)
	}
}

// request asks for the revision to be replaced that the status shows.
func (p *performance) request(ctx context.Context, s step) error {
	o := object(objectName(s.tenant), p.plan.tenants[s.tenant].id, 0)
	return until(ctx, func() error {
		if err := p.system.client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		patch := fmt.Sprintf(`{"spec":{"rotationRequest":{"replacesRevision":%d,"reason":"the soak","compromised":%t}}}`, o.Status.Revision, s.number == 0)
		return p.system.client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(patch)))
	})
}

func (p *performance) patch(ctx context.Context, tenant int, patch string) error {
	o := object(objectName(tenant), p.plan.tenants[tenant].id, 0)
	return until(ctx, func() error {
		return p.system.client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(patch)))
	})
}

// recreate deletes an object and makes it again at the number that it had. The deletion waits for a rotation that is in progress, and where a Machine
// halts it, for the Machine's repair.
func (p *performance) recreate(ctx context.Context, s step) error {
	name, id := objectName(s.tenant), p.plan.tenants[s.tenant].id
	err := until(ctx, func() error { return client.IgnoreNotFound(p.system.client.Delete(ctx, object(name, id, 0))) })
	if err != nil {
		return err
	}
	for ctx.Err() == nil { // as long as the rotation takes; that it ends is what the soak is about
		o := object(name, id, 0)
		err := p.system.client.Get(ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			break
		}
		if err == nil && isHalted(o) {
			p.startMachines(ctx, p.plan.tenants[s.tenant])
		}
		time.Sleep(200 * time.Millisecond)
	}
	return until(ctx, func() error {
		err := p.system.client.Create(ctx, object(name, id, s.number))
		if apierrors.IsAlreadyExists(err) {
			return nil // the answer to the first try was lost
		}
		return err
	})
}

func isHalted(o *v1alpha1.TenantCredential) bool {
	return meta.IsStatusConditionPresentAndEqual(o.Status.Conditions, v1alpha1.StalledCondition, metav1.ConditionTrue) &&
		meta.FindStatusCondition(o.Status.Conditions, v1alpha1.StalledCondition).Reason == reasons.RolloutHalted
}

// startMachines is the repair that the condition's message asks for. Fly may refuse it, and it is tried at the next look.
func (p *performance) startMachines(ctx context.Context, x tenant) {
	a, err := p.system.app(ctx, x.app())
	if err != nil {
		return
	}
	for _, m := range a.Machines {
		if m.State == "stopped" {
			_ = p.system.flyCall(ctx, http.MethodPost, "/apps/"+x.app()+"/machines/"+m.ID+"/start", map[string]any{}, nil)
		}
	}
}

// onMachine does what another client does at Fly at the same time. A refusal of Fly (a lease, a Machine that is on its way) is no error.
func (p *performance) onMachine(ctx context.Context, s step) error {
	x := p.plan.tenants[s.tenant]
	if s.do == doAdd {
		return p.system.addMachine(ctx, x, "stopped")
	}
	a, err := p.system.app(ctx, x.app())
	if err != nil {
		return err
	}
	var living []machine
	for _, m := range a.Machines {
		if m.State != "destroyed" {
			living = append(living, m)
		}
	}
	if len(living) == 0 {
		return nil
	}
	path := "/apps/" + x.app() + "/machines/" + living[int(s.number)%len(living)].ID
	switch s.do {
	case doDestroy:
		err = p.system.adminCall(ctx, http.MethodDelete, "/admin"+path, nil, nil)
	case doLease:
		err = p.system.adminCall(ctx, http.MethodPost, "/admin"+path+"/lease", map[string]any{"owner": "another client", "ttl": 5 + s.number*5}, nil)
	case doStop, doStart:
		err = p.system.flyCall(ctx, http.MethodPost, path+"/"+strings.Fields(s.do)[0], map[string]any{}, nil)
	case doUpdate:
		err = p.system.updateMachine(ctx, path, s)
	}
	var refused *jsonhttp.StatusError
	if errors.As(err, &refused) || (s.do != doDestroy && s.do != doLease) {
		return nil // the faults at Fly befall every tenant
	}
	return err
}

// updateMachine writes another image into the config, as a deployment does.
func (s *system) updateMachine(ctx context.Context, path string, p step) error {
	var found struct{ Config map[string]json.RawMessage }
	if err := s.flyCall(ctx, http.MethodGet, path, nil, &found); err != nil {
		return err
	}
	found.Config["image"] = json.RawMessage(fmt.Sprintf(`"registry.fly.io/soak:deployment-%d"`, p.at.Milliseconds()))
	return s.flyCall(ctx, http.MethodPost, path, map[string]any{"config": found.Config}, nil)
}

// atFly has the emulator fail for a while; then what hangs is let go.
func (p *performance) atFly(ctx context.Context, s step) error {
	fault := map[string]any{"route": s.route, "mode": s.mode, "count": s.number}
	if s.tenant >= 0 {
		fault["app"] = p.plan.tenants[s.tenant].app()
	}
	switch {
	case s.mode == "delay":
		fault["delay_ms"] = min(s.lasts, 4*time.Second).Milliseconds()
	case s.status != 0:
		fault["status"] = s.status
		fault["body"] = "<html>no</html>"
	}
	if s.status == http.StatusTooManyRequests {
		fault["headers"] = map[string]string{"Retry-After": "2"}
	}
	var made struct{ ID string }
	if err := p.system.adminCall(ctx, http.MethodPost, "/admin/faults", fault, &made); err != nil {
		return err
	}
	time.Sleep(s.lasts) // this is the fault
	err := p.system.adminCall(ctx, http.MethodDelete, "/admin/faults/"+made.ID, nil, nil)
	p.recovery.faultEnded(s.tenant, time.Now())
	return err
}
