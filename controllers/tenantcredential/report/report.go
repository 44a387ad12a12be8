// Package report says what a pass has found: it makes the status, the events, and the time of the next look. It does no I/O, and the same pass always
// gives the same report.
package report

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// Pass is what there is to report.
type Pass struct {
	In    pass.Input
	Out   pass.Outcome
	State rotation.State
	// Namespace is the operator's own, for messages that name a Secret.
	Namespace string
	// Ended is when the pass ended.
	Ended time.Time
	// Spread is a number in [0, 1) by which retries and looks are spread, so that what failed together does not come back together.
	Spread float64
}

// Result is the report.
type Result struct {
	// Status is the object's from now on.
	Status v1alpha1.TenantCredentialStatus
	// Stands says that the status is as it was, whatever the pass has met, but for external access: nothing else is announced.
	Stands bool
	// Events are on transitions only.
	Events []Event
	// Next is when to look again if nothing happens before; never zero.
	Next time.Duration
}

// Report makes the report of a pass.
func Report(p Pass) Result {
	w := newWords(p)
	before := p.In.Object.Status
	if w.stands() {
		after := w.standing()
		return Result{Status: after, Stands: true, Events: w.accessEvents(&before, &after), Next: w.nextLook(&after)}
	}
	after := w.status()
	return Result{Status: after, Events: w.events(&before, &after), Next: w.nextLook(&after)}
}

// words words a pass. docs/messages.md shows every message.
type words struct {
	Pass
	seen   pass.Observed
	tenant *postgres.Tenant // nil = not seen
	object *v1alpha1.TenantCredential
	// environment is nil where there is none of that name.
	environment *v1alpha1.TenantEnvironment
	destination credential.Destination
	obstacle    *pass.Obstacle
}

func newWords(p Pass) words {
	w := words{Pass: p, seen: p.Out.Seen, tenant: p.Out.Seen.Tenant, object: p.In.Object, environment: p.In.Environment, obstacle: shown(p)}
	if w.tenant != nil && w.environment != nil {
		w.destination = pass.Destination(p.In, w.tenant)
	}
	return w
}

// shown is the obstacle that Ready shows, nil = none. That Fly cannot be asked now is none for a tenant to whom nothing is due: what was seen before
// stands, if Fly has been looked at for this very spec.
func shown(p Pass) *pass.Obstacle {
	if p.Out.Obstacle != nil {
		return p.Out.Obstacle
	}
	if p.Out.Unseen != nil && !(p.State.Phase == rotation.Resting && sawFly(p.In.Object)) {
		return p.Out.Unseen
	}
	return nil
}

func sawFly(object *v1alpha1.TenantCredential) bool {
	seen := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.FlySecretSyncedCondition)
	return seen != nil && seen.Status == metav1.ConditionTrue && seen.ObservedGeneration == object.Generation
}

// stands says that the status stays as it is: a rotation that is due waits for a moment, and what was said of a failed attempt is still so; or the
// environment is out of order, and this tenant rests.
func (w words) stands() bool {
	if w.transient() {
		return w.tenant == nil || w.object.Status.Failure != nil
	}
	return w.restsInOutage()
}

// standing is the status as it was. Only of external access, which changes beside the rotations, is said what this pass has seen or done.
func (w words) standing() v1alpha1.TenantCredentialStatus {
	if !w.held() || w.Out.Access != nil {
		return w.object.Status
	}
	status := *w.object.Status.DeepCopy()
	if status.Postgres != nil {
		status.Postgres.ExternalURL = w.externalURL()
	}
	if c, present := w.externalAccess(); present {
		meta.SetStatusCondition(&status.Conditions, w.timed([]metav1.Condition{c})[0])
	} else {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ExternalAccessCondition)
	}
	status.Bound()
	return status
}

// transient says that the pass has ended before it could do what it came for, and comes again by itself.
func (w words) transient() bool { return Transient(w.Out, w.State) }

// Transient says that a pass has ended before it could do what it came for, and comes again by itself.
func Transient(out pass.Outcome, state rotation.State) bool {
	if out.Obstacle != nil {
		return false
	}
	return out.Wait != "" || state.Phase == rotation.Waiting && state.Wait != rotation.ForResume
}

// status is the whole status anew. Only a condition's time of transition, and what was seen of a tenant that cannot be seen now, is kept.
func (w words) status() v1alpha1.TenantCredentialStatus {
	status := *w.object.Status.DeepCopy()
	status.ObservedGeneration = w.object.Generation
	if pass.Held(w.In, w.seen) {
		w.project(&status)
	}
	status.Conditions = w.timed(w.conditions())
	if !w.transient() {
		status.Failure = w.failure()
	}
	status.Bound()
	return status
}

// timed gives each condition the generation that it is about, and the time since when it has its status. What this pass could not see stays about the
// generation for which it was seen.
func (w words) timed(conditions []metav1.Condition) []metav1.Condition {
	for i := range conditions {
		c := &conditions[i]
		c.ObservedGeneration = cmp.Or(c.ObservedGeneration, w.object.Generation)
		c.LastTransitionTime = seconds(w.In.Now)
		if before := meta.FindStatusCondition(w.object.Status.Conditions, c.Type); before != nil && before.Status == c.Status {
			c.LastTransitionTime = before.LastTransitionTime
		}
	}
	return conditions
}

// seconds is what the API server keeps of a time; anything finer would make every pass look like a change.
func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }
