package tenantcredential

import (
	"cmp"
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// observe looks at everything that a decision rests on. What is due whatever the decision is, is done on the way: to end external access, to adopt the
// tenant, to promote what is committed.
func (r *Reconciler) observe(ctx context.Context, e *Environment, in pass.Input) (pass.Outcome, error) {
	out := pass.Outcome{Seen: pass.Observed{Begun: pass.HasFinalizer(in.Object), Untried: r.untriedDigest(in)}}
	for _, next := range []step{
		r.checkEnvironment,
		r.awaitTurn,
		r.observeTenant,
		r.admit,
		r.endExternalAccess,
		r.checkTenant,
		r.claim,
		r.settleExternalAccess,
		r.noteSessions,
		r.settleSecret,
		r.observeFly,
	} {
		var err error
		if out, err = next(ctx, e, in, out); err != nil {
			return out, err
		}
	}
	out.Seen.Whole = out.Unseen == nil
	return out, nil
}

// checkEnvironment ends the pass where the environment is missing or cannot be used. An object that is unbound is not told how the environment is.
func (r *Reconciler) checkEnvironment(_ context.Context, _ *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	switch {
	case in.Environment == nil:
		return out, pass.InKubernetes(failure.Wait, reasons.EnvironmentNotFound, "")
	case in.Connected:
		return out, nil
	case in.Unbound != nil:
		return out, in.Unbound
	default:
		said := cmp.Or(environmentSays(in, v1alpha1.ReadyCondition, metav1.ConditionFalse), "not checked yet")
		return out, pass.AtPostgres(failure.New(failure.Wait, reasons.EnvironmentNotReady, said))
	}
}

// environmentSays is why a condition of the environment has a status: the reason and the first sentence of the message, which is the fact. A
// namespace's people may not be allowed to read the environment. "" = it has another status, or the object is unbound and not told.
func environmentSays(in pass.Input, kind string, status metav1.ConditionStatus) string {
	c := meta.FindStatusCondition(in.Environment.Status.Conditions, kind)
	if c == nil || c.Status != status || in.Unbound != nil {
		return ""
	}
	fact, _, _ := strings.Cut(c.Message, ". ")
	return c.Reason + ": " + strings.TrimSuffix(fact, ".")
}

// observeTenant reads role, stored hash, claim and ledger in one call. An object that is unbound is not told of an error.
func (r *Reconciler) observeTenant(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	tenant, err := look(ctx, e, in)
	switch {
	case err != nil && in.Unbound != nil:
		return out, in.Unbound
	case err != nil:
		return out, pass.AtPostgres(err)
	}
	out.Seen = pass.WithTenant(out.Seen, tenant)
	return out, nil
}

func look(ctx context.Context, e *Environment, in pass.Input) (postgres.Tenant, error) {
	tenants, err := e.Postgres.Observe(ctx, []string{pass.ID(in)})
	if err != nil {
		return postgres.Tenant{}, err
	}
	return tenants[0], nil
}

// checkTenant says what the tenant lacks in PostgreSQL. What keeps a tenant from logging in keeps no rotation after a compromise from starting: an
// intruder can have caused it.
func (r *Reconciler) checkTenant(_ context.Context, _ *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	return out, checkTenant(in, out.Seen)
}

func checkTenant(in pass.Input, seen pass.Observed) error {
	tenant := seen.Tenant
	closes := tenant.Claim != nil && pass.Facts(in, seen).Closes()
	switch {
	case !tenant.Found:
		return pass.AtPostgres(failure.New(failure.Wait, reasons.TenantNotFound, ""))
	case !tenant.RoleExists:
		return pass.AtPostgres(failure.New(failure.Wait, reasons.RoleNotFound, ""))
	case tenant.RoleViolation != "" && !tenant.Unfinished():
		return pass.AtPostgres(failure.New(failure.Stall, reasons.RoleNotAllowed, tenant.RoleViolation))
	case tenant.LoginViolation != "" && !tenant.Unfinished() && !closes:
		return pass.AtPostgres(failure.New(failure.Stall, reasons.RoleNotAllowed, tenant.LoginViolation))
	default:
		return nil
	}
}

// observeFly asks for the app and for the digest of its secret. Whether it matters that Fly does not answer for now depends on the phase.
func (r *Reconciler) observeFly(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if !pass.ToFly(in) {
		return out, nil
	}
	answer, err := askFly(ctx, e, in, out)
	switch {
	case err == nil:
		out.Seen = pass.WithFly(out.Seen, answer)
		return out, nil
	case pass.Passing(err):
		ctrl.LoggerFrom(ctx).Info("Fly cannot be reached now", "error", err.Error())
		out.Unseen = pass.AsObstacle(pass.AtFlySecret(err))
		return out, nil
	default:
		return out, pass.AtFlySecret(err)
	}
}

// askFly leaves the digest out where nothing rests on it: a rotation is due that replaces whatever Fly holds, and no earlier attempt may have left its own.
func askFly(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (*pass.FlyAnswer, error) {
	name := out.Seen.Tenant.FlyApp
	app, err := e.Fly.App(ctx, name)
	if err != nil {
		return nil, err
	}
	if pass.Assess(in, out).Phase == rotation.Attempting && out.Seen.Tenant.Open == nil && !out.Seen.Begun {
		return &pass.FlyAnswer{App: app}, nil
	}
	digest, err := e.Fly.SecretDigest(ctx, name, variable(in))
	if err != nil {
		return nil, err
	}
	return &pass.FlyAnswer{App: app, Digest: &digest}, nil
}

// variable is the secret's name at Fly.
func variable(in pass.Input) string { return in.Object.FlyDelivery().Variable }
