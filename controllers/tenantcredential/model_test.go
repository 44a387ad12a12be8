package tenantcredential_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// TestModel drives the real Reconciler through random sequences of edits, faults, deaths, failovers and other people's changes, against
// in-memory systems that keep to the ledger's and Fly's rules, in virtual time. What never may be is judged after every step; then
// everything heals, and the object has to become Ready by the passes that the Reconciler itself asks for.
func TestModel(t *testing.T) { checkModel(t) }

// The same, where external access is asked for and left out again and again.
func TestModelOfExternalAccess(t *testing.T) { checkModel(t, "external access", "outside") }

func checkModel(t *testing.T, disturbances ...string) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func() {
			w := newWorld(rt)
			defer w.end()
			w.create(rapid.Int64Range(0, 1).Draw(rt, "generation"))
			rt.Repeat(w.actions(rt, disturbances...))
			w.heal()
			w.settle("after everything healed")
			w.rotateOnceMore()
		})
	})
}

// A rotation that is due and has to wait is not Ready meanwhile, also where no user edited the object: the apps may be refused.
func TestWaitingIsNotReady(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func() {
			w := newWorld(rt)
			defer w.end()
			w.create(1)
			w.heal()
			w.settle("at first")
			if rapid.Bool().Draw(rt, "failover") {
				w.ledger.failOver(len(w.ledger.past)) // the environment has to count first who lost what
			} else {
				w.processes[0].slots.take(true)
				environment := w.environment()
				environment.Spec.Postgres.Internal.Host = "db2"
				w.must(w.api.Update(w.logging, environment))
			}
			w.processes[0].pass(script{})
			if o := w.object(); isReady(o) || meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ReconcilingCondition).Reason != reasons.Rotating {
				rt.Fatalf("the object says: %s", asJSON(o.Status.Conditions))
			}
		})
	})
}

// inBubble runs f in virtual time. What rapid throws ends the sequence, and has to get out of the bubble.
func inBubble(t *testing.T, f func()) {
	t.Helper()
	var thrown any
	synctest.Test(t, func(*testing.T) {
		defer func() { thrown = recover() }()
		f()
	})
	switch {
	case thrown == nil:
	case fmt.Sprintf("%T", thrown) == "rapid.invalidData":
		panic(thrown) // no failure, which rapid sees from the type, and, while it looks for a shorter sequence, from the line alone
	default:
		panic(thrown)
	}
}

func (w *world) end() {
	for _, p := range w.processes {
		p.kill()
	}
}

// heal ends all that is broken, and all but one process. The one that is left goes on by its own work queue, or begins anew.
func (w *world) heal() {
	w.note("-- heal")
	thaws, restarts := rapid.Bool().Draw(w.rt, "the frozen go on"), rapid.Bool().Draw(w.rt, "restart")
	for _, p := range w.processes {
		if p.running && thaws {
			p.proceed(nil)
		}
	}
	for i, p := range w.processes {
		if p.running || restarts || i == 1 {
			p.kill()
			w.replace(p)
		}
		w.processes[i].slots.take(false)
	}
	for len(w.late) > 0 {
		w.land()
	}
	for _, app := range w.apps {
		app.missing = false
		for _, m := range app.machines {
			m.sick, m.leased = false, false
		}
	}
	if !w.usable || w.paused {
		w.usable, w.paused = true, false
		w.wake() // the environments' controller tells
	}
	w.pooled = false
	w.require(true)
	w.bind(true)
	w.check()
}

// passesToSettle bounds how many passes it takes until an object is Ready. Most of them watch Machines that have just started.
const passesToSettle = 250

// settle runs the passes that are asked for, and no others, until the object is Ready, or says which edit it needs, or is gone.
func (w *world) settle(when string) {
	p := w.processes[0]
	for range passesToSettle {
		if w.settled() {
			return
		}
		if p.never {
			if w.object() == nil {
				return
			}
			w.rt.Fatalf("%s: no pass looks at the object again", when)
		}
		w.deployWhatWaits()
		sleepUntil(p.due)
		p.pass(script{})
		w.check()
	}
	object := w.object()
	w.rt.Fatalf("%s: not Ready after %d passes: %s\n%s", when, passesToSettle, asJSON(object.Status.Conditions), strings.Join(w.trace, "\n"))
}

// settled says whether the object has reached what it can reach by itself.
func (w *world) settled() bool {
	object := w.object()
	switch {
	case object == nil:
		return w.processes[0].never || w.ledger.now.claim == nil || w.ledger.now.open() == nil
	case w.disturbances > w.looked:
		return false
	case !object.DeletionTimestamp.IsZero():
		return w.foreign && stalled(object) == reasons.DriftDetected // a user has to remove the finalizer
	case isReady(object), suspended(object):
		return true
	}
	switch stalled(object) {
	case reasons.InvalidSpec:
		return w.policiesClash(object) || object.Spec.RotationRequest.ReplacesRevision > object.Status.Revision
	case reasons.DriftDetected:
		return w.foreign
	case reasons.SecretNotDelivered:
		secret := w.connectionSecret() // one of a previous object goes with that
		return w.ledger.now.last() == nil && (secret == nil || !metav1.IsControlledBy(secret, object))
	case reasons.NotOffered:
		return object.Spec.ExternalAccess != nil && !w.wantsOutside(object)
	}
	return false
}

func (w *world) policiesClash(o *v1alpha1.TenantCredential) bool {
	return o.FlyDelivery() != nil && o.FlyDelivery().RolloutPolicy == v1alpha1.RolloutPolicyStaged && o.Spec.Rotation.Strategy != v1alpha1.RotationStrategyOverlap
}

// rotateOnceMore does what every message of a drift says. After it everything is as it should be, whatever happened before.
func (w *world) rotateOnceMore() {
	w.note("-- rotate once more")
	if object := w.object(); object != nil && !object.DeletionTimestamp.IsZero() {
		w.edit(func(o *v1alpha1.TenantCredential) { o.Finalizers = nil })
	}
	if w.object() == nil {
		w.create(0)
		w.settle("made again")
	}
	w.edit(func(o *v1alpha1.TenantCredential) {
		generation := max(o.AskedGeneration(), w.ledger.now.claim.Generation)
		if last := w.ledger.now.last(); last != nil {
			generation = max(generation, last.Generation)
		}
		generation++
		o.Spec.RotationGeneration, o.Spec.Suspend = &generation, false
		if o.Spec.ExternalAccess != nil && !w.wantsOutside(o) {
			o.Spec.ExternalAccess = nil
		}
		if w.policiesClash(o) {
			o.Spec.Rotation.Strategy = v1alpha1.RotationStrategyOverlap
		}
		if o.Spec.RotationRequest != nil && o.Spec.RotationRequest.ReplacesRevision > o.Status.Revision {
			o.Spec.RotationRequest = nil
		}
	})
	w.settle("after the generation was raised")
	object, last := w.object(), w.ledger.now.last()
	switch {
	case !isReady(object):
		w.rt.Fatalf("a raised generation does not mend it: %s", asJSON(object.Status.Conditions))
	case w.disagreement(object) != "":
		w.rt.Fatalf("Ready, and %s", w.disagreement(object))
	case last.State != postgres.StateCompleted || object.Status.Revision != last.Revision || object.Status.RotationGeneration != object.AskedGeneration():
		w.rt.Fatalf("the status does not say what is done: %s", asJSON(object.Status))
	case w.processes[0].slots.held:
		w.rt.Fatalf("a slot is kept")
	case len(object.Finalizers) > 0:
		w.rt.Fatalf("a finalizer is left")
	}
}
