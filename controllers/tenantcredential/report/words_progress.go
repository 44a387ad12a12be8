package report

import (
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

func (w words) suspended() string {
	consequence := "Nothing was changed."
	switch {
	case w.regressed():
		consequence = w.lostRevision() + "."
	case pass.FlySecretDrifted(w.seen):
		consequence = fmt.Sprintf("Fly holds another value than that of revision %d, possibly a password that is not valid; do not deploy app %s until the rotation is completed.",
			w.tenant.Last.Revision, w.tenant.FlyApp)
	}
	return fmt.Sprintf("A rotation is due (%s) and spec.suspend is true. %s To start the rotation: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"suspend\":false}}'",
		w.State.Cause, consequence, w.object.Namespace, w.object.Name)
}

// lostRevision is said of a ledger that is behind the status.
func (w words) lostRevision() string {
	known := "no revision"
	if w.tenant.Last != nil {
		known = fmt.Sprintf("revision %d", w.tenant.Last.Revision)
	}
	return fmt.Sprintf("PostgreSQL lost revision %d of this tenant (its ledger has %s) and may refuse the app", w.object.Status.Revision, known)
}

// next is said of a rotation that has not begun: the one before has only just ended, or it waits for its turn.
func (w words) next() string {
	present := "The present password is in force"
	switch {
	case w.regressed():
		present = w.lostRevision()
	case w.tenant.Last != nil:
		present = w.inForceAt(w.tenant.Last.Revision, "")
	}
	if w.State.Wait == rotation.ForAddress {
		return fmt.Sprintf("%s. The due rotation (%s) starts once another tenant of TenantEnvironment %s has proved the changed address. Retrying automatically.",
			present, w.State.Cause, w.environment.Name)
	}
	return fmt.Sprintf("%s. The due rotation (%s) starts next; at most %d rotations of an environment run at once.", present, w.State.Cause, w.environment.Spec.MaxConcurrent)
}

// rolling is said of a committed rotation until every consumer has it.
func (w words) rolling() string {
	text, machines := w.inForce(w.tenant.Last.Revision), w.seen.Machines
	switch {
	case !pass.ToFly(w.In):
		return text + w.rollingSecret() + "."
	case machines == nil && w.State.Phase == rotation.AwaitingDeploy:
		return text + "; your next deploy rolls it out."
	case machines == nil:
		return text + "; the Machines are being updated."
	}
	text += fmt.Sprintf("; %d of %d Machines run with it", machines.Updated, machines.Total)
	if machines.OnNextStart > 0 {
		text += fmt.Sprintf(", %d take it at their next start", machines.OnNextStart)
	}
	switch {
	case machines.Waiting != "":
		text += "; waiting: " + machines.Waiting
	case w.seen.SessionsLeft:
		text += w.endingSessions()
	}
	return text + "."
}

// rollingSecret goes on with what is in force, where nothing is delivered to Fly.
func (w words) rollingSecret() string {
	switch {
	case !pass.ToSecret(w.In):
		return ""
	case w.secretState() != pass.SecretCurrent:
		return fmt.Sprintf("; %s is updated next", w.connectionSecret())
	case w.seen.SessionsLeft && !w.moved():
		return fmt.Sprintf("; %s has it", w.connectionSecret()) + w.endingSessions()
	default:
		return fmt.Sprintf("; %s has it", w.connectionSecret())
	}
}

func (w words) endingSessions() string {
	return fmt.Sprintf("; sessions that role %s opened before are being ended until logins with the previous password have timed out (authentication_timeout)", w.tenant.Role)
}

// unproved is said while no login with the new password has succeeded.
func (w words) unproved() string {
	return fmt.Sprintf("The password of %s matches revision %d; no login with it has succeeded yet, and no Machine is updated before one does.", w.login(), w.tenant.Last.Revision)
}

// leaving is said while the login that the Machines have left is still there, or sessions of it.
func (w words) leaving() string {
	text := w.everyConsumerMoved()
	if w.seen.SessionsLeft {
		return text + w.endingSessions() + "."
	}
	if pass.ToSecret(w.In) {
		return fmt.Sprintf("%s; %s has it. Restart the workloads that mount this Secret; the previous login is closed within %s.",
			w.inForceAt(w.tenant.Last.Revision, ""), w.connectionSecret(), w.environment.Spec.Rotation.OverlapGracePeriod)
	}
	if pass.Retirement(w.In, w.tenant).OnceIdle {
		text += "; the previous login is closed once it has no session left, or"
	} else {
		text += "; the previous login is closed"
	}
	return text + fmt.Sprintf(" %s after the last Machine was updated.", w.environment.Spec.Rotation.OverlapGracePeriod)
}

// everyConsumerMoved says that a rotation has reached every consumer that the operator can see.
func (w words) everyConsumerMoved() string {
	if !pass.ToFly(w.In) {
		return w.inForce(w.tenant.Last.Revision) + w.rollingSecret()
	}
	return w.inForceAt(w.tenant.Last.Revision, "") + "; every Machine runs with it"
}

// inForce says where a committed revision is in force.
func (w words) inForce(revision int64) string {
	if !pass.ToFly(w.In) {
		return w.inForceAt(revision, " in PostgreSQL")
	}
	return w.inForceAt(revision, " in PostgreSQL and at Fly")
}

// inForceAt is said of no revision whose password is not the login's: that is another one's by then.
func (w words) inForceAt(revision int64, where string) string {
	if w.tenant.LoginsClosed() {
		return w.closed()
	}
	if w.tenant.PasswordDrifted() {
		return fmt.Sprintf("Revision %d was committed, and another password was set later", revision)
	}
	return fmt.Sprintf("Revision %d is in force%s", revision, where)
}

// closed is said from the moment at which the tenant's logins are closed until the new password is in force.
func (w words) closed() string {
	return fmt.Sprintf("The logins of role %s are closed because of the compromise until the new password is in force.", w.tenant.Role)
}

// consumersHave says who has a completed revision.
func (w words) consumersHave(revision int64) string {
	switch {
	case pass.ToFly(w.In):
		return fmt.Sprintf("Every Machine of app %s is updated to revision %d", w.tenant.FlyApp, revision)
	case pass.NamesSecret(w.In):
		return fmt.Sprintf("Secret %s has revision %d", pass.SecretKey(w.In), revision)
	default:
		return fmt.Sprintf("No consumer is left to receive revision %d", revision)
	}
}
