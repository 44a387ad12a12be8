package report

import (
	"cmp"
	"strconv"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// project copies the durable facts from claim, ledger and rollout. Where the ledger is behind the status, the status is what is left of
// the lost revisions: it stays until a newer one is committed.
func (w words) project(status *v1alpha1.TenantCredentialStatus) {
	status.Postgres = &v1alpha1.PostgresStatus{Role: w.tenant.Role, Database: w.tenant.Database,
		InternalURL: w.destination.PasswordlessURL(w.tenant.Login), ExternalURL: w.externalURL()}
	if w.regressed() {
		return
	}
	status.RotationGeneration = w.tenant.Claim.Generation
	if last := w.tenant.Last; last != nil {
		status.Revision = last.Revision
		status.LastRotation = new(rotationStatus(last))
		status.History = history(w.tenant.Earlier)
	}
	status.Fly = w.projectFly()
}

// regressed says that PostgreSQL has lost what the status speaks of.
func (w words) regressed() bool { return pass.Regressed(w.In, w.tenant) }

// projectFly is nil where nothing is delivered to Fly.
func (w words) projectFly() *v1alpha1.FlyStatus {
	if !pass.ToFly(w.In) {
		return nil
	}
	before := w.object.Status
	projected := &v1alpha1.FlyStatus{AppName: w.tenant.FlyApp}
	sameRotation := w.tenant.Last != nil && before.Revision == w.tenant.Last.Revision
	if sameRotation && before.Fly != nil && before.Fly.AppName == projected.AppName {
		projected.Machines = before.Fly.Machines
	}
	switch {
	case w.seen.Machines != nil:
		projected.Machines = machines(w.seen.Machines)
	case !sameRotation && w.Out.Attempt.Before != nil && w.tenant.Rolling(): // just committed
		projected.Machines = machines(w.Out.Attempt.Before)
	}
	if last := w.tenant.Last; last != nil {
		projected.SecretVersion = strconv.FormatUint(last.FlyVersion, 10)
		projected.SecretDigest = last.FlyDigest
	}
	return projected
}

func machines(p *fly.Progress) *v1alpha1.MachinesStatus {
	return &v1alpha1.MachinesStatus{Total: int32(p.Total), Updated: int32(p.Updated), //nolint:gosec // an app has few Machines
		OnNextStart: int32(p.OnNextStart), Failed: int32(p.Failed)} //nolint:gosec // as above
}

func rotationStatus(r *postgres.Rotation) v1alpha1.RotationStatus {
	status := v1alpha1.RotationStatus{Revision: r.Revision, Cause: r.Cause, Reason: r.Reason, RequestedBy: r.RequestedBy, RequestID: r.RequestID,
		CommitTime: seconds(r.CommittedAt)}
	if r.State == postgres.StateCompleted {
		completed := seconds(r.CompletedAt)
		status.CompletionTime = &completed
	}
	return status
}

// history is nil where there was none, as the API server reads it back.
func history(earlier []postgres.Rotation) []v1alpha1.RotationStatus {
	var statuses []v1alpha1.RotationStatus
	for i := range earlier {
		statuses = append(statuses, rotationStatus(&earlier[i]))
	}
	return statuses
}

// letInFromOutside says that the tenant has the access that is asked for.
func (w words) letInFromOutside() bool {
	return pass.WantsExternalAccess(w.In) && w.tenant.External.Member && w.In.ExternalProblem == ""
}

// externalURL is the DATABASE_URL of a client outside, without a password; "" = the tenant is not let in.
func (w words) externalURL() string {
	if !w.letInFromOutside() {
		return ""
	}
	external := w.environment.Spec.Postgres.External
	destination := credential.Destination{
		Host: external.Host, Port: external.Port, Role: w.tenant.Role, Database: w.tenant.Database,
		Scheme:     string(cmp.Or(external.Scheme, v1alpha1.URLSchemePostgreSQL)),
		Parameters: map[string]string{"sslmode": "verify-full"},
	}
	for name, value := range external.Parameters {
		destination.Parameters[name] = string(value)
	}
	return destination.PasswordlessURL(w.tenant.Login)
}
