package tenantcredential

import (
	"context"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// External access is given and ended beside the rotations: it changes no password, and a suspended tenant's is ended like any other. The
// ledger and the server say what is left to be done, so that a pass may die at any point.

// endExternalAccess comes before whatever could end the pass: a role that is missing, or not allowed, keeps no access from being ended.
func (r *Reconciler) endExternalAccess(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if pass.WantsExternalAccess(in) {
		return out, nil
	}
	return r.settleExternalAccess(ctx, e, in, out)
}

// settleExternalAccess makes the step that is due, once the object holds the tenant. Nothing begins for an object that is being deleted. Trouble with the
// access keeps no rotation from going on.
func (r *Reconciler) settleExternalAccess(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if !maySetExternalAccess(in, out) {
		return out, nil
	}
	if mustSetExternalAccess(in, out.Seen.Tenant) {
		if err := r.stillBound(ctx, in); err != nil {
			return out, err
		}
		out = setExternalAccess(ctx, e, in, out)
	}
	if out.Access == nil && pass.SweepsOutside(in, out.Seen) {
		out = sweepOutside(ctx, e, in, out)
	}
	return out, nil
}

// maySetExternalAccess says that the object holds the tenant, in a namespace that is bound to it, and that this pass has met no trouble with the access.
func maySetExternalAccess(in pass.Input, out pass.Outcome) bool {
	return pass.Held(in, out.Seen) && in.Unbound == nil && out.Access == nil
}

func setExternalAccess(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) pass.Outcome {
	access, err := e.Postgres.SetExternalAccess(ctx, pass.ID(in), pass.UID(in), pass.WantsExternalAccess(in))
	if err != nil {
		return troubled(out, err)
	}
	change := "revoked"
	if access.Member {
		change = "granted"
	}
	auditExternalAccess(ctx, in, change)
	return noted(out, access)
}

func sweepOutside(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) pass.Outcome {
	access, err := e.Postgres.SweepExternalAccess(ctx, pass.ID(in), pass.UID(in))
	if err != nil {
		return troubled(out, err)
	}
	if !access.Unswept {
		auditExternalAccess(ctx, in, "swept")
	}
	return noted(out, access)
}

// mustSetExternalAccess says that the membership is not as asked, or the ledger does not know how it is.
func mustSetExternalAccess(in pass.Input, tenant *postgres.Tenant) bool {
	access, wanted := tenant.External, pass.WantsExternalAccess(in)
	begins := wanted && !access.Member
	return (access.Member != wanted || access.Unended) && !(begins && pass.Deleted(in))
}

func noted(out pass.Outcome, access postgres.ExternalAccess) pass.Outcome {
	tenant := *out.Seen.Tenant
	tenant.External = access
	out.Seen = pass.WithTenant(out.Seen, tenant)
	return out
}

// troubled notes what has kept an access from being given or ended. A membership that another role has granted is shown at the condition of the access: the
// password has nothing to do with it.
func troubled(out pass.Outcome, err error) pass.Outcome {
	at := pass.AtPostgres
	if failure.ReasonOf(err) == reasons.RoleNotAllowed {
		at = pass.AtExternalAccess
	}
	out.Access = pass.AsObstacle(at(err))
	return out
}
