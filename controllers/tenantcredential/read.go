package tenantcredential

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// read reads the object, its environment, and whether its namespace is bound to the tenant, from the cache. It returns nil where there is nothing to do: for
// an object that is gone, or going without a rotation to finish.
func (r *Reconciler) read(ctx context.Context, req ctrl.Request) (*pass.Input, error) {
	var object v1alpha1.TenantCredential
	if err := r.Client.Get(ctx, req.NamespacedName, &object); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.NamespacedName)
		}
		return nil, client.IgnoreNotFound(err)
	}
	in := pass.Input{Object: &object, Now: time.Now(), Cluster: r.Cluster}
	in.Arrived = r.arrivalOf(&object, in.Now)
	if pass.Deleted(in) && !pass.HasFinalizer(&object) {
		return nil, nil
	}
	environment, err := r.readEnvironment(ctx, object.Spec.EnvironmentRef.Name)
	if err != nil || environment == nil {
		return &in, err
	}
	in.Environment = environment
	in.Unbound, err = binding(ctx, r.Client, in)
	return &in, err
}

// readEnvironment returns nil where there is none of that name.
func (r *Reconciler) readEnvironment(ctx context.Context, name string) (*v1alpha1.TenantEnvironment, error) {
	var environment v1alpha1.TenantEnvironment
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, &environment)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading TenantEnvironment %s: %w", name, err)
	default:
		return &environment, nil
	}
}

// begin adds what is known of the environment's connections.
func begin(in pass.Input, e *Environment) pass.Input {
	if e != nil && in.Environment != nil {
		in.Connected, in.ExternalProblem, in.Reconnected = true, e.ExternalProblem, e.Changed
	}
	return in
}

// forget lets go of what an object held that is gone.
func (r *Reconciler) forget(key client.ObjectKey) {
	r.giveSlotBack(key)
	r.leaveCanary(key)
	r.waiting.Delete(key)
	r.arrived.Delete(key)
	r.untried.Delete(key)
}

// arrival is when a generation of an object's spec arrived in the cache.
type arrival struct {
	generation int64
	at         time.Time
}

// arrivalOf is when the object's present spec arrived; otherwise, where that was not noted, or a pass has read it before.
func (r *Reconciler) arrivalOf(object *v1alpha1.TenantCredential, otherwise time.Time) time.Time {
	noted, is := r.arrived.LoadAndDelete(client.ObjectKeyFromObject(object))
	if !is || noted.(arrival).generation != object.Generation {
		return otherwise
	}
	return noted.(arrival).at
}
