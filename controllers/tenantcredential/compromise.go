package tenantcredential

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

const (
	// closePeriod is how soon it is looked again whether a session or a login is left, closeTimeout how long one pass waits for that. A
	// session is gone within milliseconds; a login in progress has authentication_timeout, for which no worker waits.
	closePeriod  = 50 * time.Millisecond
	closeTimeout = 10 * time.Second
)

// closeLogins closes the tenant's logins before a rotation after a compromise, and returns when neither a session nor a login in progress is
// left: from then on only the operator can set a password.
func (r *Reconciler) closeLogins(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if !pass.Facts(in, out.Seen).Closes() {
		return out, nil
	}
	open := *out.Seen.Tenant.Open
	var busy error // an intruder's sessions work on the same row
	err := wait.PollUntilContextTimeout(ctx, closePeriod, closeTimeout, true, func(ctx context.Context) (quiet bool, err error) {
		err = e.Postgres.InTransaction(ctx, pass.ID(in), pass.UID(in), func(ctx context.Context, tx postgres.Transaction) (err error) {
			if err := stillDue(in, out, pass.WithTenant(out.Seen, tx.Tenant())); err != nil {
				return err
			}
			quiet, err = tx.Close(ctx, open.Revision)
			return err
		})
		if busy = nil; failure.ReasonOf(err) == reasons.Busy {
			busy, err = err, nil
		}
		return quiet, err
	})
	if err == nil {
		open.ClosedAt = in.Now
		out.Seen = pass.WithOpen(out.Seen, &open)
		return out, nil
	}
	out.Seen = lookAgain(ctx, e, in, out.Seen)
	switch {
	case wait.Interrupted(err) && busy != nil:
		return out, pass.AtPostgres(busy)
	case wait.Interrupted(err):
		return out, pass.AtPostgres(failure.New(failure.Wait, reasons.Busy,
			"a session of role "+out.Seen.Tenant.Role+", or a login that was in progress when the role was closed, has not ended yet: a login ends within authentication_timeout of the server"))
	}
	return out, pass.AtPostgres(err)
}
