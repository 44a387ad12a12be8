package tenantcredential

import (
	"cmp"
	"context"
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// sessionPolicy is what the rotation that is about to be committed does about sessions that were opened with the former password.
func (s *scope) sessionPolicy(locked *postgres.Tenant) string {
	if s.facts(locked).RequestDue() && s.request().Compromised {
		return postgres.SessionsCompromised
	}
	if cmp.Or(s.object.Spec.Rotation.SessionPolicy, s.environment.Spec.Rotation.SessionPolicy) == v1alpha1.SessionPolicyTerminate {
		return postgres.SessionsTerminated
	}
	return postgres.SessionsKept
}

// endSessions notes, right after the commit of a rotation that ends the sessions of before, which those are. Where the password was
// compromised it ends them, pass after pass: this comes before anything is asked of Fly, so that no trouble there is in its way.
func (r *Reconciler) endSessions(ctx context.Context, s *scope) error {
	if !rolling(s.tenant) || s.behind(s.tenant) || s.tenant.Last.SessionPolicy == postgres.SessionsKept {
		return nil
	}
	return s.sweepSessions(ctx, s.tenant.Last.SessionPolicy == postgres.SessionsCompromised)
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
