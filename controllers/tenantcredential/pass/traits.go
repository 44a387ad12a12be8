package pass

import (
	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Traits are what a reason says of an obstacle wherever it is met. An act may ask for the reason of the call that it has just made; what an obstacle
// means for the user is in the catalogue of package report.
type Traits struct {
	// Unreached: the other side has not been asked anything, because there is no connection.
	Unreached bool
	// OfEnvironment: if PostgreSQL answered so, its environment is out of order, and the tenant is not to blame.
	OfEnvironment bool
	// OfTarget: if Fly answered so, the app or the token is not as it has to be. Else the answer passes by itself.
	OfTarget bool
	// Unmade: an attempt was kept from being made, and not refused.
	Unmade bool
	// Outrun: another process was faster, and the next pass sees what that one did.
	Outrun bool
	// CommitLost: whether a password is in force is not known.
	CommitLost bool
	// Unbound: the tenant may not be had in this namespace.
	Unbound bool
	// Gone: nothing is left that could receive a password.
	Gone bool
	// AwaitsEdit: an edit of the spec, which wakes the object, is the only remedy.
	AwaitsEdit bool
	// AwaitsOwner: as the reason of Ready: the operator does nothing until the owner does.
	AwaitsOwner bool
}

var unreached = Traits{Unreached: true, OfEnvironment: true, Unmade: true}

// traits has the other reasons that have one.
var traits = map[failure.Reason]Traits{
	reasons.EnvironmentNotReady:  {OfEnvironment: true},
	reasons.LedgerOutdated:       {OfEnvironment: true},
	reasons.AuthenticationFailed: {OfEnvironment: true, OfTarget: true},
	reasons.PermissionDenied:     {OfEnvironment: true, OfTarget: true},
	reasons.Busy:                 {OfEnvironment: true, Unmade: true},
	reasons.Superseded:           {Unmade: true, Outrun: true},
	reasons.OutcomeUnknown:       {CommitLost: true},
	reasons.NamespaceNotAllowed:  {Unbound: true},
	reasons.TenantNotBound:       {Unbound: true},
	reasons.TenantNotFound:       {Gone: true},
	reasons.RoleNotFound:         {Gone: true},
	reasons.OwnershipConflict:    {Gone: true},
	reasons.FlyAppNotFound:       {Gone: true, OfTarget: true},
	reasons.InvalidSpec:          {AwaitsEdit: true},
	reasons.Suspended:            {AwaitsOwner: true},
	reasons.DriftDetected:        {AwaitsOwner: true},
	reasons.SecretNotDelivered:   {AwaitsOwner: true},
	reasons.NotOffered:           {AwaitsOwner: true},
	reasons.NotEnforced:          {AwaitsOwner: true},
}

// TraitsOf are an obstacle's; none where there is no obstacle.
func TraitsOf(o *Obstacle) Traits {
	if o == nil {
		return Traits{}
	}
	return of(o.Failure.Reason)
}

func of(reason failure.Reason) Traits {
	if reason.Unreachable() {
		return unreached
	}
	return traits[reason]
}

// AwaitsOwner says that an object that is not Ready for this reason is left alone until its owner does something.
func AwaitsOwner(reason string) bool { return of(failure.Reason(reason)).AwaitsOwner }

// Passing says that a failure of Fly's passes by itself, and says nothing about the app or the token.
func Passing(err error) bool {
	class := failure.ClassOf(err)
	return !of(failure.ReasonOf(err)).OfTarget && (class == failure.Retry || class == failure.Unknown)
}
