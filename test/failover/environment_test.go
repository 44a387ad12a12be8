package failover

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// environment is a server of the test's own and the TenantEnvironment that names it.
type environment struct {
	platform.Environment
	t      *testing.T
	server *pgserver.Server
}

// newEnvironment has an environment in which a failover may catch one rotation in progress, and no more.
func newEnvironment(t *testing.T) *environment {
	t.Helper()
	named, server := platform.NewServer(t, "failover")
	e := &environment{Environment: named, t: t, server: server}
	t.Cleanup(func() { e.server.Stop() })
	e.Install(t, server, "maxConcurrent: 1")
	return e
}

// rotated makes a tenant with a stopped Machine and rotates it once.
func (e *environment) rotated() platform.Tenant {
	e.t.Helper()
	x := platform.NewTenantIn(e.t, e.Environment, "stopped")
	x.Apply("rotationGeneration: 1")
	e.t.Cleanup(x.Delete)
	x.WaitReady()
	return x
}

// replaceServer has another server take the place, and the port, of the present one.
func (e *environment) replaceServer(other *pgserver.Server) {
	e.t.Helper()
	e.server.Down()
	other.Down()
	other.Port = e.server.Port
	require.NoError(e.t, other.Up(e.t.Context()))
	former := e.server
	e.t.Cleanup(former.Stop)
	e.server = other
}

// look has the operator look at the environment now.
func (e *environment) look() {
	e.t.Helper()
	harness.Kubectl(e.t, "", "annotate", "--overwrite", "tenv", e.Name, "test.example.com/poke="+uuid.NewString())
}

// obey runs the command that a message ends with.
func obey(t *testing.T, message string) {
	t.Helper()
	_, command, found := strings.Cut(message, "kubectl ")
	require.True(t, found, message)
	output, err := exec.Command("sh", "-c", "kubectl "+command).CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// requireSound has the checker look at everything. Its findings about other tests' tenants, which may be in the middle of a rotation, do not
// count.
func (e *environment) requireSound() {
	e.t.Helper()
	managerStays.RLock()
	defer managerStays.RUnlock()
	config, err := checker.FromEnvironment()
	require.NoError(e.t, err)
	config.Environments = append(config.Environments, checker.Environment{Name: e.Name, SuperuserURL: e.URL, Organization: "example-sandbox",
		Naming: checker.Naming{Role: "db_role", Database: "db_name", FlyApp: "fly_app"}})
	config.LogFiles = append(config.LogFiles, e.server.LogFile)
	for _, violation := range checker.Check(e.t.Context(), config, nil, nil) {
		id, _, _ := strings.Cut(violation.Tenant, " ")
		if id == "" || e.one("SELECT count(*) = 1 FROM management.tenants WHERE id::text = '"+id+"'") {
			e.t.Error(violation)
		}
	}
}

// managerStays keeps a test from stopping the manager while another one has everything searched, its metrics among them.
var managerStays sync.RWMutex

// ready says whether the object is Ready, and why.
func ready(x platform.Tenant) (bool, string) {
	condition := x.Get().Condition("Ready")
	return condition.Status == "True", condition.Reason
}

// eventually polls, for conditions without a command of their own that waits.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, time.Minute, 200*time.Millisecond, what)
}

// revisions lists the ledger's rows of a tenant as "revision state cause".
func (e *environment) revisions(x platform.Tenant) []string {
	e.t.Helper()
	var rows []string
	var content []byte
	require.NoError(e.t, e.Pool(e.t).QueryRow(context.Background(),
		"SELECT coalesce(json_agg(concat_ws(' ', revision, state, cause) ORDER BY revision), '[]') FROM tenant_credentials.rotations WHERE tenant_id = $1", x.ID).Scan(&content))
	require.NoError(e.t, json.Unmarshal(content, &rows))
	return rows
}
