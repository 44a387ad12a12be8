package tenantcredential

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

func (s *scope) connectionSecretSynced(m messages) metav1.Condition {
	const kind = v1alpha1.ConnectionSecretSyncedCondition
	if c, is := s.atObstacle(kind, m); is {
		return c
	}
	if c, is := s.inTrouble(m); is {
		return c
	}
	switch {
	case !s.held() || s.unbound != nil || s.secret.state == secretUnseen || s.behind(s.tenant):
		return s.former(kind)
	case s.tenant.Last == nil && s.secret.state == secretAbsent && s.tenant.Open != nil:
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonRotating, fmt.Sprintf("%s does not exist yet: revision %d, which has been begun, makes it.",
			m.connectionSecretName(), s.tenant.Open.Revision))
	case s.secretNotDelivered():
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonSecretNotDelivered, m.notDelivered())
	case s.tenant.Last == nil:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonAdopted, m.connectionSecretName()+" is the one that was found.")
	case s.secret.state == secretCurrent:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonVerified, fmt.Sprintf("%s has revision %d.", m.connectionSecretName(), s.tenant.Last.Revision))
	case s.secret.state == secretOther && (!rolling(s.tenant) || rolled(s.tenant)):
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonDriftDetected, m.drift(m.connectionSecretName()))
	default:
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound, fmt.Sprintf("%s does not have revision %d, and nobody else has its password: a new one is due.",
			m.connectionSecretName(), s.tenant.Last.Revision))
	}
}

// inTrouble is the condition where the pass has gone on in spite of trouble with the Secret.
func (s *scope) inTrouble(m messages) (metav1.Condition, bool) {
	var o *obstacle
	if !errors.As(s.secret.trouble, &o) {
		return metav1.Condition{}, false
	}
	at := *s
	at.obstacle = o
	return at.atObstacle(v1alpha1.ConnectionSecretSyncedCondition, messages{&at, m.namespace})
}

// notDelivered is said of an adopted tenant: of its password only the verifier is known, which no Secret can be made from.
func (m messages) notDelivered() string {
	return fmt.Sprintf("%s does not exist, because the present password is not known, and a Pod that mounts the Secret does not start. Nothing was changed. "+
		"To fix: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"rotationGeneration\":%d}}'",
		m.connectionSecretName(), m.object.Namespace, m.object.Name, m.nextGeneration())
}

func (m messages) connectionSecretName() string { return "Secret " + m.secretKey().String() }

// inForce says where a committed revision is in force.
func (s *scope) inForce(revision int64) string {
	if !s.deliversToFly() {
		return s.inForceAt(revision, " in Postgres")
	}
	return s.inForceAt(revision, " in Postgres and at Fly")
}

// inForceAt is said of no revision whose password is not the login's: that is another one's by then.
func (s *scope) inForceAt(revision int64, where string) string {
	if closedLogins(s.tenant) {
		return messages{scope: s}.closed()
	}
	if passwordDrifted(s.tenant) {
		return fmt.Sprintf("Revision %d was committed, and another password was set since", revision)
	}
	return fmt.Sprintf("Revision %d is in force%s", revision, where)
}

// everybodyHas says who has a completed revision.
func (s *scope) everybodyHas(revision int64) string {
	switch {
	case s.deliversToFly():
		return fmt.Sprintf("Every Machine of app %s has revision %d", s.tenant.FlyApp, revision)
	case s.namesSecret():
		return fmt.Sprintf("Secret %s has revision %d", s.secretKey(), revision)
	default:
		return fmt.Sprintf("Nobody is left to receive revision %d", revision)
	}
}

func (m messages) rotatedSecret() string {
	return fmt.Sprintf("Credentials rotated (revision %d). Retrieve via: kubectl -n %s get secret %s -o yaml; what mounts it has to be rolled to use it.",
		m.tenant.Last.Revision, m.object.Namespace, m.object.Spec.Delivery.ConnectionSecret.Name)
}

// rollingSecret goes on with what is in force, where nothing is delivered to Fly.
func (m messages) rollingSecret() string {
	switch {
	case !m.deliversToSecret():
		return ""
	case m.scope.secret.state != secretCurrent:
		return fmt.Sprintf(", and %s is about to have it", m.connectionSecretName())
	case m.sessionsLeft && !m.moved():
		return fmt.Sprintf(", and %s has it", m.connectionSecretName()) + m.endingSessions()
	default:
		return fmt.Sprintf(", and %s has it", m.connectionSecretName())
	}
}

// connectionSecretRole is the ClusterRole of config/components/connection-secret.
const connectionSecretRole = "tenant-credential-operator-connection-secret" //nolint:gosec // the name of a role

// withoutSecret says what trouble with the Secret means.
func (m messages) withoutSecret() string {
	if !rolling(m.tenant) {
		return "Nothing was changed."
	}
	meaning := "has the former password, which is refused"
	if m.tenant.FormerLogin != "" {
		meaning = "has the former login, which is kept open until then"
	}
	return fmt.Sprintf("%s, and who reads %s %s.", m.inForce(m.tenant.Last.Revision), m.connectionSecretName(), meaning)
}

// connectionSecret words what has to be put right about the Secret.
func (m messages) connectionSecret() (fact, command string) {
	if m.scope.obstacle.condition != v1alpha1.ConnectionSecretSyncedCondition {
		return "", ""
	}
	namespace, detail := m.object.Namespace, m.failed().Detail
	switch m.failed().Reason {
	case failure.SecretNotOwned:
		return fmt.Sprintf("Secret %s/%s is there, and is not one that the operator has made for this object, or somebody has made it immutable", namespace, detail),
			fmt.Sprintf("Write another name into spec.delivery.connectionSecret, or, if nobody needs it: kubectl -n %s delete secret %s", namespace, detail)
	case failure.PermissionDenied:
		return fmt.Sprintf("Kubernetes does not let the operator read and write Secret %s/%s (403: no right, a quota, or an admission policy)", namespace, detail),
			fmt.Sprintf("To fix: kubectl -n %s create rolebinding %[2]s --clusterrole=%[2]s --serviceaccount=%[3]s:tenant-credential-operator",
				namespace, connectionSecretRole, m.namespace)
	case failure.Rejected:
		return detail, fmt.Sprintf("It is tried again by itself; see kubectl -n %s get resourcequota,secret, and the admission policies.", namespace)
	default:
		return detail, "It is tried again by itself."
	}
}

// everybodyMoved says that a rotation has reached everybody whom the operator can see.
func (m messages) everybodyMoved() string {
	if !m.deliversToFly() {
		return m.inForce(m.tenant.Last.Revision) + m.rollingSecret()
	}
	return m.inForceAt(m.tenant.Last.Revision, "") + ", and every Machine runs with it"
}

// retiringBesideSecret is said while the former login is there for what mounts the Secret.
func (m messages) retiringBesideSecret() string {
	return fmt.Sprintf("%s, and %s has it. Roll what mounts that: the former login is closed within %s.",
		m.inForceAt(m.tenant.Last.Revision, ""), m.connectionSecretName(), m.environment.Spec.Rotation.OverlapGracePeriod)
}
