package tenantcredential

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// Every transition that the status does not show yet is written, and none twice.
func TestAudit(t *testing.T) {
	seen := func(s *scope, revision int64, completed bool) {
		s.before.Status.Revision = revision
		s.before.Status.LastRotation = &v1alpha1.RotationStatus{Revision: revision}
		if completed {
			s.before.Status.LastRotation.CompletionTime = new(seconds(now))
		}
	}
	for name, test := range map[string]struct {
		given func(*scope)
		want  []string
	}{
		"at rest": {func(s *scope) { seen(s, 1, true) }, nil},
		"made before the object adopted the tenant": {func(s *scope) { s.tenant.Claim.AdoptedAt = now }, nil},
		"another object's tenant":                   {func(s *scope) { s.tenant.Claim.UID = "another" }, nil},
		"from the intent to the end in one pass":    {func(s *scope) { s.opened = 1 }, []string{"1 opened", "1 committed", "1 completed"}},
		"begun by a pass before this one":           {func(*scope) {}, []string{"1 committed", "1 completed"}},
		"completed":                                 {func(s *scope) { seen(s, 1, false) }, []string{"1 completed"}},
		"rolled out": {func(s *scope) {
			seen(s, 1, false)
			s.tenant.Last.State, s.rolledNow = postgres.StateRolled, true
		}, []string{"1 rolled"}},
		"superseded": {func(s *scope) {
			seen(s, 1, false)
			s.tenant.Earlier = []postgres.Rotation{*s.tenant.Last}
			s.tenant.Last.Revision, s.tenant.Last.State = 2, postgres.StateCommitted
		}, []string{"1 superseded", "2 committed"}},
		"failed": {func(s *scope) {
			seen(s, 1, true)
			s.tenant.Open = &postgres.Rotation{Revision: 2}
			s.opened, s.attempted = 2, true
			s.obstacle = &obstacle{failure: failure.New(failure.Retry, failure.RateLimited, "")}
		}, []string{"2 opened", "2 failed RateLimited"}},
		"what the ledger has lost": {func(s *scope) { seen(s, 7, true) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := resting()
			test.given(s)
			var got []string
			log := funcr.NewJSON(func(line string) { got = append(got, auditLine(t, s, line)) }, funcr.Options{})
			s.audit(ctrl.LoggerInto(t.Context(), log))
			require.Equal(t, test.want, got)
		})
	}
}

// auditLine is what a line says in short.
func auditLine(t *testing.T, s *scope, line string) string {
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
	require.Equal(t, s.id(), said.TenantID)
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", said.Revision, said.Result, said.Failure))
}
