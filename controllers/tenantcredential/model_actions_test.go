package tenantcredential_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// actions are those of one sequence: work, and some of what disturbs it. Where everything could happen in each of them, most things would
// hide one another. The disturbances that are named are always among them.
func (w *world) actions(rt *rapid.T, always ...string) map[string]func(*rapid.T) {
	disturbing := map[string]func(*rapid.T){
		"pass": w.drawPass, "pass as asked": w.drawDuePass, "freeze": w.drawFreeze, "thaw": w.drawThaw, "kill": w.drawKill,
		"suspend": w.drawSuspend, "variable": w.drawVariable, "host": w.drawHost, "delete or create": w.drawLife,
		"fail over": w.drawFailover, "foreign change": w.drawForeign, "late write": w.drawLate, "machine": w.drawMachine,
		"nuisance": w.drawNuisance, "time": w.drawTime, "outage": w.drawOutage, "rename": w.drawRename,
		"request": w.drawRequest, "session policy": w.drawSessionPolicy, "session": w.drawSession, "strategy": w.drawStrategy, "rollout": w.drawRollout,
		"delivery": w.drawOtherDelivery, "connection Secret": w.drawSecret, "binding": w.drawBinding, "finalizer": w.drawFinalizer, "rest": w.drawRest,
		"external access": w.drawExternal, "outside": w.drawOutside,
	}
	names := slices.Sorted(maps.Keys(disturbing))
	some := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 9, rapid.ID[string]).Draw(rt, "disturbances")
	actions := map[string]func(*rapid.T){"": func(*rapid.T) { w.check() }}
	add := func(name string, act func(*rapid.T)) {
		actions[name] = func(rt *rapid.T) {
			w.note("-- %s", name)
			act(rt)
		}
	}
	add("raise", w.drawRaise)
	add("raise, and meet a fault", w.drawFaultyRotation)
	add("work", w.drawWork)
	add("work more", w.drawWork)
	for _, name := range append(some, always...) {
		add(name, disturbing[name])
	}
	return actions
}

// callsOfAPass is about how many calls a pass makes that rotates.
const callsOfAPass = 28

var verdicts = []verdict{failsBefore, losesAnswer, landsLate, hangs, diesBefore, diesAfter}

func drawFaults(rt *rapid.T, atLeast int) map[int]verdict {
	return rapid.MapOfN(rapid.IntRange(1, callsOfAPass), rapid.SampledFrom(verdicts), atLeast, 2).Draw(rt, "faults")
}

// drawProcess draws a process that is, or is not, in the middle of a pass.
func (w *world) drawProcess(rt *rapid.T, running bool) *process {
	i := rapid.IntRange(0, 1).Draw(rt, "process")
	if w.processes[i].running != running {
		i = 1 - i
	}
	if w.processes[i].running != running {
		rt.SkipNow()
	}
	w.note("process %d", i)
	return w.processes[i]
}

func (w *world) drawPass(rt *rapid.T) {
	p := w.drawProcess(rt, false)
	p.pass(script{faults: drawFaults(rt, 0), stale: rapid.Bool().Draw(rt, "stale")})
}

// drawFaultyRotation makes a rotation due, and something goes wrong with it.
func (w *world) drawFaultyRotation(rt *rapid.T) {
	w.theObject(rt)
	p := w.drawProcess(rt, false)
	w.edit(func(o *v1alpha1.TenantCredential) {
		generation := o.AskedGeneration() + 1
		o.Spec.RotationGeneration = &generation
	})
	p.pass(script{faults: drawFaults(rt, 1)})
}

func (w *world) drawDuePass(rt *rapid.T) {
	p := w.drawProcess(rt, false)
	if p.never {
		rt.SkipNow()
	}
	sleepUntil(p.due)
	p.pass(script{faults: drawFaults(rt, 0)})
}

// drawWork makes undisturbed passes, as they are asked for.
func (w *world) drawWork(rt *rapid.T) {
	p := w.drawProcess(rt, false)
	for range rapid.IntRange(1, 12).Draw(rt, "passes") {
		if p.never {
			return
		}
		sleepUntil(p.due)
		p.pass(script{})
		w.check()
	}
}

func (w *world) drawFreeze(rt *rapid.T) {
	p := w.drawProcess(rt, false)
	p.pass(script{faults: drawFaults(rt, 0), stale: rapid.Bool().Draw(rt, "stale"), pauseAt: rapid.IntRange(1, callsOfAPass).Draw(rt, "at")})
}

func (w *world) drawThaw(rt *rapid.T) { w.drawProcess(rt, true).proceed(drawFaults(rt, 0)) }

func (w *world) drawKill(rt *rapid.T) {
	p := w.processes[rapid.IntRange(0, 1).Draw(rt, "process")]
	p.kill()
	w.replace(p)
}

// theObject skips the action where there is none to edit.
func (w *world) theObject(rt *rapid.T) *v1alpha1.TenantCredential {
	object := w.object()
	if object == nil {
		rt.SkipNow()
	}
	return object
}

func (w *world) drawRaise(rt *rapid.T) {
	w.theObject(rt)
	by := rapid.SampledFrom([]int64{1, 1, 2, -1}).Draw(rt, "by")
	w.edit(func(o *v1alpha1.TenantCredential) {
		generation := max(0, o.AskedGeneration()+by)
		o.Spec.RotationGeneration = &generation
	})
}

// drawRequest asks for the present revision to be replaced, or for another one.
func (w *world) drawRequest(rt *rapid.T) {
	replaces := max(0, w.theObject(rt).Status.Revision+rapid.SampledFrom([]int64{0, 0, -1, 1}).Draw(rt, "beside"))
	compromised := rapid.Bool().Draw(rt, "compromised")
	w.edit(func(o *v1alpha1.TenantCredential) {
		o.Spec.RotationRequest = &v1alpha1.RotationRequest{ReplacesRevision: replaces, Compromised: compromised, Reason: "why", RequestedBy: "me"}
	})
}

func (w *world) drawSessionPolicy(rt *rapid.T) {
	w.theObject(rt)
	policy := rapid.SampledFrom([]v1alpha1.SessionPolicy{"", v1alpha1.SessionPolicyKeep, v1alpha1.SessionPolicyTerminate}).Draw(rt, "policy")
	w.edit(func(o *v1alpha1.TenantCredential) { o.Spec.Rotation.SessionPolicy = policy })
}

// drawSession opens a session with whatever password is in force.
func (w *world) drawSession(*rapid.T) {
	w.session, w.sessionLogin = time.Now(), w.ledger.now.login()
}

// drawStrategy has later rotations use one login, or two.
func (w *world) drawStrategy(rt *rapid.T) {
	w.theObject(rt)
	strategy := rapid.SampledFrom([]v1alpha1.RotationStrategy{"", v1alpha1.RotationStrategyInPlace, v1alpha1.RotationStrategyOverlap}).Draw(rt, "strategy")
	w.edit(func(o *v1alpha1.TenantCredential) { o.Spec.Rotation.Strategy = strategy })
}

// drawRollout has the user deploy, or says who moves the Machines from now on.
func (w *world) drawRollout(rt *rapid.T) {
	w.theObject(rt)
	policy := rapid.SampledFrom([]v1alpha1.RolloutPolicy{"", v1alpha1.RolloutPolicyRolling, v1alpha1.RolloutPolicyStaged}).Draw(rt, "policy")
	if policy == "" {
		w.deploy()
		return
	}
	w.edit(func(o *v1alpha1.TenantCredential) {
		if fly := o.FlyDelivery(); fly != nil {
			fly.RolloutPolicy = policy
			o.Spec.Delivery.Fly = fly
		}
	})
}

func (w *world) drawSuspend(rt *rapid.T) {
	w.theObject(rt)
	w.edit(func(o *v1alpha1.TenantCredential) { o.Spec.Suspend = !o.Spec.Suspend })
}

// drawBinding has the platform team take the namespace's binding away, or give it back.
func (w *world) drawBinding(*rapid.T) { w.bind(!w.bound()) }

// drawFinalizer has an editor write the operator's finalizer by hand. Where Fly has another value than the ledger's it looks like an attempt
// that was lost.
func (w *world) drawFinalizer(rt *rapid.T) {
	if object := w.theObject(rt); !object.DeletionTimestamp.IsZero() {
		rt.SkipNow() // the API server refuses it
	}
	w.edit(func(o *v1alpha1.TenantCredential) { controllerutil.AddFinalizer(o, v1alpha1.Finalizer) })
}

// drawRest has the environments' controller find that no rotation is under way, and let the environment go.
func (w *world) drawRest(*rapid.T) {
	last := w.ledger.now.last()
	if w.processes[0].slots.held || w.processes[1].slots.held || w.ledger.now.open() != nil || last != nil && last.State != postgres.StateCompleted {
		return
	}
	environment := w.environment()
	controllerutil.RemoveFinalizer(environment, v1alpha1.Finalizer)
	w.must(w.api.Update(w.logging, environment))
}

func (w *world) drawVariable(rt *rapid.T) {
	w.theObject(rt)
	variable := rapid.SampledFrom([]string{"DATABASE_URL", "DB_URL"}).Draw(rt, "variable")
	w.edit(func(o *v1alpha1.TenantCredential) {
		if fly := o.FlyDelivery(); fly != nil {
			fly.Variable = variable
			o.Spec.Delivery.Fly = fly
		}
	})
}

func (w *world) drawHost(rt *rapid.T) {
	environment := w.environment()
	environment.Spec.Postgres.Internal.Host = rapid.SampledFrom([]string{"db", "db2"}).Draw(rt, "host")
	w.must(w.api.Update(w.logging, environment))
	w.disturb()
	w.wake()
}

func (w *world) drawLife(rt *rapid.T) {
	if w.object() != nil {
		w.delete()
		return
	}
	if rapid.Bool().Draw(rt, "collected") {
		w.collect()
	}
	w.create(rapid.Int64Range(0, 3).Draw(rt, "generation"))
}

// drawFailover loses the last commits. What the ledger alone knew of is lost for good: then Fly's value is no client's, to whoever
// looks.
func (w *world) drawFailover(rt *rapid.T) {
	lost := rapid.IntRange(1, 4).Draw(rt, "commits")
	object, last := w.object(), w.ledger.now.last()
	remembered := object != nil && object.DeletionTimestamp.IsZero() && (len(object.Finalizers) > 0 || last == nil || object.Status.Revision >= last.Revision)
	w.ledger.failOver(lost)
	w.outside = visitor{} // as every session
	w.foreign = w.foreign || !remembered
	w.disturb()
}

func (w *world) drawForeign(rt *rapid.T) {
	what := rapid.SampledFrom([]string{"secret", "role", "hash"}).Draw(rt, "what")
	switch what {
	case "secret":
		variable := rapid.SampledFrom([]string{"DATABASE_URL", "DB_URL"}).Draw(rt, "variable")
		w.apps[w.ledger.now.app].set(variable, fmt.Sprintf("postgres://another:client%d@db/site", w.disturbances))
	default:
		if len(w.ledger.lock) > 0 {
			rt.SkipNow() // it would wait for the transaction
		}
		w.setPassword(fmt.Sprintf("foreign %d", w.disturbances), what == "role", what == "hash")
	}
	w.foreign = true
	w.disturb()
}

// drawRename gives the tenant another app, as the management table says.
func (w *world) drawRename(rt *rapid.T) {
	if len(w.ledger.lock) > 0 {
		rt.SkipNow()
	}
	f := w.ledger.now.clone()
	f.app = rapid.SampledFrom([]string{"sp-7dd06cd6", "renamed"}).Draw(rt, "app")
	w.ledger.commit(f)
	w.foreign = true
	w.disturb()
}

func (w *world) drawLate(rt *rapid.T) {
	if len(w.late) == 0 {
		rt.SkipNow()
	}
	w.land()
}

// land lets the oldest write arrive that no process waits for any more. Where nothing is unfinished, it is as if another client had made it.
func (w *world) land() {
	_ = w.late[0]()
	w.late = w.late[1:]
	w.foreign = true
	w.disturb()
}

func (w *world) drawMachine(rt *rapid.T) {
	app := w.apps[w.ledger.now.app]
	m := app.machines[rapid.IntRange(0, 1).Draw(rt, "machine")]
	switch rapid.SampledFrom([]string{"sick", "leased", "stop or start", "missing app"}).Draw(rt, "what") {
	case "sick":
		m.sick = !m.sick
	case "leased":
		m.leased = !m.leased
	case "missing app":
		app.missing = !app.missing
	default:
		if m.running {
			m.running = false
		} else {
			w.boot(m, "DATABASE_URL")
		}
		w.disturb()
	}
}

func (w *world) drawNuisance(rt *rapid.T) {
	switch rapid.SampledFrom([]string{"environment", "pause", "pooler", "slot"}).Draw(rt, "what") {
	case "environment":
		w.usable = !w.usable
		w.wake()
	case "pause":
		w.paused = !w.paused
		w.wake()
	case "pooler":
		w.pooled = !w.pooled
	default:
		s := w.processes[rapid.IntRange(0, 1).Draw(rt, "process")].slots
		s.take(!s.taken)
	}
}

func (w *world) drawTime(rt *rapid.T) {
	time.Sleep(time.Duration(rapid.Int64Range(1, 3600).Draw(rt, "seconds")) * time.Second)
}

// drawOutage has a side down for ten minutes. It is asked again and again, and more and more seldom.
func (w *world) drawOutage(rt *rapid.T) {
	p := w.drawProcess(rt, false)
	name := rapid.SampledFrom([]string{"Postgres", "Fly"}).Draw(rt, "side")
	w.down[name] = true
	p.slots.take(false)
	over, passes := time.Now().Add(10*time.Minute), 0
	for !p.never && p.due.Before(over) {
		sleepUntil(p.due)
		p.pass(script{})
		passes++
		if passes > 60 {
			w.violated("%s was asked again and again: more than 60 passes in ten minutes", name)
			break
		}
		p = w.alive(p)
	}
	w.down[name] = false
}

// alive is the process, or the one that took its place.
func (w *world) alive(p *process) *process {
	for _, q := range w.processes {
		if q == p {
			return p
		}
	}
	return w.processes[0]
}
