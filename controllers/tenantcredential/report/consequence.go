package report

import (
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// consequence says what the obstacle means for the tenant at this moment. "Nothing was changed." is said only where it is so.
func (w words) consequence() string {
	switch {
	case w.tenant == nil || w.tenant.Claim == nil:
		return w.asLastSeen()
	case w.In.Unbound != nil && w.tenant.Unfinished():
		return "The rotation in progress delivers nothing to this namespace."
	case w.tenant.LoginsClosed() && w.flyUnsure():
		return fmt.Sprintf("%s Fly may hold a password that is not valid; do not deploy app %s until this object is Ready.", w.closed(), w.tenant.FlyApp)
	case w.tenant.LoginsClosed():
		return w.closed()
	case w.tenant.Open != nil && !pass.ToFly(w.In) && pass.TraitsOf(w.obstacle).CommitLost:
		return "The new password may or may not be in force; no consumer of the Secret has it yet."
	case w.flyUnsure() && w.tenant.Open.State == postgres.StateIssued:
		return fmt.Sprintf("The previous password is still valid. Fly may hold a password that the next attempt invalidates; do not deploy app %s until this object is Ready.", w.tenant.FlyApp)
	case w.flyUnsure():
		return fmt.Sprintf("The previous password is still the valid one. Fly may hold a password that is not valid; do not deploy app %s until this object is Ready.", w.tenant.FlyApp)
	case w.tenant.Open != nil && w.tenant.HashDrifted():
		return "The previous password is still the valid one; the stored hash is that of another password."
	case w.obstacle.At == v1alpha1.ConnectionSecretSyncedCondition:
		return w.withoutSecret()
	case w.tenant.Rolling() && !pass.ToFly(w.In):
		return w.inForce(w.tenant.Last.Revision) + "."
	case w.tenant.Unproved():
		return w.inForce(w.tenant.Last.Revision) + "; no Machine was changed."
	case w.tenant.Rolling():
		return w.inForce(w.tenant.Last.Revision) + "; not every Machine runs with that revision."
	default:
		return "Nothing was changed."
	}
}

// flyUnsure says that Fly may hold the password of the open attempt.
func (w words) flyUnsure() bool {
	return w.tenant.Open != nil && pass.ToFly(w.In) && (w.obstacle.Failure.Class == failure.Unknown || w.leftAtFly())
}

func (w words) leftAtFly() bool { return pass.LeftAtFly(w.In, w.seen, w.Out.Attempt) }

// withoutSecret says what trouble with the connection Secret means.
func (w words) withoutSecret() string {
	if !w.tenant.Rolling() {
		return "Nothing was changed."
	}
	meaning := "have the previous password, which PostgreSQL refuses"
	if w.tenant.FormerLogin != "" {
		meaning = "have the previous login, which stays open until the Secret is updated"
	}
	return fmt.Sprintf("%s. Consumers of %s %s.", w.inForce(w.tenant.Last.Revision), w.connectionSecret(), meaning)
}

// asLastSeen is said where the tenant cannot be seen now.
func (w words) asLastSeen() string {
	last, fly := w.object.Status.LastRotation, w.object.Status.Fly
	switch {
	case last != nil && last.CompletionTime == nil && fly != nil && fly.Machines != nil:
		return fmt.Sprintf("Revision %d is in force, and %d of %d Machines were last seen with it. The rotation continues once this is fixed.",
			last.Revision, fly.Machines.Updated, fly.Machines.Total)
	case last != nil && last.CompletionTime == nil:
		return fmt.Sprintf("Revision %d is in force; not every consumer has it. The rotation continues once this is fixed.", last.Revision)
	case w.In.Unbound != nil: // who wrote its finalizer, and what the ledger knows of it, is not asked
		return "The operator does nothing for this object."
	case w.seen.Begun:
		return "A rotation was begun, and its progress cannot be read now. The rotation continues once this is fixed."
	default:
		return "Nothing was changed."
	}
}
