package tenantcredential

import (
	"context"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/report"
)

// conclude is the one way out of a pass: it lets go of what is done, reports, and says when to look again. The status comes last but for the events: whoever
// waits for Ready finds nothing moving. An error of the API server's ends the pass without a report; the queue tries again.
func (r *Reconciler) conclude(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome, err error) (ctrl.Result, error) {
	out, err = ended(out, err)
	if err != nil {
		return ctrl.Result{}, err
	}
	in = pass.UnboundBy(in, out.Obstacle)
	state := pass.Assess(in, out)
	transient := report.Transient(out, state)
	r.settleSlot(in, out, state)
	if !transient {
		r.settleCanary(in, out)
		r.forgetPassword(in, out.Seen)
		doubt(e, out.Obstacle)
	}
	said := report.Report(report.Pass{In: in, Out: out, State: state, Namespace: r.Namespace, Ended: time.Now(), Spread: rand.Float64()}) //nolint:gosec // spreads retries, guards nothing
	if !said.Stands {
		audit(ctx, in, out)
	}
	if !transient && !said.Stands {
		if out, err = r.removeFinalizer(ctx, e, in, out); err != nil {
			return ctrl.Result{}, err
		}
	}
	if err := r.patchStatus(ctx, in, out.Seen, said.Status); err != nil {
		return ctrl.Result{}, err
	}
	for _, event := range said.Events {
		r.Events.Eventf(in.Object, nil, event.Type, event.Reason, event.Action, "%s", event.Note)
	}
	logPass(ctx, out, state, &said)
	return ctrl.Result{RequeueAfter: said.Next}, nil
}

// ended takes over how the last step of a pass ended. What is left is an error of the API server's.
func ended(out pass.Outcome, err error) (pass.Outcome, error) {
	wait, waits := asLater(err)
	switch o := pass.AsObstacle(err); {
	case waits:
		out.Wait = wait
	case o != nil:
		out.Obstacle = o
	default:
		return out, err
	}
	return out, nil
}

// doubt has the environment looked at where its server did not answer, so that one look stands for all its tenants.
func doubt(e *Environment, o *pass.Obstacle) {
	if e != nil && o != nil && o.At == v1alpha1.PostgresSyncedCondition && pass.TraitsOf(o).Unreached {
		e.Doubt()
	}
}

func logPass(ctx context.Context, out pass.Outcome, state rotation.State, said *report.Result) {
	log := ctrl.LoggerFrom(ctx)
	if o, failed := out.Obstacle, said.Status.Failure; o != nil && failed != nil && !said.Stands {
		log.Info("Could not continue", "reason", o.Failure.Reason, "class", o.Failure.Class, "detail", o.Failure.Detail,
			"attempts", failed.Attempts, "retryTime", failed.RetryTime.Time)
	}
	var obstacle failure.Reason
	if out.Obstacle != nil {
		obstacle = out.Obstacle.Failure.Reason
	}
	log.V(1).Info("Looked", "phase", state.Phase, "cause", state.Cause, "wait", state.Wait, "obstacle", obstacle, "next", said.Next)
}

// patchStatus writes the status if it changed: an object that is applied again unchanged costs no write.
func (r *Reconciler) patchStatus(ctx context.Context, in pass.Input, seen pass.Observed, status v1alpha1.TenantCredentialStatus) error {
	if equality.Semantic.DeepEqual(in.Object.Status, status) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	before := current(in, seen)
	err := r.writeStatus(ctx, before, status)
	if apierrors.IsConflict(err) {
		if before.ResourceVersion = r.onlyOthersChanged(ctx, in); before.ResourceVersion != "" {
			err = r.writeStatus(ctx, before, status)
		}
	}
	return client.IgnoreNotFound(err)
}

// writeStatus refuses to write over what this pass has not read: the report of a leader that was deposed meanwhile may land after the last
// one of its successor, and would stand.
func (r *Reconciler) writeStatus(ctx context.Context, before *v1alpha1.TenantCredential, status v1alpha1.TenantCredentialStatus) error {
	after := before.DeepCopy()
	after.Status = status
	return r.Client.Status().Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// onlyOthersChanged is the object's present version, if it has changed since, and not its status: what this pass has seen is still to be said, as no other
// process can say that a login was refused. "" = it may not be written over.
func (r *Reconciler) onlyOthersChanged(ctx context.Context, in pass.Input) string {
	var live v1alpha1.TenantCredential
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(in.Object), &live); err != nil {
		return ""
	}
	if live.UID != in.Object.UID || !equality.Semantic.DeepEqual(live.Status, in.Object.Status) {
		return ""
	}
	return live.ResourceVersion
}
