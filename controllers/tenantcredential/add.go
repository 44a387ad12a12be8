package tenantcredential

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/timing"
)

const (
	// workers bounds the passes at work at once over all environments; each environment's maxConcurrent bounds its rotations.
	workers = 16
	// environmentIndex finds the TenantCredentials of an environment in the cache.
	environmentIndex = ".spec.environmentRef.name"
)

// AddToManager starts the controller with the manager: on changes of an object's spec or annotations, of its namespace's labels, and
// of its environment, which, but for one annotation, the environments' controller tells of.
func (r *Reconciler) AddToManager(ctx context.Context, mgr ctrl.Manager, environmentChanged <-chan event.GenericEvent) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.TenantCredential{}, environmentIndex, func(o client.Object) []string {
		return []string{o.(*v1alpha1.TenantCredential).Spec.EnvironmentRef.Name}
	})
	if err != nil {
		return err
	}
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		Named("tenantcredential").
		For(&v1alpha1.TenantCredential{}, builder.WithPredicates(changed)).
		Watches(&v1alpha1.TenantCredential{}, r.noteChange(), builder.WithPredicates(changed)).
		Watches(&v1alpha1.TenantEnvironment{}, handler.EnqueueRequestsFromMapFunc(r.inEnvironment), builder.WithPredicates(takeOverChanged)).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.inNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesRawSource(source.Channel(environmentChanged, handler.EnqueueRequestsFromMapFunc(r.inEnvironment))).
		WatchesRawSource(source.Func(r.wakeBy)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, ReconciliationTimeout: timing.Pass}).
		Complete(r)
}

// requestPriority is that of an object whose rotation a person waits for: it does not stand behind a wave of others.
const requestPriority = 10

// noteChange remembers when an object's change arrived, and has an object looked at before others that have changed where a person asked for it.
func (r *Reconciler) noteChange() handler.EventHandler {
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			object := e.ObjectNew.(*v1alpha1.TenantCredential)
			key := client.ObjectKeyFromObject(object)
			r.arrived.Store(key, arrival{object.Generation, time.Now()})
			first, is := queue.(priorityqueue.PriorityQueue[reconcile.Request])
			if request := object.Spec.RotationRequest; is && request != nil && request.ReplacesRevision >= object.Status.Revision {
				first.AddWithOpts(priorityqueue.AddOpts{Priority: new(requestPriority)}, reconcile.Request{NamespacedName: key})
			}
		},
	}
}

// wakeBy has objects woken by the controller's queue.
func (r *Reconciler) wakeBy(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	r.Wake = func(key types.NamespacedName) { queue.Add(reconcile.Request{NamespacedName: key}) }
	return nil
}

// takeOverChanged lets the environments pass whose tenants may, or may no longer, take over another cluster's claims.
var takeOverChanged = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	DeleteFunc: func(event.DeleteEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetAnnotations()[v1alpha1.TakeOverFromAnnotation] != e.ObjectNew.GetAnnotations()[v1alpha1.TakeOverFromAnnotation]
	},
}

func (r *Reconciler) inNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	return r.requests(ctx, client.InNamespace(namespace.GetName()))
}

func (r *Reconciler) inEnvironment(ctx context.Context, environment client.Object) []reconcile.Request {
	return r.requests(ctx, client.MatchingFields{environmentIndex: environment.GetName()})
}

func (r *Reconciler) requests(ctx context.Context, of client.ListOption) []reconcile.Request {
	var credentials v1alpha1.TenantCredentialList
	if err := r.Client.List(ctx, &credentials, of); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing TenantCredentials")
		return nil
	}
	requests := make([]reconcile.Request, len(credentials.Items))
	for i := range credentials.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&credentials.Items[i])
	}
	return requests
}
