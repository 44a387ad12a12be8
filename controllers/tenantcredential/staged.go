package tenantcredential

import (
	"context"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// checkPolicies refuses a roll-out by the user's own deploy where the former password ends at the commit.
func (s *scope) checkPolicies() error {
	if !s.staged() || s.strategy() == v1alpha1.RotationStrategyOverlap || unfinished(s.tenant) {
		return nil
	}
	return readyObstacle(failure.Stall, v1alpha1.ReasonInvalidSpec, "rolloutPolicy")
}

func (s *scope) staged() bool {
	return s.deliversToFly() && s.object.FlyDelivery().RolloutPolicy == v1alpha1.RolloutPolicyStaged
}

// instances are the Machines that the user's next deploy is to replace; nil = the operator moves them. It does where the password of the
// login in use changes, or ends, at the commit: nobody can wait for a deploy then.
func (s *scope) instances(ctx context.Context, locked *postgres.Tenant) ([]string, error) {
	if !s.staged() || !s.facts(locked).Overlaps() || s.sessionPolicy(locked) == postgres.SessionsCompromised {
		return nil, nil
	}
	return s.connection.Fly.Instances(ctx, s.flyApp)
}

// awaitsDeploy says that the Machines take the value with the user's next deploy.
func (s *scope) awaitsDeploy() bool {
	return s.tenant != nil && s.tenant.Last != nil && s.tenant.Last.State == postgres.StateCommitted &&
		s.tenant.Last.FlyInstances != nil && s.staged()
}

// advance moves Machines, or looks how far the user has moved them.
func (s *scope) advance(ctx context.Context, last *postgres.Rotation) (fly.Progress, error) {
	if s.awaitsDeploy() {
		return s.connection.Fly.Deployed(ctx, s.flyApp, s.destination.Variable, last.FlyInstances)
	}
	return s.connection.Fly.Advance(ctx, fly.RollOut{
		App: s.flyApp, Variable: s.destination.Variable, Revision: last.Revision, SecretVersion: last.FlyVersion,
	})
}
