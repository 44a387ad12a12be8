package tenantcredential

import (
	"context"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// report turns what the pass knows into status. It is the only place that writes status.
func report(s *scope, namespace string) {
	status := &s.object.Status
	status.ObservedGeneration = s.object.Generation
	if s.held() {
		s.project(status)
	}
	kept := s.conditions(messages{s, namespace})
	for i := range status.Conditions {
		if present := meta.FindStatusCondition(kept, status.Conditions[i].Type); present != nil {
			present.LastTransitionTime = status.Conditions[i].LastTransitionTime
			if present.Status != status.Conditions[i].Status {
				present.LastTransitionTime = metav1.Time{}
			}
		}
	}
	for i := range kept {
		kept[i].ObservedGeneration = s.object.Generation
		if kept[i].LastTransitionTime.IsZero() {
			kept[i].LastTransitionTime = seconds(s.now)
		}
	}
	status.Conditions = kept
	status.Bound()
}

// project copies the durable facts from claim, ledger and roll-out. Where the ledger is behind the status, the status is what is left of
// the lost revisions: it stays until a newer one is committed.
func (s *scope) project(status *v1alpha1.TenantCredentialStatus) {
	status.Postgres = &v1alpha1.PostgresStatus{Role: s.tenant.Role, Database: s.tenant.Database, InternalURL: s.destination.PasswordlessURL(s.tenant.Login),
		ExternalURL: s.externalURL()}
	if s.behind(s.tenant) {
		return
	}
	status.RotationGeneration = s.tenant.Claim.Generation
	if last := s.tenant.Last; last != nil {
		status.Revision = last.Revision
		status.LastRotation = new(rotationStatus(last))
		status.History = history(s.tenant.Earlier)
	}
	status.Fly = s.projectFly(status)
}

// projectFly is nil where nothing is delivered to Fly.
func (s *scope) projectFly(status *v1alpha1.TenantCredentialStatus) *v1alpha1.FlyStatus {
	if !s.deliversToFly() {
		return nil
	}
	projected := &v1alpha1.FlyStatus{AppName: s.tenant.FlyApp}
	sameRotation := s.tenant.Last != nil && s.before.Status.Revision == s.tenant.Last.Revision
	if sameRotation && status.Fly != nil && status.Fly.AppName == projected.AppName {
		projected.Machines = status.Fly.Machines
	}
	switch {
	case s.progress != nil:
		projected.Machines = machines(s.progress)
	case !sameRotation && s.found != nil && rolling(s.tenant): // just committed
		projected.Machines = machines(s.found)
	}
	if last := s.tenant.Last; last != nil {
		projected.SecretVersion = strconv.FormatUint(last.FlyVersion, 10)
		projected.SecretDigest = last.FlyDigest
	}
	return projected
}

func machines(p *fly.Progress) *v1alpha1.MachinesStatus {
	return &v1alpha1.MachinesStatus{Total: int32(p.Total), Updated: int32(p.Updated), //nolint:gosec // an app has few Machines
		OnNextStart: int32(p.OnNextStart), Failed: int32(p.Failed)} //nolint:gosec // as above
}

func rotationStatus(r *postgres.Rotation) v1alpha1.RotationStatus {
	status := v1alpha1.RotationStatus{Revision: r.Revision, Cause: r.Cause, Reason: r.Reason, RequestedBy: r.RequestedBy, RequestID: r.RequestID,
		CommitTime: seconds(r.CommittedAt)}
	if r.State == postgres.StateCompleted {
		completed := seconds(r.CompletedAt)
		status.CompletionTime = &completed
	}
	return status
}

// history is nil where there was none, as the API server reads it back.
func history(earlier []postgres.Rotation) []v1alpha1.RotationStatus {
	var statuses []v1alpha1.RotationStatus
	for i := range earlier {
		statuses = append(statuses, rotationStatus(&earlier[i]))
	}
	return statuses
}

// seconds is what the API server keeps of a time; anything finer would make every pass look like a change.
func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }

// patchStatus writes the status if it changed: an object that is applied again unchanged costs no write.
func (r *Reconciler) patchStatus(ctx context.Context, s *scope) error {
	if equality.Semantic.DeepEqual(s.before.Status, s.object.Status) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	err := r.writeStatus(ctx, s)
	if apierrors.IsConflict(err) && r.onlyOthersChanged(ctx, s) {
		err = r.writeStatus(ctx, s)
	}
	return client.IgnoreNotFound(err)
}

// writeStatus refuses to write over what this pass has not read: the report of a leader that was deposed meanwhile may land after the last
// one of its successor, and would stand.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope) error {
	return r.Client.Status().Patch(ctx, s.object, client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{}))
}

// onlyOthersChanged says that the object has changed since, and not its status: what this pass has seen is still to be said, as nobody
// else can say that a login was refused.
func (r *Reconciler) onlyOthersChanged(ctx context.Context, s *scope) bool {
	var live v1alpha1.TenantCredential
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(s.object), &live); err != nil {
		return false
	}
	if live.UID != s.object.UID || !equality.Semantic.DeepEqual(live.Status, s.before.Status) {
		return false
	}
	s.before.ResourceVersion, s.object.ResourceVersion = live.ResourceVersion, live.ResourceVersion
	return true
}
