package tenantcredential

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// claim makes sure that this object holds the tenant. A claim outlives its object: one that was deleted and made again takes its
// predecessor's over, with all that has been done, and rotates nothing. The claim of another cluster is taken over if the environment,
// which the platform team writes, says so; what the object says of itself has no part in it.
func (r *Reconciler) claim(ctx context.Context, s *scope) error {
	if s.held() {
		return nil
	}
	held := s.tenant.Claim
	if s.deleted() {
		return readyObstacle(failure.Stall, v1alpha1.ReasonOwnershipConflict, "Another object holds the tenant by now")
	}
	adoption := postgres.Adoption{
		TenantID: s.id(), UID: s.uid(), Cluster: r.Cluster,
		Environment: s.environment.Name, Namespace: s.object.Namespace, Name: s.object.Name,
		TakeOverFrom: s.environment.Annotations[v1alpha1.TakeOverFromAnnotation],
	}
	if err := r.stillBound(ctx, s); err != nil {
		return err
	}
	if held != nil && held.Cluster == r.Cluster {
		gone, err := r.holderIsGone(ctx, held)
		if err != nil {
			return err
		}
		if gone {
			adoption.ReplacesUID = held.UID
		}
	}
	if _, err := s.connection.Postgres.Adopt(ctx, adoption); err != nil {
		return postgresObstacle(err)
	}
	if err := r.observeAgain(ctx, s, 0); err != nil {
		return err
	}
	if !s.held() {
		return readyObstacle(failure.Stall, v1alpha1.ReasonOwnershipConflict, "Another object has claimed the tenant at the same moment")
	}
	return nil
}

// observeAgain reads what this pass has changed. A failover in between may have lost it: the claim, or the revision that was committed.
func (r *Reconciler) observeAgain(ctx context.Context, s *scope, committed int64) error {
	if err := r.observePostgres(ctx, s); err != nil {
		return err
	}
	if err := r.checkTenant(ctx, s); err != nil {
		return err
	}
	if s.tenant.Claim == nil || committed > 0 && (s.tenant.Last == nil || s.tenant.Last.Revision < committed) {
		return postgresObstacle(failure.New(failure.Retry, failure.Superseded, "PostgreSQL does not know any more what was just done"))
	}
	return nil
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

func hasFinalizer(object *v1alpha1.TenantCredential) bool {
	return controllerutil.ContainsFinalizer(object, v1alpha1.Finalizer)
}

// ensureFinalizer keeps the object from vanishing while a rotation is half done.
func (r *Reconciler) ensureFinalizer(ctx context.Context, s *scope) error {
	if hasFinalizer(s.object) {
		return nil
	}
	return r.patchFinalizers(ctx, s, func(o *v1alpha1.TenantCredential) { controllerutil.AddFinalizer(o, v1alpha1.Finalizer) })
}

// releaseFinalizer lets the object go once nothing of its own is unfinished. The ledger knows what is: a finalizer that an editor has
// written by hand gives no rights, and ends nothing of another holder's.
func (r *Reconciler) releaseFinalizer(ctx context.Context, s *scope) error {
	if !hasFinalizer(s.object) || !s.mayLetGo() {
		return nil
	}
	if s.tenant != nil && s.held() && s.tenant.Open != nil {
		if err := r.discard(ctx, s); err != nil {
			return err
		}
	}
	return r.patchFinalizers(ctx, s, func(o *v1alpha1.TenantCredential) { controllerutil.RemoveFinalizer(o, v1alpha1.Finalizer) })
}

// mayLetGo says that no rotation of this object is left to be finished, or that the tenant, or its app, is gone: then no app is left to be
// locked out, or to receive a password. An object that stays keeps the finalizer while it may be the only witness of an attempt that the
// ledger has lost.
func (s *scope) mayLetGo() bool {
	switch {
	case s.tenant == nil:
		return s.shutOut && s.deleted()
	case !s.held():
		return s.tenant.Claim != nil || s.deleted()
	case unfinished(s.tenant):
		return s.deleted() && s.nobodyLeft()
	default:
		return s.deleted() || s.decision.Step != "" && !s.lost(s.tenant)
	}
}

// discard gives up the attempt that is open.
func (r *Reconciler) discard(ctx context.Context, s *scope) error {
	if err := s.connection.Postgres.Discard(ctx, s.id(), s.uid(), s.tenant.Open.Revision); err != nil {
		return err
	}
	s.record(ctx, transition{result: "discarded", rotation: *s.tenant.Open})
	s.tenant.Open = nil
	return nil
}

func (s *scope) nobodyLeft() bool {
	if s.intoNowhere() {
		return true
	}
	if s.obstacle == nil {
		return false
	}
	switch s.obstacle.failure.Reason {
	case failure.TenantNotFound, failure.RoleNotFound, failure.FlyAppNotFound, failure.OwnershipConflict:
		return true
	}
	return false
}

// patchFinalizers changes the metadata alone and refuses to write over somebody else's change.
func (r *Reconciler) patchFinalizers(ctx context.Context, s *scope, change func(*v1alpha1.TenantCredential)) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	changed := s.object.DeepCopy()
	change(changed)
	base := client.MergeFromWithOptions(s.object.DeepCopy(), client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, changed, base); err != nil {
		return client.IgnoreNotFound(err)
	}
	s.object.ObjectMeta, s.before.ObjectMeta = changed.ObjectMeta, *changed.ObjectMeta.DeepCopy()
	return nil
}
