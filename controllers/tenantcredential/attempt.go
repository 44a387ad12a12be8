package tenantcredential

import (
	"context"
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// attempt carries out one attempt, from the open row to the commit. The pass ends with it where there are Machines to move: its report comes first, so
// that no status says Ready meanwhile.
func (r *Reconciler) attempt(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, bool, error) {
	out, err := r.mayStart(ctx, e, in, out)
	if err != nil {
		return out, false, err
	}
	out.Attempt = pass.Attempt{Made: true, Cause: pass.Assess(in, out).Cause} // as it was before anything changed
	for _, next := range []step{probeFly, r.ensureFinalizer, r.open} {
		if out, err = next(ctx, e, in, out); err != nil {
			return out, false, err
		}
	}
	if out, err = r.renew(ctx, e, in, out); err != nil {
		return r.giveUp(ctx, e, in, out, err), false, err
	}
	return nothingToMove(ctx, e, in, out)
}

// nothingToMove says that no Machine has to be moved, as the app has none: it had none before, and none that was made meanwhile.
func nothingToMove(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, bool, error) {
	if !pass.ToFly(in) {
		return out, true, nil
	}
	if out.Attempt.Before.Total > 0 {
		return out, false, nil
	}
	made, err := e.Fly.Instances(ctx, appOf(out.Seen))
	if err != nil {
		return out, false, pass.AtMachines(err)
	}
	if len(made) > 0 {
		return out, false, nil
	}
	out.Seen.Machines = &fly.Progress{}
	return out, true, nil
}

// renew sets a new password and has it delivered.
func (r *Reconciler) renew(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	out, err := r.closeLogins(ctx, e, in, out)
	if err != nil {
		return out, err
	}
	next, err := newPassword(out.Seen.Tenant.Login)
	if err != nil {
		return out, err
	}
	if pass.Facts(in, out.Seen).Overlaps() {
		return r.overlap(ctx, e, in, out, next)
	}
	if out, err = r.commit(ctx, e, in, out, next); err != nil {
		return out, err
	}
	return r.proveLogin(ctx, e, in, out)
}

// mayStart says why an attempt may not begin, or not now. Without an error it may, has a slot, and its environment stays.
func (r *Reconciler) mayStart(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if err := checkPause(e, in, out.Seen); err != nil {
		return out, err
	}
	if err := checkSecondLogin(in, out.Seen); err != nil {
		return out, err
	}
	if !r.acquireAddress(e, in, out) {
		return out, later(rotation.ForAddress)
	}
	if !r.acquireSlot(e, in, out.Seen) {
		return out, later(rotation.ForSlot)
	}
	if err := r.readLive(ctx, in, out.Seen); err != nil {
		return out, err
	}
	return out, r.holdEnvironment(ctx, e, in, out.Seen)
}

// checkPause keeps a rotation from starting until it is acknowledged what an environment's server is: restored from a backup it has
// lost the passwords of many tenants, and only the user can know whether it is there to stay. What was begun on a ledger that has lost
// nothing is carried through all the same.
func checkPause(e *Environment, in pass.Input, seen pass.Observed) error {
	regressed := pass.Regressed(in, seen.Tenant)
	if regressed && !e.Pause.Counted(pass.ID(in)) {
		e.Doubt()
		return later(rotation.ForLook)
	}
	if !e.Pause.Paused() || seen.Tenant.Unfinished() && !regressed {
		return nil
	}
	return pass.InKubernetes(failure.Stall, reasons.RotationsPaused, environmentSays(in, v1alpha1.RotationsPausedCondition, metav1.ConditionTrue))
}

// checkSecondLogin keeps a rotation that needs a second login from being opened where there is none.
func checkSecondLogin(in pass.Input, seen pass.Observed) error {
	if seen.Tenant.SecondViolation == "" || !pass.Facts(in, seen).Overlaps() {
		return nil
	}
	return pass.AtPostgres(failure.New(failure.Stall, reasons.RoleNotAllowed, seen.Tenant.SecondViolation))
}

// readLive makes sure that the attempt answers what is asked for now: the cache may lag behind, and spec.suspend, or the loss of the
// namespace's binding, may be in what it has not seen. The write that adds the finalizer is refused where the cache lags, so that without one yet the object
// need not be read.
func (r *Reconciler) readLive(ctx context.Context, in pass.Input, seen pass.Observed) error {
	if !seen.Begun {
		return r.boundLately(ctx, in)
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var live v1alpha1.TenantCredential
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(in.Object), &live); err != nil {
		return err
	}
	if live.UID != in.Object.UID || live.Generation != in.Object.Generation {
		return later(rotation.ForLook)
	}
	return r.stillBound(ctx, in)
}

// probeFly looks at the Machines before anything changes. Processes that do not see the new value would be locked out sooner or later; only
// after a compromise that is no reason to keep the password.
func probeFly(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if !pass.ToFly(in) {
		return out, nil
	}
	found, err := e.Fly.Probe(ctx, out.Seen.Fly.App, variable(in))
	out.Attempt.Before = &found
	if err == nil && found.Hidden != "" && !in.Object.FlyDelivery().AcceptHidden && !out.Seen.Tenant.Unfinished() && !pass.Facts(in, out.Seen).Closes() {
		err = failure.New(failure.Stall, reasons.SecretHidden, found.Hidden)
	}
	return out, pass.AtMachines(err)
}

// open records the intent, without any secret: a crash from here on cannot be forgotten. An open row is used as it is, and not asked
// for again: were it committed by now, asking would open another one.
func (r *Reconciler) open(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	tenant := out.Seen.Tenant
	if tenant.Open != nil {
		return out, nil
	}
	opening := postgres.Opening{
		TenantID:   pass.ID(in),
		UID:        pass.UID(in),
		Generation: in.Object.AskedGeneration(),
		Cause:      string(out.Attempt.Cause),
		Above:      in.Object.Status.Revision,

		StatedManager: statedManager(in.Object, "f:rotationGeneration"),
	}
	if request := pass.Request(in); pass.Facts(in, out.Seen).RequestDue() {
		opening.Reason, opening.RequestedBy, opening.RequestID = request.Reason, request.RequestedBy, request.ID
		opening.StatedManager = statedManager(in.Object, "f:rotationRequest")
	}
	if tenant.Last != nil {
		opening.After = tenant.Last.Revision
	}
	row, err := e.Postgres.OpenRotation(ctx, opening)
	if err != nil {
		return out, pass.AtPostgres(err)
	}
	out.Seen = pass.WithOpen(out.Seen, &row)
	if row.Made {
		out.Attempt.Opened = row.Revision
	}
	return out, nil
}

// giveUp takes back an attempt that this pass has begun and that was refused for sure, before Fly or anything else had the password: what has
// changed nothing need not be carried on, once it is not asked for any more. A process that ends before that leaves it open.
func (r *Reconciler) giveUp(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome, refused error) pass.Outcome {
	open := out.Seen.Tenant.Open
	if out.Attempt.Opened == 0 || out.Attempt.Told || !definite(refused) || open == nil || open.Revision != out.Attempt.Opened || out.Seen.Tenant.LoginsClosed() {
		return out
	}
	err := r.removeStaged(ctx, in, open)
	if err == nil {
		out, err = r.discard(ctx, e, in, out)
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("An attempt that was refused stays open", "error", err.Error())
	}
	return out
}

// definite says that an attempt was refused, and not merely kept from being made.
func definite(err error) bool {
	o := pass.AsObstacle(err)
	if o == nil || o.Failure.Class == failure.Unknown {
		return false
	}
	return !pass.TraitsOf(o).Unmade
}

// discard gives up the attempt that is open.
func (r *Reconciler) discard(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	open := out.Seen.Tenant.Open
	if err := e.Postgres.Discard(ctx, pass.ID(in), pass.UID(in), open.Revision); err != nil {
		return out, err
	}
	record(ctx, in, transition{result: "discarded", rotation: *open})
	out.Seen = pass.WithOpen(out.Seen, nil)
	return out, nil
}

// statedManager is the field manager that wrote a field of spec last, for the ledger; "" where the field was never written. It is the
// writer's own word: kubectl sends what --field-manager says.
func statedManager(object *v1alpha1.TenantCredential, field string) string {
	manager, newest := "", time.Time{}
	for _, entry := range object.ManagedFields {
		if entry.FieldsV1 == nil || entry.Subresource != "" || entry.Time == nil || entry.Time.Time.Before(newest) {
			continue
		}
		var fields struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil || fields.Spec[field] == nil {
			continue
		}
		manager, newest = entry.Manager, entry.Time.Time
	}
	return manager
}
