package tenantcredential

import (
	"context"
	"errors"

	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// later ends a pass whose rotation may not begin yet, or is to be looked at anew: it says what is waited for.
type later rotation.Wait

func (l later) Error() string { return "waiting: " + string(l) }

// act is a step of a phase. more says that the next phase has nothing to wait for, so that the same pass goes on with it.
type act func(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (_ pass.Outcome, more bool, _ error)

// acts are what each phase does. A phase that is not here does nothing.
func (r *Reconciler) acts() map[rotation.Phase]act {
	return map[rotation.Phase]act{
		rotation.Attempting:     delivered(r.attempt),
		rotation.Abandoning:     r.abandon,
		rotation.RollingOut:     r.proved(r.rollOut),
		rotation.AwaitingDeploy: r.proved(r.awaitDeploy),
		rotation.Retiring:       r.proved(delivered(r.retire)),
		rotation.EndingSessions: r.proved(delivered(r.endSessions)),
		rotation.Completing:     r.proved(delivered(r.complete)),
	}
}

// act does what the phase asks for, phase after phase until there is something to wait for.
func (r *Reconciler) act(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if err := r.check(e, in, out); err != nil {
		return out, err
	}
	acts := r.acts()
	for {
		next, is := acts[pass.Assess(in, out).Phase]
		if !is {
			break
		}
		var more bool
		var err error
		if out, more, err = next(ctx, e, in, out); err != nil {
			return out, err
		}
		if !more {
			break
		}
	}
	if err := waits(in, out); err != nil {
		return out, err
	}
	if out.Access != nil { // trouble with external access has kept no rotation from going on
		return out, out.Access
	}
	return out, nil
}

// check says what keeps the pass from acting on what it has seen. An unbound object is told nothing but that, once nothing of its own is left to be finished.
func (r *Reconciler) check(e *Environment, in pass.Input, out pass.Outcome) error {
	state := pass.Assess(in, out)
	resting := state.Phase == rotation.Resting
	switch {
	case in.Unbound != nil && resting:
		return in.Unbound
	case in.Unbound != nil:
	default:
		r.noteAddress(e, in, out)
		if problem := pass.SpecProblem(in, out.Seen, resting); problem != nil {
			return problem
		}
	}
	if out.Unseen != nil && !resting {
		return out.Unseen
	}
	return nil
}

// waits is a later where a rotation that is due is kept back.
func waits(in pass.Input, out pass.Outcome) error {
	state := pass.Assess(in, out)
	if state.Phase == rotation.Waiting && state.Wait != rotation.ForResume {
		return later(state.Wait)
	}
	return nil
}

// abandon gives up an attempt whose password nothing is left to receive.
func (r *Reconciler) abandon(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, bool, error) {
	if out.Seen.Tenant.Open == nil {
		return out, false, nil
	}
	out, err := r.discard(ctx, e, in, out)
	if err != nil {
		return out, false, pass.AtPostgres(err)
	}
	if in.Unbound != nil {
		return out, false, in.Unbound
	}
	return out, false, nil
}

// delivered lets an act happen once the connection Secret has the committed revision.
func delivered(next act) act {
	return func(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, bool, error) {
		if secret := out.Seen.Secret; secret != nil && secret.Trouble != nil {
			return out, false, secret.Trouble
		}
		return next(ctx, e, in, out)
	}
}

// laterIf is to look anew where the error says that the next pass sees something else.
func laterIf(changed bool, err error) error {
	if changed {
		return later(rotation.ForLook)
	}
	return err
}

// asLater returns what a pass has ended to wait for.
func asLater(err error) (rotation.Wait, bool) {
	var l later
	is := errors.As(err, &l)
	return rotation.Wait(l), is
}
