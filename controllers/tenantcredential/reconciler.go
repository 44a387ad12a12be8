// Package tenantcredential brings a tenant's credentials to what its TenantCredential asks for: observe, decide, act, report.
package tenantcredential

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// Reconciler brings TenantCredentials to what they ask for.
type Reconciler struct {
	// Client reads from the manager's cache and writes to the API server.
	Client client.Client
	// Live reads from the API server itself, where a stale answer would do harm.
	Live client.Reader
	// Events receives an event at each transition.
	Events events.EventRecorder
	// Environment returns how to reach an environment, or nil while it can not be used.
	Environment func(name string) *Environment
	// Namespace is the operator's own, for messages that name a Secret.
	Namespace string
	// Cluster is the UID of this cluster's kube-system namespace.
	Cluster string

	// transactions are under way: they run on, and are waited for, when the process has to stop.
	transactions sync.WaitGroup
	// slots holds, per object, the slot that it has or waits for: the object may vanish meanwhile.
	slots sync.Map
	// waiting holds, per object, the version of it that has found no free slot.
	waiting sync.Map
	// trying holds, per object, the trial of an address that it is in: the object may vanish meanwhile.
	trying sync.Map
	// untried holds, per object, the password that is committed, or may be, until a login with it has succeeded.
	untried sync.Map
}

// +kubebuilder:rbac:groups=credentials.systemprompt.io,resources=tenantcredentials,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=credentials.systemprompt.io,resources=tenantcredentials/status,verbs=get;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

const (
	// rollingPeriod is how soon a roll-out is looked at again: as often as Fly's rates allow. slotPeriod is how soon a rotation that waits
	// for a free slot is.
	rollingPeriod = time.Second
	slotPeriod    = 500 * time.Millisecond
	// canaryPeriod is how soon it is looked again whether another tenant has proved a changed address.
	canaryPeriod = 10 * time.Second
	// sweepPeriod is how soon sessions of before are looked for again, where nothing else is left to do.
	sweepPeriod = 5 * time.Second
	// deployPeriod is how soon the user's own deploy is noticed.
	deployPeriod = 15 * time.Second
	// restingPeriod is how often an object is looked at while nothing happens.
	restingPeriod = 30 * time.Minute
	// passTimeout bounds one pass; the longest step of one is a look at all Machines. apiTimeout bounds a call of the API server.
	passTimeout = 90 * time.Second
	apiTimeout  = 15 * time.Second
)

// errLater ends a pass whose rotation may not begin yet: it waits for a free slot, its retry time, or a look at the environment.
var errLater = errors.New("later")

// Reconcile makes one pass: each step either fills in its part of the scope or names the obstacle that ends the pass.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s, err := r.begin(ctx, req)
	if s == nil || err != nil {
		return ctrl.Result{}, err
	}
	steps := []func(context.Context, *scope) error{
		r.findEnvironment,
		r.checkNamespace,
		r.connect,
		r.awaitTurn,
		r.observePostgres,
		r.admit,
		r.endExternalAccess,
		r.checkTenant,
		r.claim,
		r.settleExternalAccess,
		r.endSessions,
		r.settleSecret,
		r.observeFly,
		r.decide,
		r.rotate,
		r.rollOut,
		r.tellExternalTrouble,
	}
	for _, step := range steps {
		if err = step(ctx, s); err != nil {
			break
		}
	}
	if errors.Is(err, errLater) {
		return r.wait(ctx, s)
	}
	if err != nil && !errors.As(err, &s.obstacle) {
		return ctrl.Result{}, err
	}
	if s.restsInOutage() {
		return r.standBy(ctx, s)
	}
	return r.end(ctx, s)
}

// begin reads the object. There is nothing to do for one that is gone, or going without a rotation to finish.
func (r *Reconciler) begin(ctx context.Context, req ctrl.Request) (*scope, error) {
	var object v1alpha1.TenantCredential
	if err := r.Client.Get(ctx, req.NamespacedName, &object); err != nil {
		if apierrors.IsNotFound(err) {
			r.releaseSlot(req.NamespacedName)
			r.leaveCanary(req.NamespacedName)
			r.waiting.Delete(req.NamespacedName)
			r.untried.Delete(req.NamespacedName)
		}
		return nil, client.IgnoreNotFound(err)
	}
	s := &scope{object: &object, before: object.DeepCopy(), now: time.Now(), cluster: r.Cluster, untried: r.untriedOf(&object)}
	if s.deleted() && !hasFinalizer(&object) {
		return nil, nil
	}
	return s, nil
}

// wait says that a rotation is due, so that nobody takes the tenant for done, and comes again. Where an attempt has failed, what was
// said of it stands.
func (r *Reconciler) wait(ctx context.Context, s *scope) (ctrl.Result, error) {
	if s.tenant != nil && s.before.Status.Failure == nil {
		report(s, r.Namespace)
		s.audit(ctx)
		if err := r.patchStatus(ctx, s); err != nil {
			return ctrl.Result{}, err
		}
		r.announceExternalAccess(s)
	}
	return ctrl.Result{RequeueAfter: s.later()}, nil
}

// end reports, lets go of what is done, and says when to look again. Status comes last: whoever waits for Ready finds nothing moving.
func (r *Reconciler) end(ctx context.Context, s *scope) (ctrl.Result, error) {
	r.giveSlotBack(s)
	r.forgetPassword(s)
	s.doubtEnvironment()
	report(s, r.Namespace)
	s.audit(ctx)
	s.remember(ctx)
	if err := r.releaseFinalizer(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.patchStatus(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	r.announce(s)
	ctrl.LoggerFrom(ctx).V(1).Info("Looked", "step", s.decision.Step, "cause", s.decision.Cause, "ready", reasonOf(&s.object.Status))
	return ctrl.Result{RequeueAfter: s.nextLook()}, nil
}

// WaitForTransactions returns when no transaction is under way. Call it before the process ends: the stretch from the Fly call to
// COMMIT runs on when the lease is lost or a stop is asked for.
func (r *Reconciler) WaitForTransactions() { r.transactions.Wait() }
