package tenantcredential

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// While Fly can not be asked, only a tenant that has nothing to do goes by what was seen before.
func TestRestsOnFormerLook(t *testing.T) {
	for name, test := range map[string]struct {
		given func(*scope)
		rests bool
	}{
		"nothing is due":      {func(*scope) {}, true},
		"an edited object":    {func(s *scope) { s.object.Generation++ }, false},
		"never seen":          {func(s *scope) { s.object.Status.Conditions = nil }, false},
		"raised":              {func(s *scope) { *s.object.Spec.RotationGeneration = 2 }, false},
		"requested":           {func(s *scope) { s.object.Spec.RotationRequest = &v1alpha1.RotationRequest{ReplacesRevision: 1} }, false},
		"another destination": {func(s *scope) { s.tenant.Last.DeliveryDigest = "another" }, false},
		"lost in a failover":  {func(s *scope) { s.before.Status.Revision = 2 }, false},
		"rolling out":         {func(s *scope) { s.tenant.Last.State = postgres.StateCommitted }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := resting()
			s.flySeen, s.tenant.Last.DeliveryDigest = false, s.destination.Digest()
			s.object.Status.Conditions = []metav1.Condition{{Type: v1alpha1.FlySecretSyncedCondition, Status: metav1.ConditionTrue, ObservedGeneration: s.object.Generation}}
			test.given(s)
			require.Equal(t, test.rests, s.restsOnFormerLook())
		})
	}
}
