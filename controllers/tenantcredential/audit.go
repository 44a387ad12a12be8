package tenantcredential

import (
	"context"
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// transition is a step of a rotation that this pass has made, or has found made.
type transition struct {
	result   string // opened, committed, rolled, completed, superseded, discarded, failed
	rotation postgres.Rotation
	// failure is the reason of an attempt that failed.
	failure string
}

// audit writes a line for each transition before the status shows it: where the process ends in between, the line comes twice, and is not
// lost. The ledger says the same.
func (s *scope) audit(ctx context.Context) {
	if !s.held() {
		return
	}
	for _, t := range slices.Concat(s.attempt(), s.committed()) {
		s.record(ctx, t)
	}
}

func (s *scope) record(ctx context.Context, t transition) {
	r := t.rotation
	fields := []any{"audit", true, "tenant_id", s.id(), "environment", s.object.Spec.EnvironmentRef.Name, "revision", r.Revision, "result", t.result,
		"cause", r.Cause, "requested_by", r.RequestedBy, "reason", r.Reason, "request_id", r.RequestID, "stated_manager", r.StatedManager}
	if t.failure != "" {
		fields = append(fields, "failure", t.failure)
	}
	ctrl.LoggerFrom(ctx).Info("Rotation "+t.result, fields...)
}

// attempt are the transitions of this pass's own rotation up to its commit.
func (s *scope) attempt() []transition {
	var found []transition
	for _, r := range []*postgres.Rotation{s.tenant.Open, s.tenant.Last} {
		if r != nil && r.Revision == s.opened {
			found = append(found, transition{result: "opened", rotation: *r})
		}
	}
	if s.attempted && s.obstacle != nil && s.tenant.Open != nil {
		found = append(found, transition{result: "failed", rotation: *s.tenant.Open, failure: string(s.obstacle.failure.Reason)})
	}
	return found
}

// committed are the transitions of committed rotations that the status does not show yet. What was so when the object adopted the tenant is another's.
func (s *scope) committed() []transition {
	last, before := s.tenant.Last, &s.before.Status
	if last == nil || last.Revision < before.Revision {
		return nil
	}
	var found []transition
	isNew := last.Revision > before.Revision
	if isNew && before.LastRotation != nil && !completed(before) && len(s.tenant.Earlier) > 0 {
		found = append(found, transition{result: "superseded", rotation: s.tenant.Earlier[0]})
	}
	since := s.tenant.Claim.AdoptedAt
	if isNew && !last.CommittedAt.Before(since) {
		found = append(found, transition{result: "committed", rotation: *last})
	}
	if s.rolledNow {
		found = append(found, transition{result: "rolled", rotation: *last})
	}
	if last.State == postgres.StateCompleted && (isNew || !completed(before)) && !last.CompletedAt.Before(since) {
		found = append(found, transition{result: "completed", rotation: *last})
	}
	return found
}

// auditExternalAccess writes a line for a change that the call to PostgreSQL has just made, as the ledger calls it.
func (s *scope) auditExternalAccess(ctx context.Context, made bool, change string) {
	if s.externalTrouble != nil || !made {
		return
	}
	ctrl.LoggerFrom(ctx).Info("External access "+change, "audit", true, "tenant_id", s.id(), "environment", s.object.Spec.EnvironmentRef.Name,
		"external_access", change, "stated_manager", statedManager(s.object, "f:externalAccess"))
}
