package tenantcredential

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// address is what the environment writes into every tenant's DATABASE_URL. Were it wrong, no app could log in any more.
func address(in pass.Input) string { return fmt.Sprintf("%+v", in.Environment.Spec.Postgres.Internal) }

// trial is a tenant that tries an address.
type trial struct {
	canary   Canary
	tenantID string
}

// noteAddress says what this tenant knows of its environment's address: a rotation to it that is completed proves it, and one that is in
// progress tries it.
func (r *Reconciler) noteAddress(e *Environment, in pass.Input, out pass.Outcome) {
	switch tenant := out.Seen.Tenant; {
	case !pass.Delivered(in, tenant):
	case tenant.Last.State == postgres.StateCompleted:
		e.Canary.Prove(address(in))
	default:
		r.tryAddress(e, in)
	}
}

// tryAddress has the tenant be the one that tries the address, and says whether it may use it.
func (r *Reconciler) tryAddress(e *Environment, in pass.Input) bool {
	r.trying.Store(client.ObjectKeyFromObject(in.Object), trial{e.Canary, pass.ID(in)})
	return e.Canary.Try(address(in), pass.ID(in))
}

// acquireAddress says whether the rotation may go to the environment's address: one that is due because that has changed waits until another
// tenant has proved it.
func (r *Reconciler) acquireAddress(e *Environment, in pass.Input, out pass.Outcome) bool {
	if pass.Assess(in, out).Cause != rotation.DeliveryChanged || r.tryAddress(e, in) {
		return true
	}
	r.waitFor(in, out.Seen, version{uid: pass.UID(in), generation: in.Object.Generation, address: address(in)})
	return false
}

// leaveCanary makes room for another tenant, because the object's has not got as far as the address, or is done.
func (r *Reconciler) leaveCanary(key client.ObjectKey) {
	if kept, found := r.trying.LoadAndDelete(key); found {
		kept.(trial).canary.Leave(kept.(trial).tenantID)
	}
}
