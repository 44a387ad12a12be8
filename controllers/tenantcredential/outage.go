package tenantcredential

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// restsInOutage says that the environment could not be asked about the tenant, and that nothing was to be done for this very spec when it was last
// seen. Its status then stands as it is: an outage, or a restart of the operator, would otherwise write to every object of the environment,
// and have each pipeline that waits for one of them wait for the environment. What is wrong stands in the environment's own status.
func (s *scope) restsInOutage() bool {
	if s.obstacle == nil || s.tenant != nil || !s.environmentFailed() || s.deleted() || hasFinalizer(s.object) {
		return false
	}
	ready := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ReadyCondition)
	return s.externalAccessStands() && ready != nil && ready.ObservedGeneration == s.object.Generation && (ready.Status == metav1.ConditionTrue || waitsForItsOwner(ready.Reason))
}

// waitsForItsOwner says that an object is not Ready for this reason until its owner does something, and that the operator does nothing meanwhile.
func waitsForItsOwner(reason string) bool {
	switch reason {
	case v1alpha1.ReasonSuspended, v1alpha1.ReasonDriftDetected, v1alpha1.ReasonSecretNotDelivered, v1alpha1.ReasonNotOffered, v1alpha1.ReasonNotEnforced:
		return true
	}
	return false
}

// environmentFailed says that the obstacle is the environment's, and no fault of the tenant's.
func (s *scope) environmentFailed() bool {
	if s.obstacle.condition != v1alpha1.PostgresSyncedCondition {
		return false
	}
	switch s.obstacle.failure.Reason {
	case v1alpha1.ReasonEnvironmentNotReady, failure.AuthenticationFailed, failure.PermissionDenied, failure.LedgerOutdated, failure.Busy:
		return true
	}
	return s.obstacle.failure.Reason.Unreachable()
}

// standBy comes again when the environment can be used, which its own controller tells. An environment that can be used, and did not answer about
// this tenant, is asked again after a while.
func (r *Reconciler) standBy(ctx context.Context, s *scope) (ctrl.Result, error) {
	r.giveSlotBack(s)
	s.doubtEnvironment()
	ctrl.LoggerFrom(ctx).V(1).Info("Looked", "obstacle", s.obstacle.failure.Reason, "ready", reasonOf(&s.object.Status))
	if s.connection == nil {
		return ctrl.Result{RequeueAfter: wait.Jitter(restingPeriod, 0.2)}, nil
	}
	return ctrl.Result{RequeueAfter: wait.Jitter(rotation.LongestLook, 0.5)}, nil
}
