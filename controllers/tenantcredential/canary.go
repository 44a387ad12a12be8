package tenantcredential

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// address is what the environment writes into every tenant's DATABASE_URL. Were it wrong, no app could log in any more.
func (s *scope) address() string { return fmt.Sprintf("%+v", s.environment.Spec.Postgres.Internal) }

// trial is a tenant that tries an address.
type trial struct {
	canary   Canary
	tenantID string
}

// noteAddress says what this tenant knows of its environment's address: a rotation to it that is completed proves it, and one that is under
// way tries it.
func (r *Reconciler) noteAddress(s *scope) {
	switch {
	case !s.delivered(s.tenant):
	case s.tenant.Last.State == postgres.StateCompleted:
		s.connection.Canary.Prove(s.address())
	default:
		r.tryAddress(s)
	}
}

// tryAddress has the tenant be the one that tries the address, and says whether it may use it.
func (r *Reconciler) tryAddress(s *scope) bool {
	r.trying.Store(client.ObjectKeyFromObject(s.object), trial{s.connection.Canary, s.id()})
	return s.connection.Canary.Try(s.address(), s.id())
}

// acquireAddress says whether the rotation may go to the environment's address: one that is due because that has changed waits until another
// tenant has proved it.
func (r *Reconciler) acquireAddress(s *scope) bool {
	if s.decision.Cause != rotation.DeliveryChanged || r.tryAddress(s) {
		return true
	}
	r.waitFor(s, version{uid: s.uid(), generation: s.object.Generation, address: s.address()})
	s.awaitsCanary = true
	return false
}

// leaveCanary makes room for another tenant, because the object's has not got as far as the address, or is done.
func (r *Reconciler) leaveCanary(key client.ObjectKey) {
	if kept, found := r.trying.LoadAndDelete(key); found {
		kept.(trial).canary.Leave(kept.(trial).tenantID)
	}
}
