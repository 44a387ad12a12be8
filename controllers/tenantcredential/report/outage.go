package report

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// restsInOutage says that the environment could not be asked about the tenant, and that nothing was to be done for this very spec when it was last
// seen. Its status then stands as it is: an outage, or a restart of the operator, would otherwise write to every object of the environment,
// and have each pipeline that waits for one of them wait for the environment. What is wrong stands in the environment's own status.
func (w words) restsInOutage() bool {
	if w.obstacle == nil || w.tenant != nil || !w.environmentFailed() || pass.Deleted(w.In) || w.seen.Begun {
		return false
	}
	ready := w.readyBefore()
	return w.externalAccessStands() && ready != nil && ready.ObservedGeneration == w.object.Generation && (ready.Status == metav1.ConditionTrue || waitsForItsOwner(ready.Reason))
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
func (w words) environmentFailed() bool {
	if w.obstacle.At != v1alpha1.PostgresSyncedCondition {
		return false
	}
	switch w.obstacle.Failure.Reason {
	case v1alpha1.ReasonEnvironmentNotReady, failure.AuthenticationFailed, failure.PermissionDenied, failure.LedgerOutdated, failure.Busy:
		return true
	}
	return w.obstacle.Failure.Reason.Unreachable()
}

// externalAccessStands says that nothing was to be done about the access from outside when it was last seen.
func (w words) externalAccessStands() bool {
	shown := meta.FindStatusCondition(w.object.Status.Conditions, v1alpha1.ExternalAccessCondition)
	switch {
	case w.environment == nil:
		return true
	case pass.WantsExternalAccess(w.In):
		return shown != nil && (shown.Reason == v1alpha1.ReasonEnabled || shown.Reason == v1alpha1.ReasonNotEnforced)
	default:
		return shown == nil || shown.Reason == v1alpha1.ReasonDisabled || shown.Reason == v1alpha1.ReasonNotOffered
	}
}
