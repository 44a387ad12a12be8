package tenantcredential

import (
	"cmp"
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// Access from outside is given and ended beside the rotations: it changes no password, and a suspended tenant's is ended like any other. The
// ledger and the server say what is left to be done, so that a pass may die at any point.

// wantsExternalAccess says that the tenant is to be let in from outside: the spec asks for it, and the environment has an address for it.
func (s *scope) wantsExternalAccess() bool {
	return s.object.Spec.ExternalAccess != nil && s.environment.Spec.Postgres.External != nil
}

// asksInVain says that the spec asks for access, and the environment has no address for it.
func (s *scope) asksInVain() bool {
	return s.object.Spec.ExternalAccess != nil && s.environment.Spec.Postgres.External == nil
}

// endExternalAccess comes before whatever could end the pass: a role that is missing, or not allowed, keeps no access from being ended.
func (r *Reconciler) endExternalAccess(ctx context.Context, s *scope) error {
	if s.wantsExternalAccess() {
		return nil
	}
	return r.settleExternalAccess(ctx, s)
}

// settleExternalAccess makes the step that is due, once the object holds the tenant. Nothing begins for an object that is being deleted. Trouble with the
// access keeps no rotation from going on.
func (r *Reconciler) settleExternalAccess(ctx context.Context, s *scope) error {
	if !s.mayChangeExternalAccess() {
		return nil
	}
	if s.mustSetExternalAccess() {
		if err := r.stillBound(ctx, s); err != nil {
			return err
		}
		s.noteExternalAccess(s.connection.Postgres.SetExternalAccess(ctx, s.id(), s.uid(), s.wantsExternalAccess()))
		s.auditExternalAccess(ctx, s.tenant.External.Member, "granted")
		s.auditExternalAccess(ctx, !s.tenant.External.Member, "revoked")
	}
	if s.externalTrouble == nil && s.sweepsOutside() {
		s.noteExternalAccess(s.connection.Postgres.SweepExternalAccess(ctx, s.id(), s.uid()))
		s.auditExternalAccess(ctx, !s.tenant.External.Unswept, "swept")
	}
	return nil
}

// mayChangeExternalAccess says that the object holds the tenant, in a namespace that is bound to it, and that this pass has met no trouble with the access.
func (s *scope) mayChangeExternalAccess() bool {
	return s.held() && s.unbound == nil && s.externalTrouble == nil
}

// mustSetExternalAccess says that the membership is not as asked, or the ledger does not know how it is.
func (s *scope) mustSetExternalAccess() bool {
	access, wanted := s.tenant.External, s.wantsExternalAccess()
	begins := wanted && !access.Member
	return (access.Member != wanted || access.Unended) && !(begins && s.deleted())
}

// noteExternalAccess takes over what a call has answered, or its error.
func (s *scope) noteExternalAccess(access postgres.ExternalAccess, err error) {
	if s.externalTrouble = externalObstacle(err); err == nil {
		s.tenant.External = access
	}
}

// externalObstacle shows a membership that another role has granted at the condition of the access: the password has nothing to do with it.
func externalObstacle(err error) error {
	if failure.ReasonOf(err) == failure.RoleNotAllowed {
		return &obstacle{condition: v1alpha1.ExternalAccessCondition, status: metav1.ConditionUnknown, failure: classed(err)}
	}
	return postgresObstacle(err)
}

// tellExternalTrouble ends a pass in which nothing else has gone wrong with what has.
func (r *Reconciler) tellExternalTrouble(_ context.Context, s *scope) error { return s.externalTrouble }

// endsExternalAccess says that an access is being ended, or is to be.
func (s *scope) endsExternalAccess() bool {
	access := s.tenant.External
	return access.Unended || access.Unswept || access.Member && !s.wantsExternalAccess()
}

// sweepsOutside says that the next pass has to look for sessions from outside.
func (s *scope) sweepsOutside() bool {
	return s.held() && s.unbound == nil && s.tenant.External.Unswept
}

// letInFromOutside says that the tenant has the access that is asked for.
func (s *scope) letInFromOutside() bool {
	return s.wantsExternalAccess() && s.tenant.External.Member && s.connection.ExternalProblem == ""
}

// externalURL is the DATABASE_URL of a client outside, without a password; "" = the tenant is not let in.
func (s *scope) externalURL() string {
	if !s.letInFromOutside() {
		return ""
	}
	external := s.environment.Spec.Postgres.External
	destination := credential.Destination{
		Host: external.Host, Port: external.Port, Role: s.tenant.Role, Database: s.tenant.Database,
		Scheme:     string(cmp.Or(external.Scheme, v1alpha1.URLSchemePostgreSQL)),
		Parameters: map[string]string{"sslmode": "verify-full"},
	}
	for name, value := range external.Parameters {
		destination.Parameters[name] = string(value)
	}
	return destination.PasswordlessURL(s.tenant.Login)
}

// externalAccess is the condition, where the spec asks for access, or the tenant has ever had it.
func (s *scope) externalAccess(m messages) (c metav1.Condition, present bool) {
	const kind = v1alpha1.ExternalAccessCondition
	if c, is := s.atObstacle(kind, m); is {
		return c, true
	}
	asked := s.object.Spec.ExternalAccess != nil
	if !s.held() {
		return s.former(kind), asked || meta.FindStatusCondition(s.before.Status.Conditions, kind) != nil
	}
	switch access := s.tenant.External; {
	case s.endsExternalAccess():
		return condition(kind, metav1.ConditionUnknown, v1alpha1.ReasonDisabling, m.disablingAccess()), true
	case s.asksInVain():
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonNotOffered, m.accessNotOffered()), true
	case !asked:
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonDisabled, m.accessDisabled()), access.Noted
	case !access.Member:
		return condition(kind, metav1.ConditionUnknown, v1alpha1.ReasonPending, m.accessPending()), true
	case s.connection.ExternalProblem != "":
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonNotEnforced, s.connection.ExternalProblem), true
	default:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonEnabled, m.accessEnabled()), true
	}
}

// externalAccessStands says that nothing was to be done about the access when it was last seen.
func (s *scope) externalAccessStands() bool {
	shown := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ExternalAccessCondition)
	switch {
	case s.environment == nil:
		return true
	case s.wantsExternalAccess():
		return shown != nil && (shown.Reason == v1alpha1.ReasonEnabled || shown.Reason == v1alpha1.ReasonNotEnforced)
	default:
		return shown == nil || shown.Reason == v1alpha1.ReasonDisabled || shown.Reason == v1alpha1.ReasonNotOffered
	}
}

// announceExternalAccess sends an event when the access begins, and when it has ended.
func (r *Reconciler) announceExternalAccess(s *scope) {
	before := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ExternalAccessCondition)
	after := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.ExternalAccessCondition)
	if after == nil || before != nil && before.Reason == after.Reason {
		return
	}
	switch after.Reason {
	case v1alpha1.ReasonEnabled:
		r.tell(s, corev1.EventTypeNormal, v1alpha1.EventExternalAccessEnabled, "ExternalAccess", "%s", after.Message)
	case v1alpha1.ReasonDisabled, v1alpha1.ReasonNotOffered:
		if before != nil && (before.Reason == v1alpha1.ReasonEnabled || before.Reason == v1alpha1.ReasonDisabling || before.Reason == v1alpha1.ReasonNotEnforced) {
			r.tell(s, corev1.EventTypeNormal, v1alpha1.EventExternalAccessDisabled, "ExternalAccess", "%s", messages{s, r.Namespace}.accessDisabled())
		}
	}
}
