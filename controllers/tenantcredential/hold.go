package tenantcredential

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// holdEnvironment keeps the environment from vanishing while a rotation is half done. It asks the API server itself, with a slot in hand: while
// one is held the finalizer is not taken off, and the cache may not have seen that it was taken off before, or that the environment is being
// deleted. What it has answered stands as long as one slot or another has been held ever since.
func (r *Reconciler) holdEnvironment(ctx context.Context, e *Environment, in pass.Input, seen pass.Observed) error {
	if answered, is := r.environments.Load(in.Environment.UID); is && in.Environment.DeletionTimestamp.IsZero() && !answered.(time.Time).Before(e.Slots.HeldSince()) {
		return nil
	}
	asked := time.Now()
	if err := r.askEnvironment(ctx, in, seen); err != nil {
		return err
	}
	r.environments.Store(in.Environment.UID, asked)
	return nil
}

// askEnvironment makes sure that the environment has the finalizer.
func (r *Reconciler) askEnvironment(ctx context.Context, in pass.Input, seen pass.Observed) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var live v1alpha1.TenantEnvironment
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(in.Environment), &live); err != nil {
		return laterIf(apierrors.IsNotFound(err), err)
	}
	// What is half done goes on: this attempt then starts nothing anew.
	begun := seen.Tenant.Unfinished() || pass.Lost(in, seen) || pass.Regressed(in, seen.Tenant)
	switch {
	case !live.DeletionTimestamp.IsZero() && !begun:
		return pass.InKubernetes(failure.Wait, reasons.EnvironmentTerminating, "")
	case !live.DeletionTimestamp.IsZero(), controllerutil.ContainsFinalizer(&live, v1alpha1.Finalizer):
		return nil
	}
	base := client.MergeFromWithOptions(live.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.AddFinalizer(&live, v1alpha1.Finalizer)
	err := r.Client.Patch(ctx, &live, base)
	return laterIf(apierrors.IsConflict(err) || apierrors.IsNotFound(err), err) // another tenant's rotation begins at the same moment
}
