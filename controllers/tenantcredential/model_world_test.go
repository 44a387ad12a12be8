package tenantcredential_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// world is one tenant with everything around it: the API server, PostgreSQL, Fly, and two managers.
type world struct {
	rt        *rapid.T
	api       client.WithWatch
	ledger    *ledger
	apps      map[string]*flyApp
	late      []func() error // writes to Fly that are under way without anybody waiting for them
	processes [2]*process
	created   int
	strategy  v1alpha1.RotationStrategy  // of the objects that are created
	delivery  v1alpha1.Delivery          // as well
	former    *v1alpha1.TenantCredential // as it was before the last edit, for a cache that lags behind

	down   map[string]bool // sides that answer nothing
	usable bool            // the environment
	paused bool
	pooled bool // something between operator and server refuses new passwords

	// disturbances are what the next undisturbed pass alone can see: it has seen as many as there were when it began.
	disturbances, looked int
	// foreign says that an edit may be needed: another client changed something while nothing was unfinished.
	foreign bool

	// session is when a client opened a session of the tenant's, and as which login; zero while there is none.
	session      time.Time
	sessionLogin string
	// outside is an external client, and problem why pg_hba.conf does not require the group; "" = it does.
	outside visitor
	problem string

	logging   context.Context
	log       bytes.Buffer
	passwords map[string]bool // all that were ever made, and said to anybody
	delivered map[string]bool // those that Fly has had
	trace     []string
	violation string
}

func newWorld(rt *rapid.T) *world {
	w := &world{rt: rt, api: newAPI(), usable: true, down: map[string]bool{}, passwords: map[string]bool{}, delivered: map[string]bool{},
		apps: map[string]*flyApp{"sp-7dd06cd6": newApp("sp-7dd06cd6"), "renamed": newApp("renamed")}}
	w.logging = ctrl.LoggerInto(context.Background(), zap.New(zap.WriteTo(&w.log), zap.Level(zapcore.Level(-9))))
	w.ledger = &ledger{lock: make(chan struct{}, 1), now: &facts{role: "tenant_7dd06cd6", database: "site_7dd06cd6", app: "sp-7dd06cd6", verifiers: map[string]string{}}}
	w.strategy = rapid.SampledFrom([]v1alpha1.RotationStrategy{v1alpha1.RotationStrategyInPlace, v1alpha1.RotationStrategyOverlap}).Draw(rt, "strategy")
	w.delivery = drawDelivery(rt)
	w.setPassword("before", true, true)
	for _, a := range w.apps {
		a.set("DATABASE_URL", "postgres://tenant_7dd06cd6:before@db:5432/site_7dd06cd6")
		for _, m := range a.machines {
			m.env["DATABASE_URL"] = a.secrets["DATABASE_URL"]
		}
	}
	for i := range w.processes {
		w.processes[i] = newProcess(w)
	}
	return w
}

func (w *world) must(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// violated keeps the first thing that should never have been; the driver says it, as only it may end the test.
func (w *world) violated(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
	}
}

func (w *world) wake() {
	for _, p := range w.processes {
		if p != nil {
			p.wake()
		}
	}
}

// disturb notes what only the next pass can see.
func (w *world) disturb() { w.disturbances++ }

// endSession ends the session if it began before then, and says whether it did.
func (w *world) endSession(before time.Time) bool {
	if w.session.IsZero() || !w.session.Before(before) {
		return false
	}
	w.session = time.Time{}
	return true
}

// setPassword gives the role a password, or the table a hash, that is not the operator's. No other password satisfies it.
func (w *world) setPassword(text string, role, hash bool) {
	verifier := foreignVerifier + text
	f := w.ledger.now.clone()
	if role {
		f.verifiers[f.login()] = verifier
	}
	if hash {
		f.hash = verifier
	}
	w.ledger.commit(f)
}

// rotationOpened judges the moment at which a rotation begins.
func (w *world) rotationOpened(p *process, f *facts, row *postgres.Rotation) {
	if !controllerutil.ContainsFinalizer(w.environment(), v1alpha1.Finalizer) {
		w.violated("a rotation (%s) has been started in an environment that nothing holds", row.Cause)
	}
	if p.unbound && row.Cause != string(rotation.LoginUnproved) {
		w.violated("a rotation (%s) has been started for an object in a namespace that is not bound", row.Cause)
	}
	asked := row.Cause == string(rotation.GenerationRaised) || row.Cause == string(rotation.Requested) ||
		row.Cause == string(rotation.DeliveryChanged) && (f.last() == nil || f.last().State == postgres.StateCompleted)
	live := w.object() // one that is going, and has lost an attempt, is not left with a value at Fly that never became valid
	lost := row.Cause == string(rotation.LedgerRegressed) && (f.last() == nil || f.last().State == postgres.StateCompleted) &&
		live != nil && live.DeletionTimestamp.IsZero()
	if (asked || lost) && p.held {
		w.violated("a rotation (%s) has been started for an object that is suspended or going", row.Cause)
	}
	if row.Cause != string(rotation.GenerationRaised) {
		return
	}
	if row.Generation <= f.claim.Generation || f.last() != nil && f.last().State != postgres.StateCompleted && row.Generation <= f.last().Generation {
		w.violated("generation %d is served twice", row.Generation)
	}
}

// secretArrived judges a write to Fly. One that arrives when its transaction is over, because it or its process was held up, goes to the
// app that was the tenant's when it was sent: nothing can call it back.
func (w *world) secretArrived(s *session, app, value string) {
	if s.holds() && app != w.ledger.now.app {
		w.violated("a password was sent to app %s, which is not the tenant's", app)
	}
	w.delivered[passwordOf(value)] = true
}

// loginClosed judges the moment at which the previous login is closed: nothing that Fly would start uses it any more.
func (w *world) loginClosed(f *facts, row *postgres.Rotation, former string) {
	object := w.object()
	if object == nil || w.destination(object).Digest() != row.DeliveryDigest {
		return
	}
	for _, m := range w.apps[f.app].machines {
		if object.FlyDelivery() == nil {
			return
		}
		if value := m.env[object.FlyDelivery().Variable]; userOf(value) == former && w.works(value) {
			w.violated("login %s is closed, and Machine %s has it", former, m.id)
		}
	}
}

// written searches what anybody may read.
func (w *world) written(text string) {
	for password := range w.passwords {
		if strings.Contains(text, password) {
			w.violated("a password is written down")
		}
	}
}

// passEnded judges a pass that came to its end, or died.
func (w *world) passEnded(p *process, o outcome) {
	switch {
	case o.panicked != "":
		w.violated("panic: %s", o.panicked)
		return
	case o.died:
		w.replace(p)
		return
	}
	p.requeue(o)
	if o.err != nil {
		w.written(o.err.Error())
	}
	if p.fresh && p.healthy && o.err == nil {
		w.looked = max(w.looked, p.begunAt)
	}
	live := w.object()
	if p.fresh && o.err == nil && live != nil && w.leftBehind(live) {
		for _, c := range live.Status.Conditions {
			if strings.Contains(c.Message, "Nothing was changed.") {
				w.violated("%s says %q, and Fly has a password of the operator's that was never in force", c.Type, c.Message)
			}
		}
	}
	gone := live == nil || !live.DeletionTimestamp.IsZero() && len(live.Finalizers) == 0
	if p.never && p.fresh && !gone {
		w.violated("a pass asks for no other: the object is never looked at again")
	}
}

// leftBehind says that the object's attempt is open, and Fly has a password of the operator's that was never in force.
func (w *world) leftBehind(o *v1alpha1.TenantCredential) bool {
	f := w.ledger.now
	if o.FlyDelivery() == nil || f.open() == nil || f.claim.UID != string(o.UID) || w.processes[0].running || w.processes[1].running {
		return false
	}
	value := w.apps[w.ledger.now.app].secrets[o.FlyDelivery().Variable]
	return w.delivered[passwordOf(value)] && !slices.ContainsFunc(w.ledger.ever, func(f *facts) bool {
		return matches(f.verifiers[userOf(value)], passwordOf(value))
	})
}

func (w *world) replace(p *process) {
	for i := range w.processes {
		if w.processes[i] == p {
			w.processes[i] = newProcess(w)
		}
	}
}

// check is what holds at every moment.
func (w *world) check() {
	w.written(w.log.String())
	w.log.Reset()
	if live := w.object(); live != nil {
		w.written(asJSON(live))
		w.checkConditions(live)
		w.checkOutside(live)
		if isReady(live) && w.disturbances == w.looked {
			if why := w.disagreement(live); why != "" {
				w.violated("the object is Ready, and %s", why)
			}
		}
	}
	w.checkPassword()
	if w.violation != "" {
		w.rt.Fatalf("%s\n%s", w.violation, strings.Join(w.trace, "\n"))
	}
}

// suspended says that the object, as it is now, is due and held back by its owner.
func suspended(o *v1alpha1.TenantCredential) bool {
	c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ReadyCondition)
	return o.Status.ObservedGeneration == o.Generation && o.Spec.Suspend && c != nil && c.Reason == reasons.Suspended
}

// isReady says Ready of the spec that there is now.
func isReady(o *v1alpha1.TenantCredential) bool {
	return o.Status.ObservedGeneration == o.Generation && meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ReadyCondition)
}

func stalled(o *v1alpha1.TenantCredential) string {
	c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.StalledCondition)
	if c == nil || o.Status.ObservedGeneration != o.Generation {
		return ""
	}
	return c.Reason
}

// checkConditions: Ready, or exactly one of Reconciling and Stalled, or suspended.
func (w *world) checkConditions(o *v1alpha1.TenantCredential) {
	if o.Status.ObservedGeneration < 0 {
		return
	}
	trueNow := 0
	if ready := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ReadyCondition); ready != nil && ready.Reason == reasons.Suspended {
		trueNow++
	}
	for _, kind := range []string{v1alpha1.ReadyCondition, v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		c := meta.FindStatusCondition(o.Status.Conditions, kind)
		if c != nil && c.Status == metav1.ConditionTrue {
			trueNow++
		}
	}
	if trueNow != 1 {
		w.violated("%d of Ready, Reconciling, Stalled and suspended are true", trueNow)
	}
}

// checkPassword: the password that is in force is one that Fly has had, or the previous one, or another client's.
func (w *world) checkPassword() {
	f := w.ledger.now
	last := f.last()
	if last == nil || digest(f.verifier()) != last.VerifierDigest {
		return
	}
	for password := range w.delivered {
		if matches(f.verifier(), password) {
			return
		}
	}
	w.violated("revision %d has a password that no place has", last.Revision)
}

// disagreement says in what the world is not what a Ready object promises; "" = it is.
func (w *world) disagreement(o *v1alpha1.TenantCredential) string {
	f := w.ledger.now
	last := f.last()
	switch {
	case f.claim == nil || f.claim.UID != string(o.UID):
		return "does not hold the tenant"
	case f.open() != nil, last != nil && last.State != postgres.StateCompleted:
		return "a rotation is unfinished"
	case w.disagreementOutside(o) != "":
		return w.disagreementOutside(o)
	case o.AskedGeneration() > f.claim.Generation:
		return fmt.Sprintf("generation %d is not done", o.AskedGeneration())
	case last == nil && (digest(f.verifier()) != f.claim.VerifierDigest || digest(f.hash) != f.claim.HashDigest):
		return "Postgres has not what was adopted"
	case last == nil && o.Spec.Delivery.ConnectionSecret != nil && w.connectionSecret() == nil:
		return "there is no Secret to mount"
	case last == nil:
		return ""
	case f.verifiers[f.other(f.login())] != "":
		return "two logins can be used"
	case digest(f.verifier()) != last.VerifierDigest:
		return "the role has another password"
	case digest(f.hash) != last.HashDigest:
		return "the table has another hash"
	case last.DeliveryDigest != w.destination(o).Digest():
		return "the password was made for another destination"
	case last.SessionPolicy != postgres.SessionsKept && !w.session.IsZero() && w.session.Before(last.CommittedAt):
		return "a session of before is left, which was to be ended"
	}
	if request := o.Spec.RotationRequest; request != nil && request.ReplacesRevision <= last.Revision && (request.ReplacesRevision >= last.Revision || request.Compromised && request.ReplacesRevision >= f.tenant().CompromisedRevision) {
		return "what is requested is not done"
	}
	if why := w.disagreementInSecret(o, last); why != "" || o.FlyDelivery() == nil {
		return why
	}
	return w.disagreementAtFly(o.FlyDelivery().Variable, last)
}

func (w *world) disagreementAtFly(variable string, last *postgres.Rotation) string {
	app := w.apps[w.ledger.now.app]
	if app.digest(variable) != last.FlyDigest {
		return "Fly has another value"
	}
	for _, m := range app.machines {
		if m.running && !w.works(m.env[variable]) {
			return "Machine " + m.id + " runs with a password that does not work"
		}
	}
	return ""
}

func (w *world) environment() *v1alpha1.TenantEnvironment {
	var environment v1alpha1.TenantEnvironment
	w.must(w.api.Get(context.Background(), client.ObjectKey{Name: "sandbox"}, &environment))
	return &environment
}

func (w *world) destination(o *v1alpha1.TenantCredential) credential.Destination {
	internal := w.environment().Spec.Postgres.Internal
	destination := credential.Destination{Host: internal.Host, Port: internal.Port, Role: w.ledger.now.role, Database: w.ledger.now.database, Scheme: "postgresql"}
	if o.FlyDelivery() != nil {
		destination.Variable = o.FlyDelivery().Variable
	}
	if o.Spec.Delivery.ConnectionSecret != nil {
		destination.ConnectionSecret = secretKey.String()
	}
	return destination
}

// sleepUntil lets time pass.
func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }
