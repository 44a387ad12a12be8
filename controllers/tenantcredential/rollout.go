package tenantcredential

import (
	"context"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// rollOut moves the Machines onto a committed rotation, one step a pass.
func (r *Reconciler) rollOut(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, bool, error) {
	r.occupySlot(e, in)
	progress, err := e.Fly.Advance(ctx, rollout(in, out.Seen))
	return moved(in, out, progress, err)
}

// awaitDeploy looks how far the user has moved the Machines.
func (r *Reconciler) awaitDeploy(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, bool, error) {
	progress, err := e.Fly.Deployed(ctx, appOf(out.Seen), variable(in), out.Seen.Tenant.Last.FlyInstances)
	return moved(in, out, progress, err)
}

// moved is how far a rollout is. One that has halted goes on as a new rotation, where one is due.
func moved(in pass.Input, out pass.Outcome, progress fly.Progress, err error) (pass.Outcome, bool, error) {
	if err != nil {
		return out, false, pass.AtMachines(err)
	}
	out.Seen.Machines = &progress
	if progress.Halted != "" && pass.Assess(in, out).Phase.Committed() {
		return out, false, pass.AtMachines(failure.New(failure.Stall, reasons.MachineUnhealthy, progress.Halted))
	}
	return out, progress.Done() || progress.Halted != "", nil
}

func rollout(in pass.Input, seen pass.Observed) fly.Rollout {
	last := seen.Tenant.Last
	return fly.Rollout{App: appOf(seen), Variable: variable(in), Revision: last.Revision, SecretVersion: last.FlyVersion}
}

// retire closes the login that the consumers have left.
func (r *Reconciler) retire(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, bool, error) {
	revision := out.Seen.Tenant.Last.Revision
	if !out.Seen.Tenant.Rolled() {
		out.Seen = recordRelease(ctx, e, in, out.Seen)
		if err := e.Postgres.Rolled(ctx, pass.ID(in), pass.UID(in), revision); err != nil {
			return out, false, pass.AtPostgres(err)
		}
		out.Rolled = true
	}
	retired, err := e.Postgres.Retire(ctx, pass.ID(in), pass.UID(in), revision, pass.Retirement(in, out.Seen.Tenant))
	if err != nil {
		return out, false, pass.AtPostgres(err)
	}
	out.Seen.Retired = retired
	return out, retired, nil
}

// noteSessions notes, right after the commit of a rotation that ends the sessions of before, which those are. After a compromise none is left.
func (r *Reconciler) noteSessions(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	tenant := out.Seen.Tenant
	if !tenant.Rolling() || pass.Regressed(in, tenant) || tenant.Last.SessionPolicy != postgres.SessionsTerminated {
		return out, nil
	}
	return sweepSessions(ctx, e, in, out, false)
}

// endSessions ends the sessions that were opened before the rotation.
func (r *Reconciler) endSessions(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, bool, error) {
	out, err := sweepSessions(ctx, e, in, out, true)
	return out, err == nil && !out.Seen.SessionsLeft, err
}

// sweepSessions ends the sessions of before, if now says so, and learns whether any may be left.
func sweepSessions(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome, now bool) (pass.Outcome, error) {
	ended, err := e.Postgres.EndSessions(ctx, pass.ID(in), pass.UID(in), out.Seen.Tenant.Last.Revision, now)
	out.Seen.SessionsLeft = !ended
	return out, pass.AtPostgres(err)
}

// complete ends the rotation, if Fly still holds the value that the Machines were moved onto; else the next pass rotates.
func (r *Reconciler) complete(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, bool, error) {
	out, err := confirmFly(ctx, e, in, out)
	if err != nil || pass.Assess(in, out).Phase != rotation.Completing {
		return out, false, err
	}
	if !out.Seen.Tenant.Rolled() { // else it was recorded when the Machines had moved
		out.Seen = recordRelease(ctx, e, in, out.Seen)
	}
	revision := out.Seen.Tenant.Last.Revision
	left, err := e.Postgres.Complete(ctx, pass.ID(in), pass.UID(in), revision)
	if err != nil {
		return out, false, pass.AtPostgres(err)
	}
	out.Seen = pass.WithTenant(out.Seen, left)
	if err := checkTenant(in, out.Seen); err != nil {
		return out, false, err
	}
	return out, false, r.check(e, in, out) // what was asked for meanwhile has waited for this
}

// confirmFly reads anew what Fly holds, where the value was set in another pass.
func confirmFly(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if !pass.ToFly(in) || out.Attempt.Made {
		return out, nil
	}
	digest, err := e.Fly.SecretDigest(ctx, out.Seen.Tenant.FlyApp, variable(in))
	if err != nil {
		return out, pass.AtFlySecret(err)
	}
	out.Seen = pass.WithFlyDigest(out.Seen, digest)
	return out, nil
}

// recordRelease has `fly` show a rollout that is done as deployed; the user's own deploy has made its own release. The rotation does not depend on it: what
// cannot be shown is said in the event that announces it, and not tried again. An app without Machines has nothing that was deployed.
func recordRelease(ctx context.Context, e *Environment, in pass.Input, seen pass.Observed) pass.Observed {
	if !pass.ToFly(in) || pass.AwaitsDeploy(in, seen.Tenant) || seen.Machines != nil && seen.Machines.Total == 0 {
		return seen
	}
	if warning := e.Fly.RecordRelease(ctx, rollout(in, seen), seen.Tenant.Last.Cause); warning != "" {
		return pass.Warn(seen, warning)
	}
	return seen
}
