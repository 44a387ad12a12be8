package tenantcredential

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// Every transition that the status does not show yet is written, and none twice.
func TestAudit(t *testing.T) {
	seen := func(s *situation, revision int64, completed bool) {
		s.object.Status.Revision = revision
		s.object.Status.LastRotation = &v1alpha1.RotationStatus{Revision: revision}
		if completed {
			s.object.Status.LastRotation.CompletionTime = new(metav1.NewTime(now))
		}
	}
	for name, test := range map[string]struct {
		given func(*situation)
		want  []string
	}{
		"at rest": {func(s *situation) { seen(s, 1, true) }, nil},
		"made before the object adopted the tenant": {func(s *situation) { s.tenant.Claim.AdoptedAt = now }, nil},
		"another object's tenant":                   {func(s *situation) { s.tenant.Claim.UID = "another" }, nil},
		"from the intent to the end in one pass":    {func(s *situation) { s.out.Attempt.Opened = 1 }, []string{"1 opened", "1 committed", "1 completed"}},
		"begun by a pass before this one":           {func(*situation) {}, []string{"1 committed", "1 completed"}},
		"completed":                                 {func(s *situation) { seen(s, 1, false) }, []string{"1 completed"}},
		"rolled out": {func(s *situation) {
			seen(s, 1, false)
			s.tenant.Last.State, s.out.Rolled = postgres.StateRolled, true
		}, []string{"1 rolled"}},
		"superseded": {func(s *situation) {
			seen(s, 1, false)
			s.tenant.Earlier = []postgres.Rotation{*s.tenant.Last}
			s.tenant.Last.Revision, s.tenant.Last.State = 2, postgres.StateCommitted
		}, []string{"1 superseded", "2 committed"}},
		"failed": {func(s *situation) {
			seen(s, 1, true)
			s.tenant.Open = &postgres.Rotation{Revision: 2}
			s.out.Attempt = pass.Attempt{Opened: 2, Made: true}
			s.out.Obstacle = pass.AsObstacle(pass.AtFlySecret(failure.New(failure.Retry, reasons.RateLimited, "")))
		}, []string{"2 opened", "2 failed RateLimited"}},
		"what the ledger has lost": {func(s *situation) { seen(s, 7, true) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := resting()
			test.given(s)
			var got []string
			log := funcr.NewJSON(func(line string) { got = append(got, auditLine(t, s, line)) }, funcr.Options{})
			audit(ctrl.LoggerInto(t.Context(), log), s.in, s.out)
			require.Equal(t, test.want, got)
		})
	}
}

// auditLine is what a line says in short.
func auditLine(t *testing.T, s *situation, line string) string {
	t.Helper()
	var said struct {
		Audit    bool
		TenantID string `json:"tenant_id"`
		Revision int64
		Result   string
		Failure  string
	}
	require.NoError(t, json.Unmarshal([]byte(line), &said))
	require.True(t, said.Audit)
	require.Equal(t, s.object.Spec.TenantID, said.TenantID)
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", said.Revision, said.Result, said.Failure))
}
