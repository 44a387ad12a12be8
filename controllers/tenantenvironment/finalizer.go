package tenantenvironment

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

func deleted(environment *v1alpha1.TenantEnvironment) bool {
	return !environment.DeletionTimestamp.IsZero()
}

// letGo takes the finalizer off once no rotation of the environment is unfinished, and returns how many are; 0 also where neither the finalizer
// nor the status depends on it. No slot is given from before it counts until the finalizer is off: a rotation that began in between would not be counted, and
// would rely on a finalizer that is being taken off. The ledger has those that began before.
func (r *Reconciler) letGo(ctx context.Context, before, environment *v1alpha1.TenantEnvironment) (unfinished int, err error) {
	connection, held := r.Connections.Usable(environment.Name), controllerutil.ContainsFinalizer(environment, v1alpha1.Finalizer)
	slots := r.Connections.slots(environment.Name)
	idle := slots.closeIdle()
	defer slots.reopen()
	if connection != nil && !deleted(environment) && !(held && idle) {
		return 0, nil
	}
	if unfinished, err = r.unfinished(ctx, environment.Name, connection); err != nil {
		return 0, err
	}
	settled := connection != nil || deleted(environment) // else there is time to ask the ledger
	if unfinished > 0 || !held || !idle || !settled {
		return unfinished, nil
	}
	changed := before.DeepCopy()
	controllerutil.RemoveFinalizer(changed, v1alpha1.Finalizer)
	if err := r.Client.Patch(ctx, changed, client.MergeFromWithOptions(before.DeepCopy(), client.MergeFromWithOptimisticLock{})); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	before.ObjectMeta, environment.ObjectMeta = changed.ObjectMeta, *changed.ObjectMeta.DeepCopy()
	return 0, nil
}

// unfinished counts the rotations that were begun and are not completed, as the ledger has them or, without a connection, as the status of
// the TenantCredentials has them.
func (r *Reconciler) unfinished(ctx context.Context, environment string, connection *Connection) (count int, err error) {
	if connection == nil {
		credentials, err := r.credentials(ctx, environment)
		for _, c := range credentials {
			if halfDone(c) {
				count++
			}
		}
		return count, err
	}
	fleet, err := r.observe(ctx, environment, connection)
	for _, m := range fleet {
		if m.unfinished() {
			count++
		}
	}
	return count, err
}

// halfDone says that the status speaks of a rotation that is not completed, or that one was begun of which the status knows nothing yet: a
// finalizer counts where the operator has seen that the object holds its tenant, because an editor can have written it anywhere else.
func halfDone(credential *v1alpha1.TenantCredential) bool {
	last := credential.Status.LastRotation
	return last != nil && last.CompletionTime == nil ||
		credential.Status.Postgres != nil && controllerutil.ContainsFinalizer(credential, v1alpha1.Finalizer)
}

// member is a TenantCredential of an environment, and what the ledger has of its tenant.
type member struct {
	object *v1alpha1.TenantCredential
	tenant postgres.Tenant
}

// unfinished says that the tenant is the object's, and has a rotation that is not completed.
func (m member) unfinished() bool {
	if m.tenant.Claim == nil || m.tenant.Claim.UID != string(m.object.UID) {
		return false
	}
	return m.tenant.Open != nil || m.tenant.Last != nil && m.tenant.Last.State != postgres.StateCompleted
}

// observedAtOnce bounds one call that reads the ledger.
const observedAtOnce = 500

// observe reads the ledger of every TenantCredential of an environment.
func (r *Reconciler) observe(ctx context.Context, environment string, connection *Connection) ([]member, error) {
	credentials, err := r.credentials(ctx, environment)
	if err != nil {
		return nil, err
	}
	fleet := make([]member, 0, len(credentials))
	for some := range slices.Chunk(credentials, observedAtOnce) {
		ids := make([]string, len(some))
		for i, c := range some {
			ids[i] = c.Spec.TenantID
		}
		tenants, err := connection.Postgres.Observe(ctx, ids)
		if err != nil {
			return nil, err
		}
		for i := range tenants {
			fleet = append(fleet, member{some[i], tenants[i]})
		}
	}
	return fleet, nil
}

// credentials lists the TenantCredentials of an environment.
func (r *Reconciler) credentials(ctx context.Context, environment string) ([]*v1alpha1.TenantCredential, error) {
	var all v1alpha1.TenantCredentialList
	if err := r.Client.List(ctx, &all); err != nil {
		return nil, fmt.Errorf("listing the TenantCredentials: %w", err)
	}
	var own []*v1alpha1.TenantCredential
	for i := range all.Items {
		if all.Items[i].Spec.EnvironmentRef.Name == environment {
			own = append(own, &all.Items[i])
		}
	}
	return own, nil
}
