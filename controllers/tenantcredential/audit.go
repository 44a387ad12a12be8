package tenantcredential

import (
	"context"
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/report"
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
func audit(ctx context.Context, in pass.Input, out pass.Outcome) {
	if !pass.Held(in, out.Seen) {
		return
	}
	for _, t := range slices.Concat(attempted(out), committed(in, out)) {
		record(ctx, in, t)
	}
}

func record(ctx context.Context, in pass.Input, t transition) {
	r := t.rotation
	fields := []any{"audit", true, "tenant_id", pass.ID(in), "environment", in.Object.Spec.EnvironmentRef.Name, "revision", r.Revision, "result", t.result,
		"cause", r.Cause, "requested_by", r.RequestedBy, "reason", r.Reason, "request_id", r.RequestID, "stated_manager", r.StatedManager}
	if t.failure != "" {
		fields = append(fields, "failure", t.failure)
	}
	ctrl.LoggerFrom(ctx).Info("Rotation "+t.result, fields...)
}

// attempted are the transitions of this pass's own rotation up to its commit.
func attempted(out pass.Outcome) []transition {
	tenant, opened := out.Seen.Tenant, out.Attempt.Opened
	var found []transition
	for _, r := range []*postgres.Rotation{tenant.Open, tenant.Last} {
		if r != nil && r.Revision == opened {
			found = append(found, transition{result: "opened", rotation: *r})
		}
	}
	if out.Attempt.Made && out.Obstacle != nil && tenant.Open != nil {
		found = append(found, transition{result: "failed", rotation: *tenant.Open, failure: string(out.Obstacle.Failure.Reason)})
	}
	return found
}

// committed are the transitions of committed rotations that the status does not show yet. What was so when the object adopted the tenant is another's.
func committed(in pass.Input, out pass.Outcome) []transition {
	tenant, before := out.Seen.Tenant, &in.Object.Status
	last := tenant.Last
	if last == nil || last.Revision < before.Revision {
		return nil
	}
	var found []transition
	isNew := last.Revision > before.Revision
	if isNew && before.LastRotation != nil && !report.Completed(before) && len(tenant.Earlier) > 0 {
		found = append(found, transition{result: "superseded", rotation: tenant.Earlier[0]})
	}
	since := tenant.Claim.AdoptedAt
	if isNew && !last.CommittedAt.Before(since) {
		found = append(found, transition{result: "committed", rotation: *last})
	}
	if out.Rolled {
		found = append(found, transition{result: "rolled", rotation: *last})
	}
	if last.State == postgres.StateCompleted && (isNew || !report.Completed(before)) && !last.CompletedAt.Before(since) {
		found = append(found, transition{result: "completed", rotation: *last})
	}
	return found
}

// auditExternalAccess writes a line for a change that the call to PostgreSQL has just made, as the ledger calls it.
func auditExternalAccess(ctx context.Context, in pass.Input, change string) {
	ctrl.LoggerFrom(ctx).Info("External access "+change, "audit", true, "tenant_id", pass.ID(in), "environment", in.Object.Spec.EnvironmentRef.Name,
		"external_access", change, "stated_manager", statedManager(in.Object, "f:externalAccess"))
}
