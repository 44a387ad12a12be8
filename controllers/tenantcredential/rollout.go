package tenantcredential

import (
	"context"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// rollOut moves the Machines onto a committed rotation, one step a pass, and completes it when all have moved. Before each step the
// facts are checked that the step rests on: the role has our password, with which a login has succeeded, and Fly our value. A pass that has
// just committed ends here: its report comes first, so that no status says Ready while Machines are being moved.
func (r *Reconciler) rollOut(ctx context.Context, s *scope) error {
	if s.decision.Step != rotation.Finish || s.attempted {
		return nil
	}
	last := s.tenant.Last
	if passwordDrifted(s.tenant) {
		return postgresObstacle(failure.New(failure.Stall, v1alpha1.ReasonDriftDetected, ""))
	}
	if err := r.proveLogin(ctx, s); err != nil {
		return err
	}
	if rolled(s.tenant) {
		return r.finish(ctx, s, last)
	}
	if !s.awaitsDeploy() {
		r.occupySlot(s)
	}
	if moved, err := s.moveMachines(ctx, last); err != nil || !moved {
		return err
	}
	return r.finish(ctx, s, last)
}

// probeFly looks at the Machines before anything changes. Processes that do not see the new value would be locked out sooner or later; only
// after a compromise that is no reason to keep the password.
func (s *scope) probeFly(ctx context.Context) error {
	if !s.deliversToFly() {
		return nil
	}
	found, err := s.connection.Fly.Probe(ctx, s.flyApp, s.destination.Variable)
	if err == nil && found.Hidden != "" && !s.object.FlyDelivery().AcceptHidden && !unfinished(s.tenant) && !s.closes() {
		err = failure.New(failure.Stall, failure.SecretHidden, found.Hidden)
	}
	s.found = &found
	return flyObstacle(v1alpha1.FlyMachinesUpdatedCondition, err)
}

// moveMachines makes one step, and says whether all have moved.
func (s *scope) moveMachines(ctx context.Context, last *postgres.Rotation) (bool, error) {
	if !s.deliversToFly() {
		return true, nil
	}
	progress, err := s.advance(ctx, last)
	if err != nil {
		return false, flyObstacle(v1alpha1.FlyMachinesUpdatedCondition, err)
	}
	s.progress = &progress
	if progress.Halted != "" {
		return false, flyObstacle(v1alpha1.FlyMachinesUpdatedCondition, failure.New(failure.Stall, failure.MachineUnhealthy, progress.Halted))
	}
	return progress.Done(), nil
}

// finish does what is left once every Machine has moved: the former login, and sessions of before, have to go.
func (r *Reconciler) finish(ctx context.Context, s *scope, last *postgres.Rotation) error {
	if s.secret.trouble != nil {
		return s.secret.trouble
	}
	if err := s.retire(ctx, last); err != nil || s.retiring {
		return err
	}
	if s.sessionsLeft {
		if err := s.sweepSessions(ctx, true); err != nil || s.sessionsLeft {
			return err
		}
	}
	return r.complete(ctx, s, last)
}

// complete ends the rotation, if Fly still holds the value that the Machines were moved onto.
func (r *Reconciler) complete(ctx context.Context, s *scope, last *postgres.Rotation) error {
	if stands, err := s.valueStands(ctx, last); err != nil || !stands {
		return err // the next pass sees it, and rotates
	}
	if !rolled(s.tenant) { // else it was recorded when the Machines had moved
		s.recordRelease(ctx, last)
	}
	if err := s.connection.Postgres.Complete(ctx, s.id(), s.uid(), last.Revision); err != nil {
		return postgresObstacle(err)
	}
	if err := r.observeAgain(ctx, s, last.Revision); err != nil {
		return err
	}
	return r.decide(ctx, s) // what was asked for meanwhile has waited for this
}

// valueStands says whether Fly still holds the value of the rotation.
func (s *scope) valueStands(ctx context.Context, last *postgres.Rotation) (bool, error) {
	if !s.deliversToFly() {
		return true, nil
	}
	digest, err := s.connection.Fly.SecretDigest(ctx, s.tenant.FlyApp, s.destination.Variable)
	if err != nil {
		return false, flyObstacle(v1alpha1.FlySecretSyncedCondition, err)
	}
	s.flySeen, s.flyDigest = true, digest
	return digest == last.FlyDigest, nil
}
