package tenantcredential_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential"
)

// verdict is what becomes of one call that a pass makes.
type verdict string

const (
	goesWell    verdict = "goes well"
	failsBefore verdict = "fails before it takes effect"
	losesAnswer verdict = "takes effect and its answer is lost"
	landsLate   verdict = "has no answer and takes effect later"
	hangs       verdict = "hangs until its deadline"
	diesBefore  verdict = "the process dies before it"
	diesAfter   verdict = "the process dies after it"
)

// patience is how long a call hangs where its context has no deadline of its own.
const patience = 15 * time.Second

// process is one manager: the real Reconciler, a cache that may lag behind, and the work queue of one object.
type process struct {
	w          *world
	reconciler *tenantcredential.Reconciler
	slots      *slots
	pause      *pause
	session    *session        // the last transaction, over or not
	unwell     map[string]bool // the Fly client's memory: Machines that were unwell at the last Probe

	cached    *v1alpha1.TenantCredential // nil = the cache has none
	namespace *corev1.Namespace          // as the cache has it

	// The work queue: when the object is looked at next.
	due    time.Time
	never  bool
	woken  bool // while a pass was under way
	errors int  // in a row

	// The pass under way.
	running bool
	calls   int
	faults  map[int]verdict
	pauseAt int // 0 = nowhere
	fresh   bool
	healthy bool // the environment could be used, and no fault was met
	begunAt int  // the disturbances that there had been
	held    bool // the object was suspended, or going, all the time
	unbound bool // the namespace was not bound to the tenant, all the time
	arrived chan struct{}
	goOn    chan bool
	ended   chan outcome
}

// outcome is how a pass ended.
type outcome struct {
	died     bool
	panicked string
	result   ctrl.Result
	err      error
}

// version is the order in which the API server has had an object.
func version(o *v1alpha1.TenantCredential) int64 {
	v, err := strconv.ParseInt(o.ResourceVersion, 10, 64)
	if err != nil {
		panic(err)
	}
	return v
}

// script is what happens to a pass: faults by the number of the call, and the call at which the process is frozen.
type script struct {
	faults  map[int]verdict
	pauseAt int
	stale   bool
}

func newProcess(w *world) *process {
	p := &process{w: w, due: time.Now(), slots: &slots{}, pause: &pause{w: w}, unwell: map[string]bool{},
		arrived: make(chan struct{}), goOn: make(chan bool), ended: make(chan outcome)}
	p.reconciler = &tenantcredential.Reconciler{
		Client: p.cacheClient(), Live: p.liveReader(), Events: recorder{w}, Namespace: "system", Cluster: cluster,
		Wake: func(types.NamespacedName) { p.wake() },
		Environment: func(string) *tenantcredential.Environment {
			if !w.usable {
				return nil
			}
			return &tenantcredential.Environment{Postgres: postgresOf{p}, Fly: flyOf{p}, Slots: p.slots, Pause: p.pause, Canary: canary{}, Doubt: func() {}, ExternalProblem: w.problem}
		},
	}
	return p
}

// pass runs a pass until it ends or is frozen.
func (p *process) pass(s script) {
	switch {
	case !s.stale || p.cached == nil:
		p.cached = p.w.object()
	case p.w.former != nil && version(p.w.former) > version(p.cached):
		p.cached = p.w.former
	}
	if !s.stale || p.namespace == nil {
		p.namespace = p.w.namespace()
	}
	p.unbound = !p.w.bound()
	p.running, p.calls, p.faults, p.pauseAt, p.woken = true, 0, s.faults, s.pauseAt, false
	p.fresh, p.healthy, p.begunAt = !s.stale, p.w.usable, p.w.disturbances
	live := p.w.object()
	p.held = live != nil && (live.Spec.Suspend || !live.DeletionTimestamp.IsZero())
	go p.run()
	p.await()
}

// proceed lets a frozen pass go on.
func (p *process) proceed(faults map[int]verdict) {
	for at, v := range faults {
		p.faults[p.calls-1+at] = v
	}
	p.pauseAt = 0
	p.goOn <- true
	p.await()
}

// kill ends the process, wherever it is.
func (p *process) kill() {
	if p.running {
		p.goOn <- false
		<-p.ended
		p.running = false
	}
}

func (p *process) run() {
	o := outcome{died: true}
	defer func() {
		if r := recover(); r != nil {
			o.panicked = fmt.Sprintf("%v\n%s", r, debug.Stack())
		}
		p.ended <- o
	}()
	ctx, cancel := context.WithTimeout(p.w.logging, 90*time.Second)
	defer cancel()
	o.result, o.err = p.reconciler.Reconcile(ctx, ctrl.Request{NamespacedName: key})
	o.died = false
}

func (p *process) await() {
	select {
	case <-p.arrived:
	case o := <-p.ended:
		p.running = false
		p.w.passEnded(p, o)
	}
}

// requeue is what the work queue makes of a pass's result.
func (p *process) requeue(o outcome) {
	p.never = false
	switch {
	case p.woken:
		p.due = time.Now()
	case o.err != nil:
		p.errors++
		p.due = time.Now().Add(min(5*time.Millisecond<<p.errors, 15*time.Minute))
		return
	case o.result.RequeueAfter > 0:
		p.due = time.Now().Add(steady(o.result.RequeueAfter))
	default:
		p.never = true
	}
	p.errors = 0
}

// steady rounds a wait up, so that the jitter in it does not decide what happens, and a sequence can be repeated.
func steady(wait time.Duration) time.Duration {
	if wait > 10*time.Minute {
		return time.Hour
	}
	rounded := time.Millisecond
	for rounded < wait {
		rounded *= 2
	}
	return rounded
}

func (p *process) wake() {
	p.woken, p.due, p.never = true, time.Now(), false
}

// side is one of the systems that a pass calls, with the errors that its adapter makes of a call that failed.
type side struct {
	name          string
	refused, lost error
}

// call is the boundary of a process: what lies between two of them is over in no time and seen by no other process.
func (p *process) call(ctx context.Context, s side, name string, effect func() error) error {
	p.calls++
	if p.calls == p.pauseAt {
		p.arrived <- struct{}{}
		if !<-p.goOn {
			runtime.Goexit()
		}
	}
	v, faulty := p.faults[p.calls]
	if p.w.down[s.name] && !faulty {
		v, faulty = failsBefore, true
	}
	p.healthy = p.healthy && !faulty
	if faulty {
		p.w.note("%s: %s", name, v)
	}
	switch {
	case v == diesBefore:
		runtime.Goexit()
	case v == hangs:
		select {
		case <-ctx.Done():
		case <-time.After(patience):
		}
		return s.refused
	case v == failsBefore || ctx.Err() != nil:
		p.healthy = false
		return s.refused
	case v == landsLate && late(name):
		p.w.late = append(p.w.late, effect)
		return s.lost
	}
	err := effect()
	switch v {
	case diesAfter:
		runtime.Goexit()
	case losesAnswer, landsLate:
		return s.lost
	}
	return err
}

// slots are one environment's, with room for one rotation; another tenant may have it.
type slots struct {
	taken, held bool
	since       time.Time
	wake        func() // nil = the tenant does not stand in line
}

func (s *slots) Acquire(_ string, _ bool, wake func()) bool {
	if !s.taken {
		s.hold()
	}
	if !s.held {
		s.wake = wake
	}
	return s.held
}

func (s *slots) Waits(string) bool { return s.wake != nil }
func (s *slots) GiveBack(string)   { s.held, s.wake = false, nil }

func (s *slots) Occupy(string) {
	s.wake = nil
	s.hold()
}

func (s *slots) HeldSince() time.Time {
	if !s.held {
		return time.Now()
	}
	return s.since
}

func (s *slots) hold() {
	if !s.held {
		s.held, s.since = true, time.Now()
	}
}

// take has another tenant take the slot, or give it back.
func (s *slots) take(taken bool) {
	s.taken = taken
	if wake := s.wake; !taken && wake != nil {
		s.Occupy("")
		wake()
	}
}

// canary lets everybody go: there is one tenant.
type canary struct{}

func (canary) Free(string, string) bool { return true }
func (canary) Try(string, string) bool  { return true }
func (canary) Prove(string)             {}
func (canary) Leave(string)             {}

// pause is the environment's: who asks has it looked at, which takes some seconds.
type pause struct {
	w     *world
	asked time.Time
}

func (p *pause) Paused() bool { return p.w.paused }

func (p *pause) Counted(string) bool {
	if p.asked.IsZero() {
		p.asked = time.Now()
	}
	return time.Since(p.asked) > 5*time.Second
}
