package tenantcredential

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// A namespace is bound to a tenant by what the platform team writes: the environment, and the namespace's labels. An editor of the namespace
// writes everything of a TenantCredential but its UID and status, and every Secret beside it. So no finalizer, annotation or owner reference
// decides who may have a tenant (docs/adr/0010-what-an-object-says-of-itself.md).

// checkNamespace notes whether the environment accepts the namespace, and whether the namespace is bound to the tenant.
func (r *Reconciler) checkNamespace(ctx context.Context, s *scope) (err error) {
	s.unbound, err = s.binding(ctx, r.Client)
	return err
}

// stillBound asks the API server itself, right before an adoption, an attempt or a promotion: the cache may not have seen yet that the
// binding is gone. What an unbound object may finish all the same does not depend on it.
func (r *Reconciler) stillBound(ctx context.Context, s *scope) error {
	if s.unbound != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	verdict, err := s.binding(ctx, r.Live)
	switch {
	case err != nil:
		return err
	case verdict != nil:
		s.unbound = verdict
		return verdict
	}
	return nil
}

// binding says why the object may not have the tenant in its namespace; nil = it may.
func (s *scope) binding(ctx context.Context, from client.Reader) (*obstacle, error) {
	var namespace corev1.Namespace
	if err := from.Get(ctx, client.ObjectKey{Name: s.object.Namespace}, &namespace); err != nil {
		return nil, fmt.Errorf("reading the namespace: %w", err)
	}
	allowed, err := namespaceAllowed(s.environment.Spec.AllowedNamespaces, namespace.Labels)
	if err != nil {
		return nil, err
	}
	if !allowed {
		return &obstacle{failure: failure.New(failure.Stall, v1alpha1.ReasonNamespaceNotAllowed, "")}, nil
	}
	if s.environment.Spec.TenantBinding != v1alpha1.TenantBindingNone &&
		namespace.Labels[v1alpha1.TenantLabelPrefix+s.id()] != v1alpha1.TenantLabelAllowed {
		return &obstacle{failure: failure.New(failure.Stall, v1alpha1.ReasonTenantNotBound, "")}, nil
	}
	return nil, nil
}

func namespaceAllowed(allowed v1alpha1.AllowedNamespaces, namespaceLabels map[string]string) (bool, error) {
	if allowed.From == v1alpha1.NamespacesFromAll {
		return true, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(allowed.Selector.LabelSelector())
	if err != nil {
		return false, fmt.Errorf("allowedNamespaces.selector of the environment: %w", err)
	}
	return selector.Matches(labels.Set(namespaceLabels)), nil
}

// admit ends the pass of an unbound object before it learns anything of the tenant. One case goes on: the ledger has an unfinished rotation,
// and this very object holds the claim.
func (r *Reconciler) admit(_ context.Context, s *scope) error {
	if s.unbound == nil || s.held() && unfinished(s.tenant) {
		return nil
	}
	s.tenant, s.shutOut = nil, true
	return s.unbound
}

// finishUnbound leaves of the decision what an unbound object may do: make the open attempt again, to Fly alone, and finish what is
// committed, with another password where the present one cannot be proved. Nothing new starts: an editor could make one rotation due after the
// other. An open attempt for the Secret alone has changed nothing outside PostgreSQL, and is given up.
func (r *Reconciler) finishUnbound(ctx context.Context, s *scope) error {
	decided := s.decision
	again := decided.Cause == rotation.OpenAttempt || decided.Cause == rotation.LoginUnproved
	if decided.Step == rotation.Finish || again && s.deliversToFly() {
		return nil
	}
	s.decision = rotation.Decision{Step: rotation.Nothing}
	if decided.Cause == rotation.OpenAttempt {
		if err := r.discard(ctx, s); err != nil {
			return postgresObstacle(err)
		}
	}
	return s.unbound
}

// withholdSecret keeps passwords out of an unbound namespace: what is staged goes. A committed revision that never got into the Secret is
// not completed, so that it is made again once the namespace is bound; its Machines do not wait for that.
func (r *Reconciler) withholdSecret(ctx context.Context, s *scope) {
	arrived, err := r.withhold(ctx, s)
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("A Secret in an unbound namespace cannot be read or removed", "error", err.Error())
	}
	if !arrived && s.tenant.Open == nil && s.committedForSecret() {
		s.secret.trouble = s.unbound
	}
}

// withhold removes what is staged, and says whether the Secret has the last revision.
func (r *Reconciler) withhold(ctx context.Context, s *scope) (arrived bool, err error) {
	for _, row := range []*postgres.Rotation{s.tenant.Last, s.tenant.Open} {
		if row == nil {
			continue
		}
		staged, err := r.readOwnSecret(ctx, s, s.stagedKey(row.Revision))
		if err != nil {
			return false, err
		}
		if staged == nil {
			continue
		}
		if err := r.removeSecret(ctx, staged); err != nil {
			return false, err
		}
	}
	present, err := r.readOwnSecret(ctx, s, s.secretKey())
	return present != nil && s.tenant.Last != nil && contentOf(present, s.tenant.Last), err
}

// committedForSecret says that the last rotation is committed, for the Secret that the spec names among others, and that not all its
// consumers have it.
func (s *scope) committedForSecret() bool {
	destination := s.destination
	destination.ConnectionSecret = s.secretKey().String()
	return rolling(s.tenant) && !rolled(s.tenant) && s.tenant.Last.DeliveryDigest == destination.Digest()
}
