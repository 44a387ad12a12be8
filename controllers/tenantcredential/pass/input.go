package pass

import (
	"cmp"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// Input is what a pass begins with.
type Input struct {
	// Object is as it was read: with the status that the pass before has left.
	Object *v1alpha1.TenantCredential
	// Environment is nil where there is none of that name.
	Environment *v1alpha1.TenantEnvironment
	// Unbound is why the object may not have the tenant in its namespace; nil = it may.
	Unbound *Obstacle
	// Now is when the pass began.
	Now time.Time
	// Arrived is when the object's spec arrived in the cache, or Now.
	Arrived time.Time
	// Cluster is the UID of this cluster's kube-system namespace.
	Cluster string
	// Connected says that the environment can be used. The other two come with it: why pg_hba.conf does not make the group of external access
	// count, "" = it does; and when the login or the token was last changed while this process ran, zero if never.
	Connected       bool
	ExternalProblem string
	Reconnected     time.Time
}

// UnboundBy is the input of an object whose binding was found to be gone during the pass, if that is what the obstacle says.
func UnboundBy(in Input, o *Obstacle) Input {
	if TraitsOf(o).Unbound {
		in.Unbound = o
	}
	return in
}

// ID is the tenant's. With UID it is what the ledger knows the object by.
func ID(in Input) string { return in.Object.Spec.TenantID }

// UID is the object's.
func UID(in Input) string { return string(in.Object.UID) }

// Deleted says that the object is being deleted.
func Deleted(in Input) bool { return !in.Object.DeletionTimestamp.IsZero() }

// Request is nil where the spec has none.
func Request(in Input) *v1alpha1.RotationRequest { return in.Object.Spec.RotationRequest }

// HasFinalizer says that the object may have a rotation to finish.
func HasFinalizer(object *v1alpha1.TenantCredential) bool {
	return controllerutil.ContainsFinalizer(object, v1alpha1.Finalizer)
}

// Strategy is the object's or, where it has none, its environment's.
func Strategy(in Input) v1alpha1.RotationStrategy {
	return cmp.Or(in.Object.Spec.Rotation.Strategy, in.Environment.Spec.Rotation.Strategy)
}

// ToFly says that passwords go to the tenant's Fly app.
func ToFly(in Input) bool { return in.Object.FlyDelivery() != nil }

// Staged says that the user's own deploy moves the Machines.
func Staged(in Input) bool {
	return ToFly(in) && in.Object.FlyDelivery().RolloutPolicy == v1alpha1.RolloutPolicyStaged
}

// NamesSecret says that there is a connection Secret to look after. That of an object that is being deleted goes with it.
func NamesSecret(in Input) bool {
	return in.Object.Spec.Delivery.ConnectionSecret != nil && !Deleted(in)
}

// ToSecret says that passwords go into it: none do in a namespace that has lost its binding.
func ToSecret(in Input) bool { return NamesSecret(in) && in.Unbound == nil }

// SecretKey is the connection Secret's.
func SecretKey(in Input) client.ObjectKey {
	return client.ObjectKey{Namespace: in.Object.Namespace, Name: in.Object.Spec.Delivery.ConnectionSecret.Name}
}

// WantsExternalAccess says that the tenant is to be accepted from outside: the spec asks for it, and the environment has an address for it.
func WantsExternalAccess(in Input) bool {
	return in.Object.Spec.ExternalAccess != nil && in.Environment.Spec.Postgres.External != nil
}

// AsksInVain says that the spec asks for external access, and the environment has no address for it.
func AsksInVain(in Input) bool {
	return in.Object.Spec.ExternalAccess != nil && in.Environment.Spec.Postgres.External == nil
}
