package tenantcredential

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// sessionPolicy is what the rotation that is about to be committed does about sessions that were opened with the former password.
func (s *scope) sessionPolicy(locked *postgres.Tenant) string {
	if s.facts(locked).Closes() {
		return postgres.SessionsCompromised
	}
	if cmp.Or(s.object.Spec.Rotation.SessionPolicy, s.environment.Spec.Rotation.SessionPolicy) == v1alpha1.SessionPolicyTerminate {
		return postgres.SessionsTerminated
	}
	return postgres.SessionsKept
}

const (
	// closePeriod is how soon it is looked again whether a session or a login is left, closeTimeout how long one pass waits for that. A
	// session is gone within milliseconds; a login in progress has authentication_timeout, for which no worker waits.
	closePeriod  = 50 * time.Millisecond
	closeTimeout = 10 * time.Second
)

// closeLogins closes the tenant's logins before a rotation after a compromise, and returns when neither a session nor a login in progress is
// left: from then on only the operator can set a password.
func (r *Reconciler) closeLogins(ctx context.Context, s *scope) error {
	if !s.facts(s.tenant).Closes() {
		return nil
	}
	var busy error // an intruder's sessions work on the same row
	err := wait.PollUntilContextTimeout(ctx, closePeriod, closeTimeout, true, func(ctx context.Context) (quiet bool, err error) {
		err = s.connection.Postgres.InTransaction(ctx, s.id(), s.uid(), func(ctx context.Context, tx postgres.Transaction) (err error) {
			locked := tx.Tenant()
			if err := s.stillDue(&locked); err != nil {
				return err
			}
			quiet, err = tx.Close(ctx, s.tenant.Open.Revision)
			return err
		})
		if busy = nil; failure.ReasonOf(err) == failure.Busy {
			busy, err = err, nil
		}
		return quiet, err
	})
	if err == nil {
		s.tenant.Open.ClosedAt = s.now
		return nil
	}
	s.lookAgain(ctx)
	switch {
	case wait.Interrupted(err) && busy != nil:
		return asObstacle(busy)
	case wait.Interrupted(err):
		return postgresObstacle(failure.New(failure.Wait, failure.Busy,
			"a session of role "+s.tenant.Role+", or a login that was in progress when it was closed, is not gone yet: a login ends within authentication_timeout of the server"))
	}
	return asObstacle(err)
}

// endSessions notes, right after the commit of a rotation that ends the sessions of before, which those are. After a compromise none is left.
func (r *Reconciler) endSessions(ctx context.Context, s *scope) error {
	if !rolling(s.tenant) || s.behind(s.tenant) || s.tenant.Last.SessionPolicy != postgres.SessionsTerminated {
		return nil
	}
	return s.sweepSessions(ctx, false)
}

// sweepSessions ends the sessions of before, if now says so, and learns whether any may be left.
func (s *scope) sweepSessions(ctx context.Context, now bool) error {
	ended, err := s.connection.Postgres.EndSessions(ctx, s.id(), s.uid(), s.tenant.Last.Revision, now)
	s.sessionsLeft = !ended
	return postgresObstacle(err)
}

func (m messages) endingSessions() string {
	return fmt.Sprintf("; sessions that role %s opened before are being ended, until no login of before can be under way any more", m.tenant.Role)
}
