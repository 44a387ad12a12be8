package tenantcredential

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// holdEnvironment keeps the environment from vanishing while a rotation is half done. It asks the API server itself, with a slot in hand: while
// one is held the finalizer is not taken off, and the cache may not have seen that it was taken off before, or that the environment is being
// deleted.
func (r *Reconciler) holdEnvironment(ctx context.Context, s *scope) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var live v1alpha1.TenantEnvironment
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(s.environment), &live); err != nil {
		return laterIf(apierrors.IsNotFound(err), err)
	}
	switch {
	case !live.DeletionTimestamp.IsZero() && !s.begun():
		return readyObstacle(failure.Wait, v1alpha1.ReasonEnvironmentTerminating, "")
	case !live.DeletionTimestamp.IsZero(), controllerutil.ContainsFinalizer(&live, v1alpha1.Finalizer):
		return nil
	}
	base := client.MergeFromWithOptions(live.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.AddFinalizer(&live, v1alpha1.Finalizer)
	err := r.Client.Patch(ctx, &live, base)
	return laterIf(apierrors.IsConflict(err) || apierrors.IsNotFound(err), err) // another tenant's rotation begins at the same moment
}

// laterIf is errLater where the error says that the next pass sees something else.
func laterIf(changed bool, err error) error {
	if changed {
		return errLater
	}
	return err
}

// begun says that something of the tenant is half done, so that an attempt now goes on with it and does not start anew.
func (s *scope) begun() bool {
	return unfinished(s.tenant) || s.lost(s.tenant) || s.behind(s.tenant)
}
