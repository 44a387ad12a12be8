package tenantcredential

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// claim makes sure that this object holds the tenant. A claim outlives its object: one that was deleted and made again takes its
// predecessor's over, with all that has been done, and rotates nothing. The claim of another cluster is taken over if the environment,
// which the platform team writes, says so; what the object says of itself has no part in it.
func (r *Reconciler) claim(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if pass.Held(in, out.Seen) {
		return out, nil
	}
	if pass.Deleted(in) {
		return out, pass.InKubernetes(failure.Stall, reasons.OwnershipConflict, "Another object holds the tenant now")
	}
	if err := r.stillBound(ctx, in); err != nil {
		return out, err
	}
	adoption, err := r.adoption(ctx, in, out.Seen.Tenant.Claim)
	if err != nil {
		return out, err
	}
	left, err := e.Postgres.Adopt(ctx, adoption)
	if err != nil {
		return out, pass.AtPostgres(err)
	}
	out.Seen = pass.WithTenant(out.Seen, left)
	if err := checkTenant(in, out.Seen); err != nil {
		return out, err
	}
	if !pass.Held(in, out.Seen) {
		return out, pass.InKubernetes(failure.Stall, reasons.OwnershipConflict, "Another object claimed the tenant at the same moment")
	}
	return out, nil
}

func (r *Reconciler) adoption(ctx context.Context, in pass.Input, held *postgres.Claim) (postgres.Adoption, error) {
	adoption := postgres.Adoption{
		TenantID: pass.ID(in), UID: pass.UID(in), Cluster: r.Cluster,
		Environment: in.Environment.Name, Namespace: in.Object.Namespace, Name: in.Object.Name,
		TakeOverFrom: in.Environment.Annotations[v1alpha1.TakeOverFromAnnotation],
	}
	if held == nil || held.Cluster != r.Cluster {
		return adoption, nil
	}
	gone, err := r.holderIsGone(ctx, held)
	if gone {
		adoption.ReplacesUID = held.UID
	}
	return adoption, err
}

// holderIsGone asks the API server itself: the cache may not have seen the holder yet, or not any more.
func (r *Reconciler) holderIsGone(ctx context.Context, held *postgres.Claim) (bool, error) {
	var holder v1alpha1.TenantCredential
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: held.Namespace, Name: held.Name}, &holder)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the TenantCredential %s/%s that holds the tenant: %w", held.Namespace, held.Name, err)
	}
	return string(holder.UID) != held.UID, nil
}

// ensureFinalizer keeps the object from vanishing while a rotation is half done. It is refused where the cache has not seen the object's last change.
func (r *Reconciler) ensureFinalizer(ctx context.Context, _ *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if out.Seen.Begun {
		return out, nil
	}
	out, err := r.patchFinalizer(ctx, in, out, true)
	if err == nil && !out.Seen.Begun { // it is gone
		return out, later(rotation.ForLook)
	}
	return out, err
}

// removeFinalizer lets the object go once nothing of its own is unfinished. The ledger knows what is: a finalizer that an editor has
// written by hand gives no rights, and ends nothing of another holder's.
func (r *Reconciler) removeFinalizer(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if !out.Seen.Begun || !mayLetGo(in, out) {
		return out, nil
	}
	if pass.Held(in, out.Seen) && out.Seen.Tenant.Open != nil {
		var err error
		if out, err = r.discard(ctx, e, in, out); err != nil {
			return out, err
		}
	}
	return r.patchFinalizer(ctx, in, out, false)
}

// mayLetGo says that no rotation of this object is left to be finished, or that the tenant, or its app, is gone: then no app is left to be
// locked out, or to receive a password. An object that stays keeps the finalizer while it may be the only witness of an attempt that the
// ledger has lost.
func mayLetGo(in pass.Input, out pass.Outcome) bool {
	tenant := out.Seen.Tenant
	switch {
	case tenant == nil:
		return out.Seen.ShutOut && pass.Deleted(in)
	case !pass.Held(in, out.Seen):
		return tenant.Claim != nil || pass.Deleted(in)
	case tenant.Unfinished():
		return pass.Deleted(in) && nothingLeft(in, out)
	default:
		return pass.Deleted(in) || out.Seen.Whole && !pass.Lost(in, out.Seen)
	}
}

// nothingLeft says that nothing is left that could receive a password.
func nothingLeft(in pass.Input, out pass.Outcome) bool {
	return pass.Assess(in, out).Phase == rotation.Abandoning || pass.TraitsOf(out.Obstacle).Gone
}

// patchFinalizer changes the metadata alone and refuses to write over another client's change.
func (r *Reconciler) patchFinalizer(ctx context.Context, in pass.Input, out pass.Outcome, present bool) (pass.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	before := current(in, out.Seen)
	after := before.DeepCopy()
	if present {
		controllerutil.AddFinalizer(after, v1alpha1.Finalizer)
	} else {
		controllerutil.RemoveFinalizer(after, v1alpha1.Finalizer)
	}
	if err := r.Client.Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return out, client.IgnoreNotFound(err)
	}
	out.Seen.Begun, out.Seen.ResourceVersion = present, after.ResourceVersion
	return out, nil
}

// current is the object as this pass has left it.
func current(in pass.Input, seen pass.Observed) *v1alpha1.TenantCredential {
	object := in.Object.DeepCopy()
	if seen.ResourceVersion != "" {
		object.ResourceVersion = seen.ResourceVersion
	}
	if seen.Begun {
		controllerutil.AddFinalizer(object, v1alpha1.Finalizer)
	} else {
		controllerutil.RemoveFinalizer(object, v1alpha1.Finalizer)
	}
	return object
}
