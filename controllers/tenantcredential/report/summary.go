package report

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		return progressing(v1alpha1.ReasonDisabling, w.disablingAccess())
	}
	switch w.State.Phase {
	case rotation.Waiting:
		if w.State.Wait == rotation.ForResume {
			return condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSuspended, w.suspended()), nil
		}
		return progressing(v1alpha1.ReasonRotating, w.next())
	case rotation.Attempting, rotation.Abandoning:
		return progressing(v1alpha1.ReasonRotating, w.next())
	case rotation.RollingOut, rotation.AwaitingDeploy, rotation.Retiring, rotation.EndingSessions, rotation.Completing:
		if w.moved() {
			return progressing(v1alpha1.ReasonRetiring, w.leaving())
		}
		return progressing(v1alpha1.ReasonRollingOut, w.rolling())
	default:
		return w.atRest()
	}
}

// atRest is said where nothing is to be done: what another client has changed, and what its owner has to do, comes first.
func (w words) atRest() (ready metav1.Condition, beside *metav1.Condition) {
	switch {
	case w.State.Drift != "":
		return stalled(v1alpha1.ReasonDriftDetected, w.drifted())
	case pass.SecretNotDelivered(w.In, w.seen):
		return stalled(v1alpha1.ReasonSecretNotDelivered, w.notDelivered())
	case pass.AsksInVain(w.In):
		return stalled(v1alpha1.ReasonNotOffered, w.accessNotOffered())
	case pass.WantsExternalAccess(w.In) && w.In.ExternalProblem != "":
		return stalled(v1alpha1.ReasonNotEnforced, w.In.ExternalProblem)
	case w.tenant.Last == nil:
		return condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonAdopted, w.adopted()), nil
	default:
		return condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonRotated, w.rotated()), nil
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
	return notReady(v1alpha1.ReconcilingCondition, v1alpha1.ReasonProgressing, reason, message)
}

func stalled(reason, message string) (ready metav1.Condition, beside *metav1.Condition) {
	return notReady(v1alpha1.StalledCondition, reason, reason, message)
}

func notReady(kind, readyReason, reason, message string) (ready metav1.Condition, beside *metav1.Condition) {
	next := condition(kind, metav1.ConditionTrue, reason, message)
	return condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, readyReason, message), &next
}
