package pass

import (
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// Facts gathers what the decision rests on.
func Facts(in Input, seen Observed) rotation.Facts {
	tenant := seen.Tenant
	facts := rotation.Facts{
		Asked:          in.Object.AskedGeneration(),
		Completed:      tenant.Claim.Generation,
		Suspended:      in.Object.Spec.Suspend || in.Unbound != nil, // either forbids starting, and never finishing
		Unbound:        in.Unbound != nil,
		Deleted:        Deleted(in),
		ToFly:          ToFly(in),
		ToSecret:       ToSecret(in),
		DeliveryDigest: Destination(in, tenant).Digest(),
		Overlap:        Strategy(in) == v1alpha1.RotationStrategyOverlap,
		SecondActive:   tenant.Login != tenant.Role,
		Open:           tenant.Open != nil,
		Issued:         tenant.Open != nil && tenant.Open.State == postgres.StateIssued,
		Closed:         tenant.LoginsClosed(),
		Lost:           Lost(in, seen),
		Regressed:      Regressed(in, tenant),
		TooEarly:       tooEarly(in),
		Compromised:    tenant.CompromisedRevision,
		Last:           last(in, seen),
		Drifts: map[rotation.Drift]bool{
			rotation.DriftedPassword:         tenant.PasswordDrifted(),
			rotation.DriftedLogin:            tenant.LoginDrifted(),
			rotation.DriftedHash:             tenant.HashDrifted(),
			rotation.DriftedFlySecret:        FlySecretDrifted(seen),
			rotation.DriftedConnectionSecret: ConnectionSecretDrifted(in, seen),
		},
	}
	if request := Request(in); request != nil && request.ReplacesRevision <= NewestRevision(in, tenant) {
		facts.Request = &rotation.Request{Replaces: request.ReplacesRevision, Compromised: request.Compromised}
	}
	return facts
}

func last(in Input, seen Observed) *rotation.Last {
	tenant := seen.Tenant
	if tenant.Last == nil {
		return nil
	}
	return &rotation.Last{
		Revision:       tenant.Last.Revision,
		Completed:      tenant.Last.State == postgres.StateCompleted,
		Rolled:         tenant.Rolled(),
		Generation:     tenant.Last.Generation,
		DeliveryDigest: tenant.Last.DeliveryDigest,
		Unproved:       tenant.Unproved() && seen.Untried != tenant.Last.VerifierDigest && !tenant.PasswordDrifted(),
		Drifted:        tenant.Last.SessionPolicy == postgres.SessionsCompromised && (tenant.PasswordDrifted() || tenant.LoginDrifted()),
		Superseded:     FlySecretDrifted(seen),
		Halted:         seen.Machines != nil && seen.Machines.Halted != "" || tenant.PasswordDrifted(),
		Moved:          !ToFly(in) || seen.Machines != nil && seen.Machines.Done(),
		AwaitsDeploy:   AwaitsDeploy(in, tenant),
		FormerLogin:    tenant.FormerLogin != "",
		Retired:        seen.Retired,
		SessionsLeft:   seen.SessionsLeft,
		Gone:           secretGone(in, seen) || flyDropped(in, tenant),
	}
}

// tooEarly says that the last attempt has failed, and that the time for the next one has not come. It goes by the status alone, so that a restarted
// process does not try everything at once. A changed spec, login or token is tried at once.
func tooEarly(in Input) bool {
	failed := in.Object.Status.Failure
	return failed != nil && in.Now.Before(failed.RetryTime.Time) && in.Object.Status.ObservedGeneration == in.Object.Generation &&
		!failed.LastTime.Time.Before(in.Reconnected)
}

// Assess says how far the tenant is, after what a step has found to wait for. An attempt that this pass makes is not too early for itself: before it has an
// open row, it may have begun without a wait.
func Assess(in Input, out Outcome) rotation.State {
	if !Held(in, out.Seen) {
		return rotation.State{}
	}
	facts := Facts(in, out.Seen)
	facts.Wait = out.Wait
	facts.TooEarly = facts.TooEarly && !out.Attempt.Made
	return rotation.Assess(facts)
}
