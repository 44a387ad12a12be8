package tenantcredential

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// loginChecks is how the new password is tried: a fresh connection each, because a pooler may still hold the old verifier.
var loginChecks = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Steps: 6}

// password is a new password: whose it is, and the verifier that it is set with.
type password struct {
	login    string
	value    credential.Secret
	verifier string
	checked  bool // a login with it has succeeded
}

func newPassword(login string) (password, error) {
	value := credential.NewPassword()
	verifier, err := credential.Verifier(value)
	return password{login: login, value: value, verifier: verifier}, err
}

// proved lets an act happen that rests on the login having the committed password, with which a login has succeeded.
func (r *Reconciler) proved(next act) act {
	return func(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, bool, error) {
		if out.Seen.Tenant.PasswordDrifted() {
			return out, false, pass.AtPostgres(failure.New(failure.Stall, reasons.DriftDetected, ""))
		}
		out, err := r.proveLogin(ctx, e, in, out)
		if err != nil {
			return out, false, err
		}
		return next(ctx, e, in, out)
	}
}

// proveLogin logs in with the password that is committed, where that has not succeeded yet, and has the ledger note it: no Machine is moved
// before. Refused again and again means that something stands between; then the password is given up, for a new one. A server that cannot be
// asked proves nothing: the next pass asks it again.
func (r *Reconciler) proveLogin(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if !out.Seen.Tenant.Unproved() {
		return out, nil
	}
	last := *out.Seen.Tenant.Last
	untried := r.untriedOf(in)
	if untried == nil || credential.VerifierDigest(untried.verifier) != last.VerifierDigest {
		return out, later(rotation.ForLook)
	}
	out.Attempt.Login = untried.login
	if err := checkLogin(ctx, e, in, out.Seen.Tenant, *untried); err != nil {
		if failure.ReasonOf(err) == reasons.VerificationFailed {
			r.untried.Delete(client.ObjectKeyFromObject(in.Object))
		}
		return out, pass.AtPostgres(err)
	}
	if err := e.Postgres.LoginChecked(ctx, pass.ID(in), pass.UID(in), last.Revision); err != nil {
		return out, pass.AtPostgres(err)
	}
	last.LoginCheckedAt = in.Now
	out.Seen = pass.WithLast(out.Seen, last)
	return out, nil
}

// checkLogin tries the password some times, and returns how the last one failed.
func checkLogin(ctx context.Context, e *Environment, in pass.Input, tenant *postgres.Tenant, next password) error {
	login := postgres.Login{TenantID: pass.ID(in), UID: pass.UID(in), Name: next.login, Role: tenant.Role, Database: tenant.Database, Password: next.value}
	var last error
	_ = wait.ExponentialBackoffWithContext(ctx, loginChecks, func(ctx context.Context) (bool, error) {
		last = e.Postgres.VerifyLogin(ctx, login)
		return last == nil, nil
	})
	if last != nil {
		ctrl.LoggerFrom(ctx).Error(last, "the tenant's login with the new password failed", "login", next.login)
	}
	return last
}

// keepPassword remembers what is about to be committed, until a login with it has succeeded, and returns the digest of what is remembered.
func (r *Reconciler) keepPassword(in pass.Input, out pass.Outcome, next password) string {
	if next.checked {
		return out.Seen.Untried
	}
	r.untried.Store(client.ObjectKeyFromObject(in.Object), &next)
	return credential.VerifierDigest(next.verifier)
}

func (r *Reconciler) untriedOf(in pass.Input) *password {
	kept, _ := r.untried.Load(client.ObjectKeyFromObject(in.Object))
	untried, _ := kept.(*password)
	return untried
}

// untriedDigest is that of the verifier whose password is remembered, "" = none.
func (r *Reconciler) untriedDigest(in pass.Input) string {
	untried := r.untriedOf(in)
	if untried == nil {
		return ""
	}
	return credential.VerifierDigest(untried.verifier)
}

// forgetPassword forgets what needs no proof any more.
func (r *Reconciler) forgetPassword(in pass.Input, seen pass.Observed) {
	if seen.Tenant != nil && seen.Tenant.Open == nil && !seen.Tenant.Unproved() {
		r.untried.Delete(client.ObjectKeyFromObject(in.Object))
	}
}
