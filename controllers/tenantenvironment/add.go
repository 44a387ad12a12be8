package tenantenvironment

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// +kubebuilder:rbac:groups="",namespace=tcred-system,resources=secrets,verbs=get;list;watch

// AddToManager starts the controller with the manager: on changes of an environment, and of a Secret that one names.
func (r *Reconciler) AddToManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("tenantenvironment").
		For(&v1alpha1.TenantEnvironment{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.environmentsOfSecret)).
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
		spec := environments.Items[i].Spec
		if spec.Postgres.LoginSecretRef.Name == secret.GetName() || spec.Fly.TokenSecretRef.Name == secret.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&environments.Items[i])})
		}
	}
	return requests
}
