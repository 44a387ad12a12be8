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
		consequence = fmt.Sprintf("Fly has another value than that of revision %d, which may be a password that is not valid: do not deploy app %s until the rotation is done.",
			w.tenant.Last.Revision, w.tenant.FlyApp)
	}
	return fmt.Sprintf("A rotation is due (%s) and spec.suspend is true. %s To let it start: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"suspend\":false}}'",
		w.State.Cause, consequence, w.object.Namespace, w.object.Name)
}

// lostRevision is said of a ledger that is behind the status.
func (w words) lostRevision() string {
	known := "no revision"
	if w.tenant.Last != nil {
		known = fmt.Sprintf("revision %d", w.tenant.Last.Revision)
	}
	return fmt.Sprintf("PostgreSQL has lost revision %d of this tenant (its ledger knows %s), so the app may be refused", w.object.Status.Revision, known)
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
		return fmt.Sprintf("%s. The rotation that is due (%s) starts once another tenant of TenantEnvironment %s has proved the changed address. Retrying automatically.",
			present, w.State.Cause, w.environment.Name)
	}
	return fmt.Sprintf("%s. The rotation that is due (%s) starts next; no more than %d of an environment run at once.", present, w.State.Cause, w.environment.Spec.MaxConcurrent)
}

// rolling is said of a committed rotation until every consumer has it.
func (w words) rolling() string {
	text, machines := w.inForce(w.tenant.Last.Revision), w.seen.Machines
	switch {
	case !pass.ToFly(w.In):
		return text + w.rollingSecret() + "."
	case machines == nil && w.State.Phase == rotation.AwaitingDeploy:
		return text + ", for your next deploy."
	case machines == nil:
		return text + ", and the Machines are moved onto it."
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
		return fmt.Sprintf(", and %s is about to have it", w.connectionSecret())
	case w.seen.SessionsLeft && !w.moved():
		return fmt.Sprintf(", and %s has it", w.connectionSecret()) + w.endingSessions()
	default:
		return fmt.Sprintf(", and %s has it", w.connectionSecret())
	}
}

func (w words) endingSessions() string {
	return fmt.Sprintf("; sessions that role %s opened before are being ended, until no login of before can be under way any more", w.tenant.Role)
}

// unproved is said while no login with the new password has succeeded.
func (w words) unproved() string {
	return fmt.Sprintf("The password of %s is the one of revision %d; no login with it has succeeded yet, and no Machine is moved before.", w.login(), w.tenant.Last.Revision)
}

// leaving is said while the login that the Machines have left is still there, or sessions of it.
func (w words) leaving() string {
	text := w.everyConsumerMoved()
	if w.seen.SessionsLeft {
		return text + w.endingSessions() + "."
	}
	if pass.ToSecret(w.In) {
		return fmt.Sprintf("%s, and %s has it. Roll what mounts that: the former login is closed within %s.",
			w.inForceAt(w.tenant.Last.Revision, ""), w.connectionSecret(), w.environment.Spec.Rotation.OverlapGracePeriod)
	}
	if pass.Retirement(w.In, w.tenant).OnceIdle {
		text += "; the former login is closed once no session of it is left, or"
	} else {
		text += "; the former login is closed"
	}
	return text + fmt.Sprintf(" %s after the last Machine has moved.", w.environment.Spec.Rotation.OverlapGracePeriod)
}

// everyConsumerMoved says that a rotation has reached every consumer that the operator can see.
func (w words) everyConsumerMoved() string {
	if !pass.ToFly(w.In) {
		return w.inForce(w.tenant.Last.Revision) + w.rollingSecret()
	}
	return w.inForceAt(w.tenant.Last.Revision, "") + ", and every Machine runs with it"
}

// inForce says where a committed revision is in force.
func (w words) inForce(revision int64) string {
	if !pass.ToFly(w.In) {
		return w.inForceAt(revision, " in Postgres")
	}
	return w.inForceAt(revision, " in Postgres and at Fly")
}

// inForceAt is said of no revision whose password is not the login's: that is another one's by then.
func (w words) inForceAt(revision int64, where string) string {
	if w.tenant.LoginsClosed() {
		return w.closed()
	}
	if w.tenant.PasswordDrifted() {
		return fmt.Sprintf("Revision %d was committed, and another password was set since", revision)
	}
	return fmt.Sprintf("Revision %d is in force%s", revision, where)
}

// closed is said from the moment at which the tenant's logins are closed until the new password is in force.
func (w words) closed() string {
	return fmt.Sprintf("Because of the compromise no login of role %s can be used until the new password is in force.", w.tenant.Role)
}

// consumersHave says who has a completed revision.
func (w words) consumersHave(revision int64) string {
	switch {
	case pass.ToFly(w.In):
		return fmt.Sprintf("Every Machine of app %s has revision %d", w.tenant.FlyApp, revision)
	case pass.NamesSecret(w.In):
		return fmt.Sprintf("Secret %s has revision %d", pass.SecretKey(w.In), revision)
	default:
		return fmt.Sprintf("Nobody is left to receive revision %d", revision)
	}
}
