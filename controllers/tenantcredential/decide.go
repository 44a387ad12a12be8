package tenantcredential

import (
	"cmp"
	"context"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

func (r *Reconciler) decide(ctx context.Context, s *scope) error {
	s.decision = rotation.Decide(s.facts(s.tenant))
	if s.unbound != nil {
		return r.finishUnbound(ctx, s)
	}
	r.noteAddress(s)
	if s.decision.Step == rotation.Nothing && !s.deleted() && s.request() != nil && s.request().ReplacesRevision > s.newestRevision(s.tenant) {
		return readyObstacle(failure.Stall, v1alpha1.ReasonInvalidSpec, "rotationRequest")
	}
	return s.checkPolicies()
}

func (s *scope) request() *v1alpha1.RotationRequest { return s.object.Spec.RotationRequest }

// strategy is the object's or, where it has none, its environment's.
func (s *scope) strategy() v1alpha1.RotationStrategy {
	return cmp.Or(s.object.Spec.Rotation.Strategy, s.environment.Spec.Rotation.Strategy)
}

// newestRevision is the newest that anybody knows of.
func (s *scope) newestRevision(tenant *postgres.Tenant) int64 {
	if tenant.Last == nil {
		return s.before.Status.Revision
	}
	return max(s.before.Status.Revision, tenant.Last.Revision)
}

// facts gathers what the decision rests on. The tenant is passed in, because under the lock it is read again.
func (s *scope) facts(tenant *postgres.Tenant) rotation.Facts {
	facts := rotation.Facts{
		Asked:          s.object.AskedGeneration(),
		Completed:      tenant.Claim.Generation,
		Suspended:      s.object.Spec.Suspend || s.unbound != nil, // either forbids starting, and never finishing
		Deleted:        s.deleted(),
		DeliveryDigest: s.destination.Digest(),
		Overlap:        s.strategy() == v1alpha1.RotationStrategyOverlap,
		SecondActive:   tenant.Login != tenant.Role,
		Open:           tenant.Open != nil,
		Issued:         tenant.Open != nil && tenant.Open.State == postgres.StateIssued,
		Closed:         closedLogins(tenant),
		Lost:           s.lost(tenant),
		Regressed:      s.behind(tenant),
		Compromised:    tenant.CompromisedRevision,
	}
	if request := s.request(); request != nil && request.ReplacesRevision <= s.newestRevision(tenant) {
		facts.Request = &rotation.Request{Replaces: request.ReplacesRevision, Compromised: request.Compromised}
	}
	if tenant.Last != nil {
		facts.Last = &rotation.Last{
			Revision:       tenant.Last.Revision,
			Completed:      tenant.Last.State == postgres.StateCompleted,
			Rolled:         rolled(tenant),
			Generation:     tenant.Last.Generation,
			DeliveryDigest: tenant.Last.DeliveryDigest,
			Unproved:       unproved(tenant) && !s.knows(tenant.Last) && !passwordDrifted(tenant),
			Drifted:        tenant.Last.SessionPolicy == postgres.SessionsCompromised && (passwordDrifted(tenant) || loginDrifted(tenant)),
			Superseded:     s.secretDrifted(),
			Gone:           s.secretGone(tenant) || s.flyDropped(tenant),
			Halted: s.shows(tenant.Last.Revision, v1alpha1.FlyMachinesUpdatedCondition, v1alpha1.ReasonMachineUnhealthy) ||
				passwordDrifted(tenant),
		}
	}
	return facts
}

// shows says that the status, which speaks of this revision, has a condition with this reason.
func (s *scope) shows(revision int64, condition, reason string) bool {
	shown := meta.FindStatusCondition(s.before.Status.Conditions, condition)
	return s.before.Status.Revision == revision && shown != nil && shown.Reason == reason
}
