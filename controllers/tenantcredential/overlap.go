package tenantcredential

import (
	"context"
	"time"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// overlap gives the new password to the idle login, tries it, and only then tells Fly: what Fly holds is valid at every moment, and whatever
// is logged in as the other login, or logs in as it, notices nothing.
func (r *Reconciler) overlap(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome, next password) (pass.Outcome, error) {
	out, next, err := issue(ctx, e, in, out, next)
	if err != nil {
		out.Seen = lookAgain(ctx, e, in, out.Seen)
		return out, err
	}
	out.Attempt.Login = next.login
	if err := checkLogin(ctx, e, in, out.Seen.Tenant, next); err != nil {
		return out, pass.AtPostgres(err)
	}
	next.checked = true
	return r.commit(ctx, e, in, out, next)
}

// issueDeadline bounds the transaction that issues a password: two waits for a lock, and COMMIT.
const issueDeadline = 15 * time.Second

// issue is a transaction of its own, and returns the password with its login. That its answer is lost does no harm: the next attempt issues again.
func issue(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome, next password) (pass.Outcome, password, error) {
	ctx, cancel := context.WithTimeout(ctx, issueDeadline)
	defer cancel()
	open := *out.Seen.Tenant.Open
	var issued postgres.Issued
	err := e.Postgres.InTransaction(ctx, pass.ID(in), pass.UID(in), func(ctx context.Context, tx postgres.Transaction) (err error) {
		if err := stillDue(in, out, pass.WithTenant(out.Seen, tx.Tenant())); err != nil {
			return err
		}
		issued, err = tx.Issue(ctx, open.Revision, next.verifier)
		return err
	})
	if err != nil {
		return out, next, pass.AtPostgres(err)
	}
	out.LeftOut = issued.LeftOut
	next.login, open.State, open.Login = issued.Login, postgres.StateIssued, issued.Login
	out.Seen = pass.WithOpen(out.Seen, &open)
	return out, next, nil
}
