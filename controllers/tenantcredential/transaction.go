package tenantcredential

import (
	"context"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
	"github.com/systempromptio/tenant-credential-operator/controllers/timing"
)

// commit is the one transaction, and what is so after it.
func (r *Reconciler) commit(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome, next password) (pass.Outcome, error) {
	out.Seen.Untried = r.keepPassword(in, out, next)
	left, told, err := r.transact(ctx, e, in, out, next)
	out.Attempt.Told = out.Attempt.Told || told
	if err != nil {
		out.Seen = lookAgain(ctx, e, in, out.Seen)
		return out, err
	}
	out.Seen = pass.WithTenant(out.Seen, left)
	if err := checkTenant(in, out.Seen); err != nil {
		return out, err
	}
	if out.Seen.Fly != nil {
		out.Seen = pass.WithFlyDigest(out.Seen, out.Seen.Tenant.Last.FlyDigest)
	}
	return r.settleSecret(ctx, e, in, out)
}

// transact changes login, stored hash and ledger together, with the write to Fly inside. It runs on when the process is asked to stop,
// because what Fly was told must be committed, or known not to be. It returns the tenant as it is then; told says that Fly may have the value.
func (r *Reconciler) transact(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome, next password) (left postgres.Tenant, told bool, _ error) {
	r.transactions.Add(1)
	defer r.transactions.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timing.Transaction)
	defer cancel()

	open, destination := out.Seen.Tenant.Open, pass.Destination(in, out.Seen.Tenant)
	err := e.Postgres.InTransaction(ctx, pass.ID(in), pass.UID(in), func(ctx context.Context, tx postgres.Transaction) error {
		locked := pass.WithTenant(out.Seen, tx.Tenant())
		if err := stillDue(in, out, locked); err != nil {
			return err
		}
		staging := postgres.Staging{Revision: open.Revision, Verifier: next.verifier, DeliveryDigest: destination.Digest(),
			SessionPolicy: pass.SessionPolicy(in, locked), LoginChecked: next.checked}
		if err := tx.Stage(ctx, staging); err != nil {
			return err
		}
		if err := r.stageSecret(ctx, in, open, destination, next); err != nil {
			return err
		}
		var write postgres.FlyWrite
		var err error
		if pass.ToFly(in) {
			write, told, err = deliverToFly(ctx, e, in, locked, destination, next)
		}
		if err != nil {
			return err
		}
		err = tx.Commit(ctx, write)
		left = tx.Tenant()
		return err
	})
	return left, told, pass.AtPostgres(err)
}

// stillDue assesses again, on what was read under the lock.
func stillDue(in pass.Input, out pass.Outcome, locked pass.Observed) error {
	before, now := out.Seen.Tenant, locked.Tenant
	out.Seen = locked
	if now.Open != nil && now.Open.Revision == before.Open.Revision && now.Login == before.Login && now.Role == before.Role &&
		now.FlyApp == before.FlyApp && now.Database == before.Database && pass.Assess(in, out).Phase == rotation.Attempting {
		return nil
	}
	return pass.AtPostgres(failure.New(failure.Retry, reasons.Superseded, "another process of the operator continued this rotation"))
}

// deliverToFly tells Fly the new value. Whatever fails without an unknown outcome, Fly has not taken.
func deliverToFly(ctx context.Context, e *Environment, in pass.Input, locked pass.Observed, destination credential.Destination, next password) (_ postgres.FlyWrite, told bool, _ error) {
	ctx, cancel := context.WithTimeout(ctx, timing.FlyWrite)
	defer cancel()
	app := locked.Tenant.FlyApp
	secret, err := e.Fly.SetSecret(ctx, app, destination.Variable, destination.URL(next.login, next.value))
	if err != nil {
		return postgres.FlyWrite{}, failure.ClassOf(err) == failure.Unknown, pass.AtFlySecret(err)
	}
	before, err := instances(ctx, e, in, locked)
	return postgres.FlyWrite{App: app, Version: secret.Version, Digest: secret.Digest, Instances: before}, true, pass.AtMachines(err)
}

// instances are the Machines that the user's next deploy is to replace; nil = the operator moves them. It does where the password of the
// login in use changes, or ends, at the commit: nothing can wait for a deploy then.
func instances(ctx context.Context, e *Environment, in pass.Input, locked pass.Observed) ([]string, error) {
	if !pass.Staged(in) || !pass.Facts(in, locked).Overlaps() || pass.SessionPolicy(in, locked) == postgres.SessionsCompromised {
		return nil, nil
	}
	return e.Fly.Instances(ctx, appOf(locked))
}

// appOf is the app as it was read in this pass.
func appOf(seen pass.Observed) fly.App { return seen.Fly.App }

// lookAgain reads what is so after a failed attempt, for the report. That it cannot be read is no news beside the failure.
func lookAgain(ctx context.Context, e *Environment, in pass.Input, seen pass.Observed) pass.Observed {
	if tenant, err := look(ctx, e, in); err == nil {
		seen = pass.WithTenant(seen, tenant)
	}
	if seen.Fly == nil {
		return seen
	}
	digest, err := e.Fly.SecretDigest(ctx, seen.Tenant.FlyApp, variable(in))
	if err != nil {
		return pass.WithFly(seen, nil) // what was seen before the attempt proves nothing any more
	}
	return pass.WithFlyDigest(seen, digest)
}
