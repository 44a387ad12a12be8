package tenantcredential

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// conditions says everything anew, so that no condition is left over from a former pass: the parts first, then what they sum up to.
func (s *scope) conditions(m messages) []metav1.Condition {
	ready, progress := s.summary(m)
	conditions := []metav1.Condition{ready, s.postgresSynced(m), s.hashSynced(m)}
	if s.deliversToFly() {
		conditions = append(conditions, s.flySecretSynced(m), s.flyMachinesUpdated(m))
	}
	if s.namesSecret() {
		conditions = append(conditions, s.connectionSecretSynced(m))
	}
	if c, present := s.externalAccess(m); present {
		conditions = append(conditions, c)
	}
	if progress != nil {
		conditions = append(conditions, *progress)
	}
	return conditions
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// former is a part's condition as it was last seen; the pass could not see it.
func (s *scope) former(kind string) metav1.Condition {
	if seen := meta.FindStatusCondition(s.before.Status.Conditions, kind); seen != nil {
		return *seen
	}
	return condition(kind, metav1.ConditionUnknown, v1alpha1.ReasonPending, "Not looked at yet.")
}

// atObstacle is the condition at which the pass could not go on, if it is this one.
func (s *scope) atObstacle(kind string, m messages) (metav1.Condition, bool) {
	if s.obstacle == nil || s.obstacle.condition != kind {
		return metav1.Condition{}, false
	}
	return condition(kind, s.obstacle.status, string(s.obstacle.failure.Reason), m.obstacle()), true
}

// held says that the pass saw the tenant, and that this object, in this cluster, holds it.
func (s *scope) held() bool {
	return s.tenant != nil && s.tenant.Claim != nil && s.tenant.Claim.UID == s.uid() && s.tenant.Claim.Cluster == s.cluster
}

func (s *scope) postgresSynced(m messages) metav1.Condition {
	const kind = v1alpha1.PostgresSyncedCondition
	if c, is := s.atObstacle(kind, m); is {
		return c
	}
	switch {
	case !s.held():
		return s.former(kind)
	case s.behind(s.tenant):
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonLedgerRegressed, m.regressed()+".")
	case closedLogins(s.tenant):
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonRotating, m.closed())
	case passwordDrifted(s.tenant):
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonDriftDetected, m.drift("The password of "+m.login()))
	case loginDrifted(s.tenant):
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonDriftDetected, m.openLogin())
	case unproved(s.tenant):
		return condition(kind, metav1.ConditionUnknown, v1alpha1.ReasonLoginUnproved, m.unproved())
	case s.tenant.Last == nil:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonAdopted, fmt.Sprintf("Role %s has the password that it was adopted with.", s.tenant.Role))
	default:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonVerified, fmt.Sprintf("The password of %s is the one of revision %d.", m.login(), s.tenant.Last.Revision))
	}
}

func (s *scope) hashSynced(m messages) metav1.Condition {
	const kind = v1alpha1.HashSyncedCondition
	switch {
	case !s.held():
		return s.former(kind)
	case s.behind(s.tenant):
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonLedgerRegressed, m.regressed()+".")
	case hashDrifted(s.tenant):
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonDriftDetected, m.outsideDrift("The hash in "+m.table()))
	case s.tenant.Last == nil:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonAdopted, fmt.Sprintf("The hash in %s is the one that was found.", m.table()))
	default:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonVerified, fmt.Sprintf("The hash in %s is the one of revision %d.", m.table(), s.tenant.Last.Revision))
	}
}

func (s *scope) flySecretSynced(m messages) metav1.Condition {
	const kind = v1alpha1.FlySecretSyncedCondition
	if c, is := s.atObstacle(kind, m); is {
		return c
	}
	switch {
	case !s.held() || !s.flySeen || s.behind(s.tenant):
		return s.former(kind)
	case s.secretDrifted():
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonDriftDetected, m.outsideDrift(m.secret()))
	case s.leftAtFly():
		return condition(kind, metav1.ConditionUnknown, v1alpha1.ReasonOutcomeUnknown, m.notTheFound())
	case s.tenant.Last == nil && s.flyDigest == "":
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonAdopted, fmt.Sprintf("App %s has no secret %s. Nothing was changed. To set one, raise spec.rotationGeneration to %d.",
			s.tenant.FlyApp, s.destination.Variable, s.nextGeneration()))
	case s.tenant.Last == nil:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonAdopted, m.secret()+" is the one that was found.")
	case s.awaitsDeploy() && !s.retiring:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonStaged, fmt.Sprintf("%s is the one of revision %d (digest %s), for your next deploy.", m.secret(), s.tenant.Last.Revision, s.flyDigest))
	default:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonVerified, fmt.Sprintf("%s is the one of revision %d (digest %s).", m.secret(), s.tenant.Last.Revision, s.flyDigest))
	}
}

func (s *scope) flyMachinesUpdated(m messages) metav1.Condition {
	const kind = v1alpha1.FlyMachinesUpdatedCondition
	if c, is := s.atObstacle(kind, m); is {
		return c
	}
	switch {
	case !s.held():
		return s.former(kind)
	case s.tenant.Last == nil && !s.flySeen, s.behind(s.tenant):
		return s.former(kind)
	case s.tenant.Last == nil:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonAdopted, "The Machines run with what they were found with.")
	case s.tenant.Last.State == postgres.StateCompleted, s.moved():
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonAllUpdated, fmt.Sprintf("Every Machine of app %s has revision %d.", s.tenant.FlyApp, s.tenant.Last.Revision))
	default:
		return condition(kind, metav1.ConditionFalse, s.rollingReason(), m.rolling())
	}
}

// rollingReason names who a roll-out waits for, where it does not just take its time.
func (s *scope) rollingReason() string {
	if s.progress != nil && s.progress.Reason != "" {
		return string(s.progress.Reason)
	}
	return v1alpha1.ReasonRollingOut
}

// summary is Ready, and Reconciling or Stalled beside it where it is not True. What its owner has suspended neither goes on nor has failed.
func (s *scope) summary(m messages) (metav1.Condition, *metav1.Condition) {
	switch {
	case s.obstacle != nil:
		return s.atStandstill(m)
	case s.endsExternalAccess():
		return notReady(v1alpha1.ReconcilingCondition, v1alpha1.ReasonProgressing, v1alpha1.ReasonDisabling, m.disablingAccess())
	case s.decision.Step == rotation.Hold:
		return condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSuspended, m.suspended()), nil
	case s.decision.Step == rotation.Start && !s.attempted:
		return notReady(v1alpha1.ReconcilingCondition, v1alpha1.ReasonProgressing, v1alpha1.ReasonRotating, m.next())
	case s.moved():
		return notReady(v1alpha1.ReconcilingCondition, v1alpha1.ReasonProgressing, v1alpha1.ReasonRetiring, m.leaving())
	case unfinished(s.tenant):
		return notReady(v1alpha1.ReconcilingCondition, v1alpha1.ReasonProgressing, v1alpha1.ReasonRollingOut, m.rolling())
	case passwordDrifted(s.tenant), loginDrifted(s.tenant):
		return notReady(v1alpha1.StalledCondition, v1alpha1.ReasonDriftDetected, v1alpha1.ReasonDriftDetected, s.postgresSynced(m).Message)
	case hashDrifted(s.tenant):
		return notReady(v1alpha1.StalledCondition, v1alpha1.ReasonDriftDetected, v1alpha1.ReasonDriftDetected, s.hashSynced(m).Message)
	case s.secretDrifted():
		return notReady(v1alpha1.StalledCondition, v1alpha1.ReasonDriftDetected, v1alpha1.ReasonDriftDetected, s.flySecretSynced(m).Message)
	case s.connectionSecretDrifted():
		return notReady(v1alpha1.StalledCondition, v1alpha1.ReasonDriftDetected, v1alpha1.ReasonDriftDetected, s.connectionSecretSynced(m).Message)
	case s.secretNotDelivered():
		return notReady(v1alpha1.StalledCondition, v1alpha1.ReasonSecretNotDelivered, v1alpha1.ReasonSecretNotDelivered, m.notDelivered())
	case s.asksInVain():
		return notReady(v1alpha1.StalledCondition, v1alpha1.ReasonNotOffered, v1alpha1.ReasonNotOffered, m.accessNotOffered())
	case s.wantsExternalAccess() && s.connection.ExternalProblem != "":
		return notReady(v1alpha1.StalledCondition, v1alpha1.ReasonNotEnforced, v1alpha1.ReasonNotEnforced, s.connection.ExternalProblem)
	case s.tenant.Last == nil:
		return condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonAdopted, m.adopted()), nil
	default:
		return condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonRotated, m.rotated()), nil
	}
}

func notReady(kind, readyReason, reason, message string) (metav1.Condition, *metav1.Condition) {
	beside := condition(kind, metav1.ConditionTrue, reason, message)
	return condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, readyReason, message), &beside
}

// atStandstill says whether an edit in Kubernetes is needed, or waiting is enough. What is normal while a tenant is being set up
// counts as progress at first.
func (s *scope) atStandstill(m messages) (metav1.Condition, *metav1.Condition) {
	reason := string(s.obstacle.failure.Reason)
	readyReason := reason
	if s.obstacle.failure.Reason.Unreachable() && s.obstacle.condition == v1alpha1.PostgresSyncedCondition {
		readyReason = v1alpha1.ReasonEnvironmentNotReady
	}
	switch {
	case reason == v1alpha1.ReasonMachineUnhealthy:
		return notReady(v1alpha1.StalledCondition, readyReason, v1alpha1.ReasonRolloutHalted, m.obstacle())
	case s.obstacle.failure.Class == failure.Stall || s.onboardingTooLong():
		return notReady(v1alpha1.StalledCondition, readyReason, readyReason, m.obstacle())
	default:
		return notReady(v1alpha1.ReconcilingCondition, readyReason, v1alpha1.ReasonRetryingAfterFailure, m.obstacle())
	}
}

// onboardingTooLong says that something which is missing while a tenant is being set up has been missing for longer than that takes.
func (s *scope) onboardingTooLong() bool {
	switch string(s.obstacle.failure.Reason) {
	case v1alpha1.ReasonTenantNotFound, v1alpha1.ReasonRoleNotFound, v1alpha1.ReasonFlyAppNotFound,
		v1alpha1.ReasonEnvironmentNotFound, v1alpha1.ReasonEnvironmentNotReady, v1alpha1.ReasonEnvironmentTerminating:
	default:
		return false
	}
	shown := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ReadyCondition)
	return shown != nil && shown.Status == metav1.ConditionFalse && shown.Reason == string(s.obstacle.failure.Reason) &&
		s.now.Sub(shown.LastTransitionTime.Time) > rotation.OnboardingPeriod
}
