package tenantcredential

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// messages words what a user reads in a status: the fact, what it means for the tenant, and the command that mends it.
// docs/messages.md shows every one of them.
type messages struct {
	*scope
	namespace string // the operator's own
}

func (m messages) table() string {
	if m.environment == nil {
		return "the management table"
	}
	return m.environment.Spec.Management.Schema + "." + m.environment.Spec.Management.Table
}

// secondLoginSuffix is what the name of a role's second login ends with.
const secondLoginSuffix = "_b"

func (m messages) secret() string {
	return fmt.Sprintf("Secret %s of app %s", m.destination.Variable, m.tenant.FlyApp)
}

// nextGeneration is the number to write for a rotation, also where a halted one has a higher number than an object that was made again.
func (s *scope) nextGeneration() int64 {
	highest := max(s.object.AskedGeneration(), s.tenant.Claim.Generation)
	if s.tenant.Last != nil {
		highest = max(highest, s.tenant.Last.Generation)
	}
	return highest + 1
}

func (m messages) suspended() string {
	consequence := "Nothing was changed."
	switch {
	case m.behind(m.tenant):
		consequence = m.regressed() + "."
	case m.secretDrifted():
		consequence = fmt.Sprintf("Fly has another value than that of revision %d, which may be a password that is not valid: do not deploy app %s until the rotation is done.",
			m.tenant.Last.Revision, m.tenant.FlyApp)
	}
	return fmt.Sprintf("A rotation is due (%s) and spec.suspend is true. %s To let it start: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"suspend\":false}}'",
		m.decision.Cause, consequence, m.object.Namespace, m.object.Name)
}

// regressed is said of a ledger that is behind the status.
func (m messages) regressed() string {
	known := "no revision"
	if m.tenant.Last != nil {
		known = fmt.Sprintf("revision %d", m.tenant.Last.Revision)
	}
	return fmt.Sprintf("PostgreSQL has lost revision %d of this tenant (its ledger knows %s), so the app may be refused", m.before.Status.Revision, known)
}

// next is said of a rotation that has not begun: the one before has only just ended, or it waits for its turn.
func (m messages) next() string {
	present := "The present password is in force"
	switch {
	case m.behind(m.tenant):
		present = m.regressed()
	case m.tenant.Last != nil:
		present = m.inForceAt(m.tenant.Last.Revision, "")
	}
	if m.awaitsCanary {
		return fmt.Sprintf("%s. The rotation that is due (%s) starts once another tenant of TenantEnvironment %s has proved the changed address. Retrying automatically.",
			present, m.decision.Cause, m.environment.Name)
	}
	return fmt.Sprintf("%s. The rotation that is due (%s) starts next; no more than %d of an environment run at once.", present, m.decision.Cause, m.environment.Spec.MaxConcurrent)
}

func (m messages) rolling() string {
	text := m.inForce(m.tenant.Last.Revision)
	switch {
	case !m.deliversToFly():
		return text + m.rollingSecret() + "."
	case m.progress == nil && m.awaitsDeploy():
		return text + ", for your next deploy."
	case m.progress == nil:
		return text + ", and the Machines are moved onto it."
	}
	text += fmt.Sprintf("; %d of %d Machines run with it", m.progress.Updated, m.progress.Total)
	if m.progress.OnNextStart > 0 {
		text += fmt.Sprintf(", %d take it at their next start", m.progress.OnNextStart)
	}
	switch {
	case m.progress.Waiting != "":
		text += "; waiting: " + m.progress.Waiting
	case m.sessionsLeft:
		text += m.endingSessions()
	}
	return text + "."
}

// login names who has the password that is in force.
func (m messages) login() string {
	if m.tenant.Login == m.tenant.Role {
		return "role " + m.tenant.Role
	}
	return "login " + m.tenant.Login
}

// refused names who was not let in with a new password.
func (m messages) refused() string {
	if m.tried != "" && m.tried != m.tenant.Role {
		return "login " + m.tried
	}
	return m.login()
}

// unproved is said while no login with the new password has succeeded.
func (m messages) unproved() string {
	return fmt.Sprintf("The password of %s is the one of revision %d; no login with it has succeeded yet, and no Machine is moved before.", m.login(), m.tenant.Last.Revision)
}

// leaving is said while the login that the Machines have left is still there, or sessions of it.
func (m messages) leaving() string {
	text := m.everybodyMoved()
	if m.sessionsLeft {
		return text + m.endingSessions() + "."
	}
	if m.deliversToSecret() {
		return m.retiringBesideSecret()
	}
	if m.scope.retirement().OnceIdle {
		text += "; the former login is closed once no session of it is left, or"
	} else {
		text += "; the former login is closed"
	}
	return text + fmt.Sprintf(" %s after the last Machine has moved.", m.environment.Spec.Rotation.OverlapGracePeriod)
}

// consequence says what the obstacle means for the tenant at this moment.
func (m messages) consequence() string {
	switch {
	case m.tenant == nil || m.tenant.Claim == nil:
		return m.asLastSeen()
	case m.unbound != nil && unfinished(m.tenant):
		return "The rotation in progress delivers nothing to this namespace."
	case closedLogins(m.tenant) && m.flyUnsure():
		return fmt.Sprintf("%s Fly may hold a password that is not valid: do not deploy app %s until this object is Ready.", m.closed(), m.tenant.FlyApp)
	case closedLogins(m.tenant):
		return m.closed()
	case m.tenant.Open != nil && !m.deliversToFly() && m.failed().Reason == failure.OutcomeUnknown:
		return "Whether the new password is in force is not known; nothing that reads the Secret has it yet."
	case m.flyUnsure() && m.tenant.Open.State == postgres.StateIssued:
		return fmt.Sprintf("The former password is still valid, and Fly may hold one that the next attempt ends: do not deploy app %s until this object is Ready.", m.tenant.FlyApp)
	case m.flyUnsure():
		return fmt.Sprintf("The former password is still the valid one, and Fly may hold one that is not: do not deploy app %s until this object is Ready.", m.tenant.FlyApp)
	case m.tenant.Open != nil && hashDrifted(m.tenant):
		return "The previous password is still the valid one, and the stored hash is another password's."
	case m.scope.obstacle.condition == v1alpha1.ConnectionSecretSyncedCondition:
		return m.withoutSecret()
	case rolling(m.tenant) && !m.deliversToFly():
		return m.inForce(m.tenant.Last.Revision) + "."
	case unproved(m.tenant):
		return m.inForce(m.tenant.Last.Revision) + ", and no Machine was touched."
	case rolling(m.tenant):
		return m.inForce(m.tenant.Last.Revision) + ", and not every Machine runs with it."
	default:
		return "Nothing was changed."
	}
}

// flyUnsure says that Fly may hold the password of the open attempt.
func (m messages) flyUnsure() bool {
	return m.tenant.Open != nil && m.deliversToFly() && (m.failed().Class == failure.Unknown || m.leftAtFly())
}

// asLastSeen is said where the tenant cannot be seen now.
func (m messages) asLastSeen() string {
	last, fly := m.before.Status.LastRotation, m.before.Status.Fly
	switch {
	case last != nil && last.CompletionTime == nil && fly != nil && fly.Machines != nil:
		return fmt.Sprintf("Revision %d is in force, and %d of %d Machines have been seen to run with it; it is finished once that is mended.",
			last.Revision, fly.Machines.Updated, fly.Machines.Total)
	case last != nil && last.CompletionTime == nil:
		return fmt.Sprintf("Revision %d is in force, and not every consumer has it; it is finished once that is mended.", last.Revision)
	case m.unbound != nil: // who wrote its finalizer, and what the ledger knows of it, is not asked
		return "Nothing is done for it."
	case hasFinalizer(m.object):
		return "A rotation has been begun, and how far it came cannot be seen now; it is finished once that is mended."
	default:
		return "Nothing was changed."
	}
}

// letGo is how an object that is being deleted goes without its rotation being finished.
func (m messages) letGo() string {
	return fmt.Sprintf("or let the object go as it is: kubectl -n %s patch tcred %s --type merge -p '{\"metadata\":{\"finalizers\":null}}'", m.object.Namespace, m.object.Name)
}

// closed is said from the moment at which the tenant's logins are closed until the new password is in force.
func (m messages) closed() string {
	return fmt.Sprintf("Because of the compromise no login of role %s can be used until the new password is in force.", m.tenant.Role)
}

// visible is a name as people read it: in quotes where it holds a blank or something else that could not be seen.
func visible(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return strconv.Quote(name)
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func (m messages) failed() *failure.Error { return m.scope.obstacle.failure }

// obstacle words why the pass could not go on.
func (m messages) obstacle() string {
	fact, command := m.setUp()
	if fact == "" {
		fact, command = m.postgres()
	}
	if fact == "" {
		fact, command = m.external()
	}
	if fact == "" {
		fact, command = m.connectionSecret()
	}
	if fact == "" {
		fact, command = m.fly()
	}
	return strings.TrimSuffix(fact, ".") + ". " + m.consequence() + " " + command
}

// setUp words what has to be put right in Kubernetes.
func (m messages) setUp() (fact, command string) {
	object, environment := m.object, m.object.Spec.EnvironmentRef.Name
	switch string(m.failed().Reason) {
	case v1alpha1.ReasonEnvironmentNotFound:
		command := "To fix: create it; or make this object anew with the name of one that exists."
		if m.deleted() {
			command = "Create it again, and the rotation is finished by itself; " + m.letGo()
		}
		return fmt.Sprintf("TenantEnvironment %s does not exist", environment), command
	case v1alpha1.ReasonEnvironmentNotReady:
		return fmt.Sprintf("TenantEnvironment %s is not ready (%s)", environment, m.failed().Detail),
			"Retrying automatically."
	case v1alpha1.ReasonEnvironmentTerminating:
		return fmt.Sprintf("TenantEnvironment %s is being deleted, and no rotation starts in it", environment),
			"Create it again once it is gone, and this rotation starts by itself; or delete this object."
	case v1alpha1.ReasonInvalidSpec:
		if m.failed().Detail == "rolloutPolicy" {
			return "spec.delivery.fly.rolloutPolicy Staged needs two logins, and the strategy is InPlace",
				fmt.Sprintf("To have two: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"rotation\":{\"strategy\":\"Overlap\"}}}'", object.Namespace, object.Name)
		}
		newest := m.newestRevision(m.tenant)
		return fmt.Sprintf("spec.rotationRequest asks to replace revision %d, and the newest revision is %d", m.request().ReplacesRevision, newest),
			fmt.Sprintf("To replace that one: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"rotationRequest\":{\"replacesRevision\":%d}}}'", object.Namespace, object.Name, newest)
	case v1alpha1.ReasonRotationsPaused:
		fact := fmt.Sprintf("The rotations of TenantEnvironment %s are paused", environment)
		if m.failed().Detail != "" {
			fact += " (" + m.failed().Detail + ")"
		}
		if m.behind(m.tenant) {
			fact = m.regressed() + ". " + fact
		}
		return fact, "They start again once the pause is acknowledged; the environment's condition RotationsPaused has the command."
	case v1alpha1.ReasonNamespaceNotAllowed:
		return fmt.Sprintf("TenantEnvironment %s does not accept namespace %s, but namespaces with %s", environment, object.Namespace, m.acceptedLabels()),
			"To fix: move the object to such a namespace; or, if you may, label this one, or extend spec.allowedNamespaces of the environment."
	case v1alpha1.ReasonTenantNotBound:
		return fmt.Sprintf("Namespace %s is not bound to tenant %s", object.Namespace, object.Spec.TenantID),
			fmt.Sprintf("If the tenant belongs here: kubectl label namespace %s %s%s=%s", object.Namespace, v1alpha1.TenantLabelPrefix, object.Spec.TenantID, v1alpha1.TenantLabelAllowed)
	case v1alpha1.ReasonOwnershipConflict:
		return m.failed().Detail,
			fmt.Sprintf("To fix: delete one of the two objects; or, to take over the claims of a cluster that is gone: kubectl annotate tenv %s %s=<that cluster's kube-system UID>", environment, v1alpha1.TakeOverFromAnnotation)
	case v1alpha1.ReasonDriftDetected:
		return fmt.Sprintf("The password of %s was changed by somebody else during the roll-out", m.login()), m.replaceHalted()
	}
	return "", ""
}

// acceptedLabels are those that a namespace must have for the environment.
func (m messages) acceptedLabels() string {
	return metav1.FormatLabelSelector(m.environment.Spec.AllowedNamespaces.Selector.LabelSelector())
}

// replaceHalted is how to get on from a password that is not the revision's. Nothing starts on an object that is being deleted.
func (m messages) replaceHalted() string {
	if m.deleted() {
		return fmt.Sprintf("Put the password of revision %d back, ", m.tenant.Last.Revision) + m.letGo()
	}
	return fmt.Sprintf("To set a new one everywhere, raise spec.rotationGeneration to %d.", m.nextGeneration())
}

// postgres words what has to be put right in PostgreSQL.
func (m messages) postgres() (fact, command string) {
	if m.scope.obstacle.condition != v1alpha1.PostgresSyncedCondition {
		return "", ""
	}
	detail, environment := m.failed().Detail, m.object.Spec.EnvironmentRef.Name
	switch m.failed().Reason {
	case failure.TenantNotFound:
		return fmt.Sprintf("Table %s of environment %s has no row for tenant %s", m.table(), environment, m.object.Spec.TenantID),
			"Insert the row, or delete this object if the ID is wrong."
	case failure.RoleNotFound:
		return fmt.Sprintf("Role %s does not exist", visible(m.tenant.Role)),
			fmt.Sprintf("In PostgreSQL: CREATE ROLE %s LOGIN; or name the tenant's role in the management table.", postgres.Identifier(m.tenant.Role))
	case failure.RoleNotAllowed:
		return detail, "The operator rotates no such role; once it is mended, it goes on by itself."
	case failure.NameConflict:
		return detail, "With a name of its own the operator goes on by itself."
	case failure.VerificationFailed:
		return fmt.Sprintf("Logging in as %s with the password that was just set fails: %s", m.refused(), detail),
			"Check pg_hba.conf and any pooler between the operator and the server; a new password is tried by itself."
	default:
		return detail, "Retrying automatically."
	}
}

// fly words what has to be put right at Fly.io.
func (m messages) fly() (fact, command string) {
	detail, app := m.failed().Detail, ""
	if m.tenant != nil {
		app = m.tenant.FlyApp
	}
	token := m.environment.Spec.Fly.TokenSecretRef
	switch m.failed().Reason {
	case failure.FlyAppNotFound:
		return fmt.Sprintf("Fly app %s does not exist", visible(app)),
			fmt.Sprintf("Create it (fly apps create %s), or name the tenant's app in the management table.", visible(app))
	case failure.AuthenticationFailed:
		return "Fly token rejected (401)", fmt.Sprintf("Replace key %s in Secret %s/%s.", token.Key, m.namespace, token.Name)
	case failure.PermissionDenied:
		return fmt.Sprintf("Fly refuses the token for app %s: %s", app, detail),
			fmt.Sprintf("Put a token that may change the app into key %s of Secret %s/%s.", token.Key, m.namespace, token.Name)
	case failure.RateLimited:
		return "Fly limits the rate of requests: " + detail, "It is tried again by itself."
	case failure.OutcomeUnknown:
		return "Fly's answer was lost", "It is made again by itself, with a new password."
	case failure.LeaseHeld, failure.HostUnreachable:
		return fmt.Sprintf("The Machines of app %s can not be updated now: %s", app, detail), fmt.Sprintf("It is tried again by itself; see fly machine list -a %s", app)
	case failure.SecretHidden:
		return fmt.Sprintf("App %s would go on with its previous password: %s", app, detail),
			fmt.Sprintf("Take it out of the app's configuration and deploy; or, if it is meant: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"delivery\":{\"fly\":{\"acceptHidden\":true}}}}'", m.object.Namespace, m.object.Name)
	case failure.MachineUnhealthy:
		command := fmt.Sprintf("Repair the Machine, and a minute later the roll-out goes on by itself (fly logs -a %s); ", app)
		if m.deleted() {
			return "The roll-out has halted: " + detail, command + m.letGo()
		}
		return "The roll-out has halted: " + detail, command + fmt.Sprintf("or raise spec.rotationGeneration to %d.", m.nextGeneration())
	default:
		return "Fly did not do it: " + detail, fmt.Sprintf("It is tried again by itself; see fly status -a %s", app)
	}
}
