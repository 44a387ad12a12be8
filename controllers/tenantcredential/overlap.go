package tenantcredential

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// checkSecondLogin keeps a rotation that needs a second login from being opened where there is none.
func (s *scope) checkSecondLogin() error {
	if s.tenant.SecondViolation == "" || !s.facts(s.tenant).Overlaps() {
		return nil
	}
	return postgresObstacle(failure.New(failure.Stall, failure.RoleNotAllowed, s.tenant.SecondViolation))
}

// overlap gives the new password to the idle login, tries it, and only then tells Fly: what Fly holds is valid at every moment, and who
// is logged in as the other login, or logs in as it, notices nothing.
func (r *Reconciler) overlap(ctx context.Context, s *scope, next password) error {
	if err := r.issue(ctx, s, &next); err != nil {
		s.lookAgain(ctx)
		return err
	}
	if err := r.checkLogin(ctx, s, next); err != nil {
		return postgresObstacle(err)
	}
	next.checked = true
	return r.commit(ctx, s, next)
}

// issueDeadline bounds the transaction that issues a password: two waits for a lock, and COMMIT.
const issueDeadline = 15 * time.Second

// issue is a transaction of its own. That its answer is lost does no harm: the next attempt issues again.
func (r *Reconciler) issue(ctx context.Context, s *scope, next *password) error {
	ctx, cancel := context.WithTimeout(ctx, issueDeadline)
	defer cancel()
	var issued postgres.Issued
	err := s.connection.Postgres.InTransaction(ctx, s.id(), s.uid(), func(ctx context.Context, tx postgres.Transaction) (err error) {
		locked := tx.Tenant()
		if err := s.stillDue(&locked); err != nil {
			return err
		}
		issued, err = tx.Issue(ctx, s.tenant.Open.Revision, next.verifier)
		return err
	})
	if err != nil {
		return asObstacle(err)
	}
	if len(issued.LeftOut) > 0 {
		r.tell(s, corev1.EventTypeWarning, v1alpha1.EventSettingsLeftOut, "Rotate",
			"Login %s does not have these settings of role %s: %s. To copy them, as a superuser: SELECT tenant_credentials.prepare_overlap(%s)",
			issued.Login, s.tenant.Role, strings.Join(issued.LeftOut, ", "), postgres.Literal(s.tenant.Role))
	}
	next.login = issued.Login
	s.tenant.Open.State, s.tenant.Open.Login = postgres.StateIssued, next.login
	return nil
}

// retire closes the login that the Machines have left.
func (s *scope) retire(ctx context.Context, last *postgres.Rotation) error {
	if !rolled(s.tenant) {
		if s.tenant.FormerLogin == "" {
			return nil
		}
		s.recordRelease(ctx, last)
		if err := s.connection.Postgres.Rolled(ctx, s.id(), s.uid(), last.Revision); err != nil {
			return postgresObstacle(err)
		}
		s.rolledNow = true
	}
	retired, err := s.connection.Postgres.Retire(ctx, s.id(), s.uid(), last.Revision, s.retirement())
	s.retiring = !retired
	return postgresObstacle(err)
}

// retirement says how. Machines that the operator has moved itself do not use the former login any more, and whoever still has a session of
// it has the grace period, unless sessions are to be ended anyway. Of Machines that others have replaced it is not known which secrets they
// started with: Fly may have served an older value, so nothing is hurried, and nobody cut off. Nor can anybody see whether what mounts a
// connection Secret has been rolled: that no session is left of the former login does not tell. A password that somebody else may know is
// good for nobody's grace.
func (s *scope) retirement() postgres.Retirement {
	grace := s.environment.Spec.Rotation.OverlapGracePeriod.Value()
	switch {
	case s.tenant.Last.FlyInstances != nil:
		return postgres.Retirement{Grace: grace}
	case s.deliversToSecret() && s.tenant.Last.SessionPolicy != postgres.SessionsCompromised:
		return postgres.Retirement{Grace: grace, EndSessions: true}
	case s.tenant.Last.SessionPolicy != postgres.SessionsKept:
		grace = 0
	}
	return postgres.Retirement{Grace: grace, OnceIdle: true, EndSessions: true}
}
