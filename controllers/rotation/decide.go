// Package rotation decides what a tenant's credentials need next. It does no I/O and reads no clock: everything that it knows is
// passed in, so that the same facts always give the same decision.
package rotation

// step is what has to happen next.
type step string

const (
	// nothing: everything that is asked for is done.
	nothing step = "nothing"
	// start a rotation, or start an open one again: generate a new password, whatever was tried before.
	start step = "start"
	// finish the rotation that is committed: move the Machines and complete it. Never generates anything.
	finish step = "finish"
	// hold: a rotation is due and spec.suspend keeps it from starting.
	hold step = "hold"
)

// Cause is why a rotation is due; it is the cause in the ledger and in status.lastRotation.
type Cause string

// The causes, in the order in which they are looked at.
const (
	// OpenAttempt: an earlier attempt was not committed, and Fly may hold a value that never became valid.
	OpenAttempt Cause = "OpenAttempt"
	// LedgerRegressed: PostgreSQL has lost rotations that were committed, so that the apps may have a password that PostgreSQL does not know.
	LedgerRegressed Cause = "LedgerRegressed"
	// LoginUnproved: no login with the password that the last rotation set has succeeded, and no process that could try one has it any more.
	LoginUnproved Cause = "LoginUnproved"
	// DriftDetected: after a compromise a login of the tenant has another password than the one that was set, or can be used and should not be.
	// The intruder may have left something behind.
	DriftDetected Cause = "DriftDetected"
	// FlySuperseded: during the rollout another client's value replaced the operator's at Fly.
	FlySuperseded Cause = "FlySuperseded"
	// GenerationRaised: spec.rotationGeneration is above what is done.
	GenerationRaised Cause = "GenerationRaised"
	// Requested: spec.rotationRequest asks for a revision to be replaced, and none is newer.
	Requested Cause = "Requested"
	// DeliveryChanged: the variable, the Secret or the address in DATABASE_URL is another one, or the Secret is gone. No place that is
	// left has the password, so a new one is needed.
	DeliveryChanged Cause = "DeliveryChanged"
)

// Facts is what a decision rests on.
type Facts struct {
	// Asked is spec.rotationGeneration, 0 where absent.
	Asked int64
	// Completed is the claim's generation: the highest one that is done.
	Completed int64
	// Suspended is spec.suspend.
	Suspended bool
	// Deleted: the object is being deleted. Like Suspended it forbids starting, never finishing.
	Deleted bool
	// DeliveryDigest is the digest of the destination that spec asks for.
	DeliveryDigest string
	// Overlap is what the strategy says: a new password goes to the login that is not in use.
	Overlap bool
	// SecondActive: the login in use is the second one, from a time when the strategy was Overlap.
	SecondActive bool
	// Open: the ledger has a row that is not committed. Issued: its login is decided, and has a password already. Closed: it is because of a
	// compromise, and the tenant's logins are closed already.
	Open, Issued, Closed bool
	// Lost: an attempt had been begun, Fly holds a value that the ledger does not know, and so the ledger has lost the attempt. The object
	// itself says that it had been begun, so that Lost gives no more rights than spec has: it does not pass over Suspended.
	Lost bool
	// Regressed: the ledger has lost rotations that were committed.
	Regressed bool
	// Request is spec.rotationRequest, nil where there is none.
	Request *Request
	// ToFly and ToSecret say where a password goes now; neither = nowhere.
	ToFly, ToSecret bool
	// Unbound: the object may no longer have the tenant in its namespace. Suspended is true, too.
	Unbound bool
	// TooEarly: the last attempt has failed, the time for the next one has not come, and nothing has changed since.
	TooEarly bool
	// Wait is what the pass has found to wait for, "" = nothing.
	Wait Wait
	// Drifts are what another client has changed.
	Drifts map[Drift]bool
	// Compromised is the newest revision whose rotation ended the sessions of before because of a compromise; 0 = none.
	Compromised int64
	// Last is the newest committed rotation, nil where there has been none.
	Last *Last
}

// Request asks for one rotation.
type Request struct {
	// Replaces is the revision that is to be replaced.
	Replaces int64
	// Compromised: another client may know the password. Only a rotation that ends the sessions of before will do, and at once.
	Compromised bool
}

// RequestDue says whether the request is still to be fulfilled.
func (f Facts) RequestDue() bool {
	switch {
	case f.Request == nil:
		return false
	case f.Request.Compromised:
		return f.Request.Replaces >= f.Compromised
	default:
		return f.Last == nil || f.Request.Replaces >= f.Last.Revision
	}
}

// Urgent says whether the rotation comes before those of other tenants: Fly may hold a value that never became valid, or a user asks for
// it.
func (f Facts) Urgent() bool { return f.Open || f.RequestDue() || f.Last != nil && f.Last.Drifted }

// Closes says whether a rotation that starts now closes the tenant's logins, and ends their sessions, before it sets the new password: a
// session of a client that knows the previous password could otherwise set a password of its own.
func (f Facts) Closes() bool {
	return f.Closed || f.RequestDue() && f.Request.Compromised || f.Last != nil && f.Last.Drifted
}

// Last is the newest rotation that is committed.
type Last struct {
	Revision       int64
	Completed      bool
	Generation     int64
	DeliveryDigest string
	// Rolled: every Machine has moved, and the previous login is being closed.
	Rolled bool
	// Unproved: no login with its password has succeeded, and no process that could try one has it any more: it was refused, or that
	// process has ended.
	Unproved bool
	// Drifted: it was because of a compromise, and a login of the tenant is not as it left it.
	Drifted bool
	// Superseded: the digest at Fly is not the one of its write. Never true where Fly could not be asked.
	Superseded bool
	// Halted: a Machine has been seen not to come up with it, or another client has changed the password since.
	Halted bool
	// Moved: every consumer that the operator can see has it. AwaitsDeploy: until then, the user's next deploy moves them.
	Moved, AwaitsDeploy bool
	// FormerLogin: the login that the consumers leave can be used. Retired: it was closed just now.
	FormerLogin, Retired bool
	// SessionsLeft: a session that is to be ended may be left.
	SessionsLeft bool
	// Gone: a place that it was for is gone: the Secret, so that no consumer has its password; or, before all Machines have moved, the app, which
	// the spec does not name any more.
	Gone bool
}

// decision is the step and, where a rotation is due, its cause.
type decision struct {
	step  step
	cause Cause
}

// decide returns the first answer of an ordered chain. The rule behind it: until the ledger says committed, throw the password away
// and start again; once it says committed, only ever go forward.
func decide(f Facts) decision {
	if f.Open {
		return decision{start, OpenAttempt}
	}
	if f.Last != nil && !f.Last.Completed {
		return inProgress(f)
	}
	if f.Lost && !f.Suspended {
		return decision{start, LedgerRegressed} // also on an object that is being deleted
	}
	cause := due(f)
	switch {
	case cause == "" || f.Deleted:
		return decision{step: nothing}
	case f.Suspended:
		return decision{hold, cause}
	default:
		return decision{start, cause}
	}
}

// Overlaps says whether a rotation that starts now gives the new password to the idle login. While Machines are being moved from the one
// login to the other, neither is idle: then the one that they move to is given a new password, and those that have not moved notice nothing.
// After a compromise both are closed, so there is nothing to overlap.
func (f Facts) Overlaps() bool {
	switch {
	case f.Closes():
		return false
	case f.Issued:
		return true
	case f.Last != nil && !f.Last.Completed && !f.Last.Rolled:
		return false
	default:
		return f.Overlap || f.SecondActive
	}
}

// inProgress decides about a committed rotation that is not completed. What makes it impossible to finish makes a new one due at
// once, suspended or not; what is asked for meanwhile waits for the completion, unless the rollout is halted or the password compromised.
func inProgress(f Facts) decision {
	switch {
	case f.Regressed:
		return decision{start, LedgerRegressed}
	case f.Last.Unproved:
		return decision{start, LoginUnproved}
	case f.Last.Drifted:
		return decision{start, DriftDetected}
	case f.Last.Superseded:
		return decision{start, FlySuperseded}
	case f.Last.Gone && !f.Last.Rolled: // then the other login is still used by those that have not moved
		return decision{start, DeliveryChanged}
	case f.Suspended || f.Deleted:
		return decision{step: finish}
	case f.Last.Halted && f.Last.DeliveryDigest != f.DeliveryDigest: // it was for a place that is not wanted any more
		return decision{start, DeliveryChanged}
	case f.RequestDue() && (f.Last.Halted || f.Request.Compromised):
		return decision{start, Requested}
	case f.Last.Halted && f.Asked > f.Last.Generation:
		return decision{start, GenerationRaised}
	default:
		return decision{step: finish}
	}
}

func due(f Facts) Cause {
	switch {
	case f.Regressed, f.Lost:
		return LedgerRegressed
	case f.Last != nil && f.Last.Drifted:
		return DriftDetected
	case f.Asked > f.Completed:
		return GenerationRaised
	case f.RequestDue():
		return Requested
	case f.Last != nil && (f.Last.DeliveryDigest != f.DeliveryDigest || f.Last.Gone):
		return DeliveryChanged
	default:
		return ""
	}
}
