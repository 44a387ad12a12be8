package tenantcredential

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// situation is what a step finds.
type situation struct {
	in  pass.Input
	out pass.Outcome
	// object, environment and tenant are those of in and out.
	object      *v1alpha1.TenantCredential
	environment *v1alpha1.TenantEnvironment
	tenant      *postgres.Tenant
}

// resting is a pass over a tenant whose first rotation is completed and to whom nothing is due.
func resting() *situation {
	asked := int64(1)
	s := &situation{
		object: &v1alpha1.TenantCredential{
			ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: "acme", UID: "uid-1", Generation: 3},
			Spec: v1alpha1.TenantCredentialSpec{TenantID: "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01", RotationGeneration: &asked,
				EnvironmentRef: v1alpha1.EnvironmentReference{Name: "sandbox"}},
		},
		environment: &v1alpha1.TenantEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "sandbox"}},
		tenant: &postgres.Tenant{
			Found: true, RoleExists: true, Role: "tenant_7dd06cd6", Login: "tenant_7dd06cd6", Database: "site_7dd06cd6", FlyApp: "sp-7dd06cd6",
			VerifierDigest: "v1", HashDigest: "h1",
			Claim: &postgres.Claim{UID: "uid-1", Generation: 1},
			Last: &postgres.Rotation{Revision: 1, State: postgres.StateCompleted, Generation: 1, VerifierDigest: "v1", HashDigest: "h1",
				FlyDigest: "f1", FlyVersion: 1 << 60, CommittedAt: now.Add(-time.Hour), LoginCheckedAt: now.Add(-time.Hour), CompletedAt: now.Add(-time.Minute)},
		},
	}
	s.environment.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll
	s.in = pass.Input{Object: s.object, Environment: s.environment, Now: now, Connected: true}
	s.out.Seen = pass.Observed{Tenant: s.tenant, Fly: &pass.FlyAnswer{Digest: new("f1")}, Whole: true}
	s.deliver()
	return s
}

// deliver has the last rotation be for the places that the spec names.
func (s *situation) deliver() {
	s.tenant.Last.DeliveryDigest = pass.Destination(s.in, s.tenant).Digest()
}

// toSecretAlone has the spec deliver to a connection Secret, and to nothing else.
func (s *situation) toSecretAlone() {
	s.object.Spec.Delivery = v1alpha1.Delivery{ConnectionSecret: &v1alpha1.ConnectionSecretDelivery{Name: "acme-db"}}
	s.out.Seen.Fly = nil
	s.deliver()
}
