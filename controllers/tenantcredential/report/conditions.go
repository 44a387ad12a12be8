package report

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// conditions says everything anew, so that no condition is left over from a previous pass: what the parts sum up to first, then the parts.
func (w words) conditions() []metav1.Condition {
	ready, beside := w.summary()
	conditions := []metav1.Condition{ready, w.postgresSynced(), w.hashSynced()}
	if pass.ToFly(w.In) {
		conditions = append(conditions, w.flySecretSynced(), w.flyMachinesUpdated())
	}
	if pass.NamesSecret(w.In) {
		conditions = append(conditions, w.connectionSecretSynced())
	}
	if c, present := w.externalAccess(); present {
		conditions = append(conditions, c)
	}
	if beside != nil {
		conditions = append(conditions, *beside)
	}
	return conditions
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// before is a part's condition as it was last seen; the pass could not see it.
func (w words) before(kind string) metav1.Condition {
	if seen := meta.FindStatusCondition(w.object.Status.Conditions, kind); seen != nil {
		return *seen
	}
	return condition(kind, metav1.ConditionUnknown, reasons.Pending, "Not observed yet.")
}

func (w words) readyBefore() *metav1.Condition {
	return meta.FindStatusCondition(w.object.Status.Conditions, v1alpha1.ReadyCondition)
}

func (w words) held() bool { return pass.Held(w.In, w.seen) }

func (w words) postgresSynced() metav1.Condition {
	const kind = v1alpha1.PostgresSyncedCondition
	if c, is := w.atObstacle(kind, w.obstacle); is {
		return c
	}
	switch {
	case !w.held():
		return w.before(kind)
	case w.regressed():
		return condition(kind, metav1.ConditionFalse, reasons.LedgerRegressed, w.lostRevision()+".")
	case w.tenant.LoginsClosed():
		return condition(kind, metav1.ConditionFalse, reasons.Rotating, w.closed())
	case w.tenant.PasswordDrifted():
		return condition(kind, metav1.ConditionFalse, reasons.DriftDetected, w.drift("The password of "+w.login()))
	case w.tenant.LoginDrifted():
		return condition(kind, metav1.ConditionFalse, reasons.DriftDetected, w.openLogin())
	case w.tenant.Unproved():
		return condition(kind, metav1.ConditionUnknown, reasons.LoginUnproved, w.unproved())
	case w.tenant.Last == nil:
		return condition(kind, metav1.ConditionTrue, reasons.Adopted, fmt.Sprintf("Role %s still has the password recorded at adoption.", w.tenant.Role))
	default:
		return condition(kind, metav1.ConditionTrue, reasons.Verified, fmt.Sprintf("The password of %s matches revision %d.", w.login(), w.tenant.Last.Revision))
	}
}

func (w words) hashSynced() metav1.Condition {
	const kind = v1alpha1.HashSyncedCondition
	switch {
	case !w.held():
		return w.before(kind)
	case w.regressed():
		return condition(kind, metav1.ConditionFalse, reasons.LedgerRegressed, w.lostRevision()+".")
	case w.tenant.HashDrifted():
		return condition(kind, metav1.ConditionFalse, reasons.DriftDetected, w.outsideDrift("The hash in "+w.table()))
	case w.tenant.Last == nil:
		return condition(kind, metav1.ConditionTrue, reasons.Adopted, fmt.Sprintf("The hash in %s is the one recorded at adoption.", w.table()))
	default:
		return condition(kind, metav1.ConditionTrue, reasons.Verified, fmt.Sprintf("The hash in %s matches revision %d.", w.table(), w.tenant.Last.Revision))
	}
}

func (w words) flySecretSynced() metav1.Condition {
	const kind = v1alpha1.FlySecretSyncedCondition
	if c, is := w.atObstacle(kind, w.obstacle); is {
		return c
	}
	switch {
	case !w.held() || !pass.SawFlySecret(w.seen) || w.regressed():
		return w.before(kind)
	case pass.FlySecretDrifted(w.seen):
		return condition(kind, metav1.ConditionFalse, reasons.DriftDetected, w.outsideDrift(w.flySecret()))
	case w.leftAtFly():
		return condition(kind, metav1.ConditionUnknown, reasons.OutcomeUnknown, w.notTheFound())
	case w.tenant.Last == nil && *w.seen.Fly.Digest == "":
		return condition(kind, metav1.ConditionFalse, reasons.Adopted, fmt.Sprintf("App %s has no secret %s. Nothing was changed. To set one: raise spec.rotationGeneration to %d.",
			w.tenant.FlyApp, w.destination.Variable, w.nextGeneration()))
	case w.tenant.Last == nil:
		return condition(kind, metav1.ConditionTrue, reasons.Adopted, w.flySecret()+" is the one recorded at adoption.")
	case w.State.Phase == rotation.AwaitingDeploy:
		return condition(kind, metav1.ConditionTrue, reasons.Staged, fmt.Sprintf("%s matches revision %d (digest %s); your next deploy rolls it out.", w.flySecret(), w.tenant.Last.Revision, *w.seen.Fly.Digest))
	default:
		return condition(kind, metav1.ConditionTrue, reasons.Verified, fmt.Sprintf("%s matches revision %d (digest %s).", w.flySecret(), w.tenant.Last.Revision, *w.seen.Fly.Digest))
	}
}

func (w words) flyMachinesUpdated() metav1.Condition {
	const kind = v1alpha1.FlyMachinesUpdatedCondition
	if c, is := w.atObstacle(kind, w.obstacle); is {
		return c
	}
	switch {
	case !w.held(), w.regressed(), w.tenant.Last == nil && w.seen.Fly == nil:
		return w.before(kind)
	case w.tenant.Last == nil:
		return condition(kind, metav1.ConditionTrue, reasons.Adopted, "The Machines run with the values found at adoption.")
	case w.tenant.Last.State == postgres.StateCompleted, w.moved():
		return condition(kind, metav1.ConditionTrue, reasons.AllUpdated, fmt.Sprintf("Every Machine of app %s is updated to revision %d.", w.tenant.FlyApp, w.tenant.Last.Revision))
	default:
		return condition(kind, metav1.ConditionFalse, w.rollingReason(), w.rolling())
	}
}

// moved says that every consumer has the newest rotation, and that the login which they have left, or its sessions, is all that is left of the previous one.
func (w words) moved() bool {
	return w.State.Phase == rotation.Retiring || w.State.Phase.Committed() && w.tenant.Rolled()
}

// rollingReason names what a rollout waits for, where it does not just take its time.
func (w words) rollingReason() string {
	if w.seen.Machines != nil && w.seen.Machines.Reason != "" {
		return string(w.seen.Machines.Reason)
	}
	return reasons.RollingOut
}

func (w words) connectionSecretSynced() metav1.Condition {
	const kind = v1alpha1.ConnectionSecretSyncedCondition
	if c, is := w.atObstacle(kind, w.obstacle); is {
		return c
	}
	if w.seen.Secret != nil {
		if c, is := w.atObstacle(kind, w.seen.Secret.Trouble); is {
			return c
		}
	}
	switch {
	case !w.held() || w.In.Unbound != nil || w.secretState() == "" || w.regressed():
		return w.before(kind)
	case w.tenant.Last == nil && w.secretState() == pass.SecretAbsent && w.tenant.Open != nil:
		return condition(kind, metav1.ConditionFalse, reasons.Rotating, fmt.Sprintf("%s does not exist yet; revision %d, which is in progress, creates it.",
			w.connectionSecret(), w.tenant.Open.Revision))
	case pass.SecretNotDelivered(w.In, w.seen):
		return condition(kind, metav1.ConditionFalse, reasons.SecretNotDelivered, w.notDelivered())
	case w.tenant.Last == nil:
		return condition(kind, metav1.ConditionTrue, reasons.Adopted, w.connectionSecret()+" is the one recorded at adoption.")
	case w.secretState() == pass.SecretCurrent:
		return condition(kind, metav1.ConditionTrue, reasons.Verified, fmt.Sprintf("%s has revision %d.", w.connectionSecret(), w.tenant.Last.Revision))
	case w.secretState() == pass.SecretOther && (!w.tenant.Rolling() || w.tenant.Rolled()):
		return condition(kind, metav1.ConditionFalse, reasons.DriftDetected, w.drift(w.connectionSecret()))
	default:
		return condition(kind, metav1.ConditionFalse, reasons.SecretNotFound, fmt.Sprintf("%s does not have revision %d, and no other place holds its password. A new password is due.",
			w.connectionSecret(), w.tenant.Last.Revision))
	}
}

func (w words) secretState() pass.SecretState {
	if w.seen.Secret == nil {
		return ""
	}
	return w.seen.Secret.State
}

// externalAccess is the condition, where the spec asks for external access, or the tenant has ever had it.
func (w words) externalAccess() (c metav1.Condition, present bool) {
	const kind = v1alpha1.ExternalAccessCondition
	if c, is := w.atObstacle(kind, w.obstacle); is {
		return c, true
	}
	asked := w.object.Spec.ExternalAccess != nil
	if !w.held() {
		return w.before(kind), asked || meta.FindStatusCondition(w.object.Status.Conditions, kind) != nil
	}
	switch access := w.tenant.External; {
	case pass.EndsExternalAccess(w.In, w.tenant):
		return condition(kind, metav1.ConditionUnknown, reasons.Disabling, w.disablingAccess()), true
	case pass.AsksInVain(w.In):
		return condition(kind, metav1.ConditionFalse, reasons.NotOffered, w.accessNotOffered()), true
	case !asked:
		return condition(kind, metav1.ConditionFalse, reasons.Disabled, w.accessDisabled()), access.Noted
	case !access.Member:
		return condition(kind, metav1.ConditionUnknown, reasons.Pending, w.accessPending()), true
	case w.In.ExternalProblem != "":
		return condition(kind, metav1.ConditionFalse, reasons.NotEnforced, w.In.ExternalProblem), true
	default:
		return condition(kind, metav1.ConditionTrue, reasons.Enabled, w.accessEnabled()), true
	}
}
