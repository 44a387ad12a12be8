package tenantcredential

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

func (r *Reconciler) findEnvironment(ctx context.Context, s *scope) error {
	var environment v1alpha1.TenantEnvironment
	name := s.object.Spec.EnvironmentRef.Name
	if err := r.Client.Get(ctx, client.ObjectKey{Name: name}, &environment); err != nil {
		if apierrors.IsNotFound(err) {
			return readyObstacle(failure.Wait, v1alpha1.ReasonEnvironmentNotFound, "")
		}
		return fmt.Errorf("reading TenantEnvironment %s: %w", name, err)
	}
	s.environment = &environment
	return nil
}

// connect takes the environment's connections. An object that is unbound is not told how the environment is.
func (r *Reconciler) connect(_ context.Context, s *scope) error {
	s.connection = r.Environment(s.environment.Name)
	switch {
	case s.connection != nil:
		return nil
	case s.unbound != nil:
		return s.unbound
	}
	detail := cmp.Or(s.environmentSays(v1alpha1.ReadyCondition, metav1.ConditionFalse), "it has not been looked at yet")
	return &obstacle{condition: v1alpha1.PostgresSyncedCondition, status: metav1.ConditionUnknown,
		failure: failure.New(failure.Wait, v1alpha1.ReasonEnvironmentNotReady, detail)}
}

// environmentSays is why a condition of the environment has a status: the reason and the first sentence of the message, which is the fact. A
// namespace's people may not be allowed to read the environment. "" = it has another status, or the object is unbound and not told.
func (s *scope) environmentSays(kind string, status metav1.ConditionStatus) string {
	c := meta.FindStatusCondition(s.environment.Status.Conditions, kind)
	if c == nil || c.Status != status || s.unbound != nil {
		return ""
	}
	fact, _, _ := strings.Cut(c.Message, ". ")
	return c.Reason + ": " + strings.TrimSuffix(fact, ".")
}

// observePostgres reads role, stored hash, claim and ledger in one call. An object that is unbound is not told of an error.
func (r *Reconciler) observePostgres(ctx context.Context, s *scope) error {
	tenants, err := s.connection.Postgres.Observe(ctx, []string{s.id()})
	switch {
	case err != nil && s.unbound != nil:
		return s.unbound
	case err != nil:
		return postgresObstacle(err)
	}
	s.tenant = &tenants[0]
	s.destination = s.destinationOf(s.tenant)
	return nil
}

// destinationOf is where the password of a tenant goes, and in which form.
func (s *scope) destinationOf(tenant *postgres.Tenant) credential.Destination {
	internal, own := s.environment.Spec.Postgres.Internal, s.object.Spec.DatabaseURL
	destination := credential.Destination{
		Host:       internal.Host,
		Port:       internal.Port,
		Role:       tenant.Role,
		Database:   tenant.Database,
		Scheme:     string(cmp.Or(own.Scheme, internal.Scheme, v1alpha1.URLSchemePostgreSQL)),
		Parameters: map[string]string{},
	}
	for _, parameters := range []map[string]v1alpha1.URLParameter{internal.Parameters, own.Parameters} {
		for name, value := range parameters {
			destination.Parameters[name] = string(value)
		}
	}
	if s.deliversToFly() {
		destination.Variable = s.object.FlyDelivery().Variable
	}
	if s.object.Spec.Delivery.ConnectionSecret != nil && s.unbound == nil {
		destination.ConnectionSecret = s.secretKey().String()
	}
	return destination
}

// checkTenant says what the tenant lacks in PostgreSQL.
func (r *Reconciler) checkTenant(_ context.Context, s *scope) error {
	switch {
	case !s.tenant.Found:
		return postgresObstacle(failure.New(failure.Wait, failure.TenantNotFound, ""))
	case !s.tenant.RoleExists:
		return postgresObstacle(failure.New(failure.Wait, failure.RoleNotFound, ""))
	case s.tenant.RoleViolation != "" && !unfinished(s.tenant):
		return postgresObstacle(failure.New(failure.Stall, failure.RoleNotAllowed, s.tenant.RoleViolation))
	case s.tenant.LoginViolation != "" && !unfinished(s.tenant) && !s.closes():
		return postgresObstacle(failure.New(failure.Stall, failure.RoleNotAllowed, s.tenant.LoginViolation))
	}
	return nil
}

// closes says that a rotation after a compromise is due. What keeps the tenant from logging in keeps none of those from starting: an intruder
// can have caused it.
func (s *scope) closes() bool { return s.tenant.Claim != nil && s.facts(s.tenant).Closes() }

// observeFly asks for the app and for the digest of its secret. An answer that only fails for now is no reason to call a tenant
// unready that has nothing to do: what was seen before then stands.
func (r *Reconciler) observeFly(ctx context.Context, s *scope) error {
	if !s.deliversToFly() {
		return nil
	}
	err := s.lookAtFly(ctx)
	if err == nil {
		return nil
	}
	if passing(err) && s.restsOnFormerLook() {
		ctrl.LoggerFrom(ctx).Info("Fly can not be asked now; nothing is due", "error", err.Error())
		return nil
	}
	return flyObstacle(v1alpha1.FlySecretSyncedCondition, err)
}

func (s *scope) lookAtFly(ctx context.Context) error {
	app, err := s.connection.Fly.App(ctx, s.tenant.FlyApp)
	if err != nil {
		return err
	}
	digest, err := s.connection.Fly.SecretDigest(ctx, s.tenant.FlyApp, s.destination.Variable)
	if err != nil {
		return err
	}
	s.flySeen, s.flyApp, s.flyDigest = true, app, digest
	return nil
}

// passing says that an error goes by itself and says nothing about the app or the token.
func passing(err error) bool {
	switch failure.ReasonOf(err) {
	case failure.AuthenticationFailed, failure.PermissionDenied, failure.FlyAppNotFound:
		return false
	}
	return failure.ClassOf(err) == failure.Retry || failure.ClassOf(err) == failure.Unknown
}

// restsOnFormerLook says that nothing is to be done, and that Fly has been looked at for this very spec.
func (s *scope) restsOnFormerLook() bool {
	condition := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.FlySecretSyncedCondition)
	return condition != nil && condition.Status == metav1.ConditionTrue && condition.ObservedGeneration == s.object.Generation &&
		rotation.Decide(s.facts(s.tenant)).Step == rotation.Nothing
}
