package rotation

// Phase is how far a tenant's credentials are. Assess is the only place that says so: what comes next, the slot, the next look and the conditions
// are each one switch on it.
type Phase string

// The phases. An object whose tenant has not been seen has none ("").
const (
	// Resting: nothing is to be done.
	Resting Phase = "Resting"
	// Waiting: a rotation is due and may not begin yet. State.Wait says what it waits for.
	Waiting Phase = "Waiting"
	// Attempting: a rotation is to be begun, or an open one made again from a new password.
	Attempting Phase = "Attempting"
	// Abandoning: an attempt was begun, and nothing is left that could receive its password.
	Abandoning Phase = "Abandoning"
	// RollingOut: the rotation is committed, and the operator moves the consumers onto it.
	RollingOut Phase = "RollingOut"
	// AwaitingDeploy: the rotation is committed, and the user's next deploy moves the consumers onto it.
	AwaitingDeploy Phase = "AwaitingDeploy"
	// Retiring: every consumer has moved, and the login that they have left is being closed.
	Retiring Phase = "Retiring"
	// EndingSessions: nothing is left but sessions that were opened before the rotation.
	EndingSessions Phase = "EndingSessions"
	// Completing: all is done, and the ledger does not say so yet.
	Completing Phase = "Completing"
)

// Committed says that the newest committed rotation is not completed, and is being finished.
func (p Phase) Committed() bool {
	switch p {
	case RollingOut, AwaitingDeploy, Retiring, EndingSessions, Completing:
		return true
	}
	return false
}

// Wait is what a rotation that is due waits for.
type Wait string

const (
	// ForResume: spec.suspend is true.
	ForResume Wait = "Resume"
	// ForRetry: the last attempt has failed, and the time for the next one has not come.
	ForRetry Wait = "Retry"
	// ForSlot: as many rotations of the environment as may run at once are in progress.
	ForSlot Wait = "Slot"
	// ForAddress: another tenant has to prove the environment's changed address first.
	ForAddress Wait = "Address"
	// ForLook: what the pass had read has changed meanwhile. The next look sees it.
	ForLook Wait = "Look"
)

// Drift is what another client has changed since the last rotation.
type Drift string

// The drifts, in the order in which they are reported.
const (
	DriftedPassword         Drift = "Password"
	DriftedLogin            Drift = "Login" // one can be used that no rotation has left open
	DriftedHash             Drift = "Hash"
	DriftedFlySecret        Drift = "FlySecret"
	DriftedConnectionSecret Drift = "ConnectionSecret"
)

// State is the phase, and what belongs to it.
type State struct {
	Phase Phase
	// Cause is why a rotation is due, "" = none is.
	Cause Cause
	// Wait is set while Waiting.
	Wait Wait
	// Drift is set while Resting, "" = nothing has changed.
	Drift Drift
}

// Assess says how far a tenant's credentials are. The same facts always give the same answer.
func Assess(f Facts) State {
	decided := decide(f)
	if f.Unbound {
		decided = withhold(f, decided)
	}
	switch decided.step {
	case start:
		return starting(f, decided.cause)
	case hold:
		return State{Phase: Waiting, Cause: decided.cause, Wait: ForResume}
	case finish:
		return State{Phase: finishing(f)}
	default:
		return State{Phase: Resting, Drift: drift(f)}
	}
}

// withhold leaves of a decision what an unbound object may do: make the open attempt again, to Fly alone, and finish what is committed, with
// another password where the present one cannot be proved. Nothing new starts: an editor could make one rotation due after the other.
func withhold(f Facts, d decision) decision {
	again := d.cause == OpenAttempt || d.cause == LoginUnproved
	if d.step == finish || again && f.ToFly || d.cause == OpenAttempt {
		return d
	}
	return decision{step: nothing}
}

// starting says whether a rotation that is due starts now. A failure keeps only that attempt back which it has stopped.
func starting(f Facts, cause Cause) State {
	switch {
	case !f.ToFly && !f.ToSecret:
		return State{Phase: Abandoning, Cause: cause}
	case f.TooEarly && (f.Open || cause == LoginUnproved):
		return State{Phase: Waiting, Cause: cause, Wait: ForRetry}
	case f.Wait != "":
		return State{Phase: Waiting, Cause: cause, Wait: f.Wait}
	default:
		return State{Phase: Attempting, Cause: cause}
	}
}

func finishing(f Facts) Phase {
	last := f.Last
	switch {
	case !last.Rolled && !last.Moved && last.AwaitsDeploy:
		return AwaitingDeploy
	case !last.Rolled && !last.Moved:
		return RollingOut
	case !last.Retired && (last.Rolled || last.FormerLogin):
		return Retiring
	case last.SessionsLeft:
		return EndingSessions
	default:
		return Completing
	}
}

func drift(f Facts) Drift {
	for _, d := range []Drift{DriftedPassword, DriftedLogin, DriftedHash, DriftedFlySecret, DriftedConnectionSecret} {
		if f.Drifts[d] {
			return d
		}
	}
	return ""
}
