package tenantcredential

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
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

// proveLogin logs in with the password that is committed, where that has not succeeded yet, and has the ledger note it: no Machine is moved
// before. Refused again and again means that something stands between; then the password is given up, for a new one. A server that cannot be
// asked proves nothing: the next pass asks it again.
func (r *Reconciler) proveLogin(ctx context.Context, s *scope) error {
	if !unproved(s.tenant) {
		return nil
	}
	if !s.knows(s.tenant.Last) {
		return errLater
	}
	if err := r.checkLogin(ctx, s, *s.untried); err != nil {
		if failure.ReasonOf(err) == failure.VerificationFailed {
			r.untried.Delete(client.ObjectKeyFromObject(s.object))
		}
		return postgresObstacle(err)
	}
	if err := s.connection.Postgres.LoginChecked(ctx, s.id(), s.uid(), s.tenant.Last.Revision); err != nil {
		return postgresObstacle(err)
	}
	s.tenant.Last.LoginCheckedAt = s.now
	return nil
}

// checkLogin tries the password some times, and returns how the last one failed.
func (r *Reconciler) checkLogin(ctx context.Context, s *scope, next password) error {
	s.tried = next.login
	login := postgres.Login{TenantID: s.id(), UID: s.uid(), Name: next.login, Role: s.tenant.Role, Database: s.tenant.Database, Password: next.value.Reveal()}
	var last error
	_ = wait.ExponentialBackoffWithContext(ctx, loginChecks, func(ctx context.Context) (bool, error) {
		last = s.connection.Postgres.VerifyLogin(ctx, login)
		return last == nil, nil
	})
	if last != nil {
		ctrl.LoggerFrom(ctx).Error(last, "the tenant's login with the new password failed", "login", next.login)
	}
	return last
}

// keepPassword remembers what is about to be committed, until a login with it has succeeded.
func (r *Reconciler) keepPassword(s *scope, next password) {
	if !next.checked {
		s.untried = &next
		r.untried.Store(client.ObjectKeyFromObject(s.object), s.untried)
	}
}

func (r *Reconciler) untriedOf(object *v1alpha1.TenantCredential) *password {
	kept, _ := r.untried.Load(client.ObjectKeyFromObject(object))
	untried, _ := kept.(*password)
	return untried
}

// forgetPassword forgets what needs no proof any more.
func (r *Reconciler) forgetPassword(s *scope) {
	if s.tenant != nil && s.tenant.Open == nil && !unproved(s.tenant) {
		r.untried.Delete(client.ObjectKeyFromObject(s.object))
	}
}

// knows says whether this process has the password of a rotation.
func (s *scope) knows(last *postgres.Rotation) bool {
	return s.untried != nil && credential.VerifierDigest(s.untried.verifier) == last.VerifierDigest
}
