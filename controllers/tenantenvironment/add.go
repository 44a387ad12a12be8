package tenantenvironment

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// +kubebuilder:rbac:groups="",namespace=tcred-system,resources=secrets,verbs=get;list;watch

// workers bounds how many environments are looked at at once: a server or an API that does not answer keeps no other environment waiting.
const workers = 8

// AddToManager starts the controller with the manager: on changes of an environment, and of a Secret that one names, and
// when a tenant wants one looked at.
func (r *Reconciler) AddToManager(mgr ctrl.Manager) error {
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		Named("tenantenvironment").
		For(&v1alpha1.TenantEnvironment{}, builder.WithPredicates(changed)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.environmentsOfSecret)).
		WatchesRawSource(source.Channel(r.Doubted, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, ReconciliationTimeout: lookTimeout}).
		Complete(r)
}

func (r *Reconciler) environmentsOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	var environments v1alpha1.TenantEnvironmentList
	if err := r.Client.List(ctx, &environments); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing environments for a changed Secret", "secret", client.ObjectKeyFromObject(secret))
		return nil
	}
	var requests []reconcile.Request
	for i := range environments.Items {
		if slices.Contains(secretsOf(&environments.Items[i].Spec), secret.GetName()) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&environments.Items[i])})
		}
	}
	return requests
}

// secretsOf are the names of the Secrets that an environment is connected with.
func secretsOf(spec *v1alpha1.TenantEnvironmentSpec) []string {
	names := []string{spec.Postgres.LoginSecretRef.Name, spec.Fly.TokenSecretRef.Name}
	for _, ref := range []*v1alpha1.CASecretReference{spec.Postgres.CASecretRef, spec.Fly.CASecretRef} {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	return names
}
