package report

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
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
	return w.externalAccessStands() && ready != nil && ready.ObservedGeneration == w.object.Generation && (ready.Status == metav1.ConditionTrue || pass.AwaitsOwner(ready.Reason))
}

// environmentFailed says that the obstacle is the environment's, and no fault of the tenant's.
func (w words) environmentFailed() bool {
	return w.obstacle.At == v1alpha1.PostgresSyncedCondition && pass.TraitsOf(w.obstacle).OfEnvironment
}

// externalAccessStands says that nothing was to be done about external access when it was last seen.
func (w words) externalAccessStands() bool {
	shown := meta.FindStatusCondition(w.object.Status.Conditions, v1alpha1.ExternalAccessCondition)
	switch {
	case w.environment == nil:
		return true
	case pass.WantsExternalAccess(w.In):
		return shown != nil && (shown.Reason == reasons.Enabled || shown.Reason == reasons.NotEnforced)
	default:
		return shown == nil || shown.Reason == reasons.Disabled || shown.Reason == reasons.NotOffered
	}
}
