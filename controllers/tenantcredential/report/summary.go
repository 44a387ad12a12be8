package report

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// summary is Ready, and Reconciling or Stalled beside it where it is not True. What its owner has suspended neither goes on nor has failed.
func (w words) summary() (ready metav1.Condition, beside *metav1.Condition) {
	switch {
	case w.obstacle != nil:
		return w.atStandstill()
	case w.tenant == nil: // a pass that has ended before it saw anything leaves the status as it is
		return w.before(v1alpha1.ReadyCondition), nil
	case pass.EndsExternalAccess(w.In, w.tenant):
		return progressing(reasons.Disabling, w.disablingAccess())
	}
	switch w.State.Phase {
	case rotation.Waiting:
		if w.State.Wait == rotation.ForResume {
			return condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, reasons.Suspended, w.suspended()), nil
		}
		return progressing(reasons.Rotating, w.next())
	case rotation.Attempting, rotation.Abandoning:
		return progressing(reasons.Rotating, w.next())
	case rotation.RollingOut, rotation.AwaitingDeploy, rotation.Retiring, rotation.EndingSessions, rotation.Completing:
		if w.moved() {
			return progressing(reasons.Retiring, w.leaving())
		}
		return progressing(reasons.RollingOut, w.rolling())
	default:
		return w.atRest()
	}
}

// atRest is said where nothing is to be done: what another client has changed, and what its owner has to do, comes first.
func (w words) atRest() (ready metav1.Condition, beside *metav1.Condition) {
	switch {
	case w.State.Drift != "":
		return stalled(reasons.DriftDetected, w.drifted())
	case pass.SecretNotDelivered(w.In, w.seen):
		return stalled(reasons.SecretNotDelivered, w.notDelivered())
	case pass.AsksInVain(w.In):
		return stalled(reasons.NotOffered, w.accessNotOffered())
	case pass.WantsExternalAccess(w.In) && w.In.ExternalProblem != "":
		return stalled(reasons.NotEnforced, w.In.ExternalProblem)
	case w.tenant.Last == nil:
		return condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, reasons.Adopted, w.adopted()), nil
	default:
		return condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, reasons.Rotated, w.rotated()), nil
	}
}

// drifted is said of what another client has changed.
func (w words) drifted() string {
	switch w.State.Drift {
	case rotation.DriftedHash:
		return w.hashSynced().Message
	case rotation.DriftedFlySecret:
		return w.flySecretSynced().Message
	case rotation.DriftedConnectionSecret:
		return w.connectionSecretSynced().Message
	default:
		return w.postgresSynced().Message
	}
}

func progressing(reason, message string) (ready metav1.Condition, beside *metav1.Condition) {
	return notReady(v1alpha1.ReconcilingCondition, reasons.Progressing, reason, message)
}

func stalled(reason, message string) (ready metav1.Condition, beside *metav1.Condition) {
	return notReady(v1alpha1.StalledCondition, reason, reason, message)
}

func notReady(kind, readyReason, reason, message string) (ready metav1.Condition, beside *metav1.Condition) {
	next := condition(kind, metav1.ConditionTrue, reason, message)
	return condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, readyReason, message), &next
}
