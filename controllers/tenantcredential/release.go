package tenantcredential

import (
	"context"

	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// recordRelease has `fly` show a roll-out that is done as deployed. The rotation does not depend on it: what can not be shown is said in the
// event that announces it, and not tried again.
func (s *scope) recordRelease(ctx context.Context, last *postgres.Rotation) {
	if !s.deliversToFly() || s.awaitsDeploy() { // the user's deploy has made its own
		return
	}
	done := fly.RollOut{App: s.flyApp, Variable: s.destination.Variable, Revision: last.Revision, SecretVersion: last.FlyVersion}
	if warning := s.connection.Fly.RecordRelease(ctx, done, last.Cause); warning != "" {
		s.progress.Warnings = append(s.progress.Warnings, warning)
	}
}
