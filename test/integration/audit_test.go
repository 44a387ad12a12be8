package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// line is what the manager's log says of one transition.
type line struct {
	Revision                       int64
	Result, Cause, Reason, Failure string
	RequestID                      string `json:"request_id"`
	TenantID                       string `json:"tenant_id"`
	ExternalAccess                 string `json:"external_access"`
	Audit                          bool
}

// audited are a tenant's audit lines.
func audited(t *testing.T, id string) []line {
	t.Helper()
	log, err := os.Open(os.Getenv("MANAGER_LOG"))
	require.NoError(t, err)
	defer log.Close()
	var said []line
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if text := lines.Text(); strings.Contains(text, `"audit":true`) && strings.Contains(text, id) {
			var l line
			require.NoError(t, json.Unmarshal([]byte(text), &l))
			said = append(said, l)
		}
	}
	return said
}

// auditedAccess are the changes of a tenant's external access.
func auditedAccess(t *testing.T, id string) []string {
	t.Helper()
	var changes []string
	for _, l := range audited(t, id) {
		if l.ExternalAccess != "" {
			changes = append(changes, l.ExternalAccess)
		}
	}
	return changes
}

// For every requester and every way to ask, the manager's log has a line for each transition, and the ledger says the same.
func TestAudit(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "started")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	x.Apply("rotationGeneration: 1", `rotationRequest: {replacesRevision: 1, reason: "laptop lost", id: "7f3a"}`)
	x.WaitReady()

	said := audited(t, x.ID)
	generation := line{Revision: 1, Cause: "GenerationRaised", TenantID: x.ID, Audit: true}
	request := line{Revision: 2, Cause: "Requested", Reason: "laptop lost", RequestID: "7f3a", TenantID: x.ID, Audit: true}
	with := func(l line, result string) line { l.Result = result; return l }
	require.Equal(t, []line{
		with(generation, "opened"), with(generation, "committed"), with(generation, "completed"),
		with(request, "opened"), with(request, "committed"), with(request, "completed"),
	}, said)

	var reason, id string
	require.NoError(t, x.Pool().QueryRow(context.Background(), "SELECT reason, request_id FROM tenant_credentials.rotations WHERE tenant_id = $1 AND revision = 2", x.ID).Scan(&reason, &id))
	require.Equal(t, "laptop lost", reason)
	require.Equal(t, "7f3a", id)
	require.Equal(t, "7f3a", kubectl(t, "", "-n", "tenants-sandbox", "get", "tcred", x.Name, "-o", "jsonpath={.status.lastRotation.requestID}"))
	require.Equal(t, "1", kubectl(t, "", "-n", "tenants-sandbox", "get", "tcred", x.Name, "-o", "jsonpath={.status.history[*].revision}"))
}
