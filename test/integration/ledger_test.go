package integration

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// Staging is copied from production onto the same server, where the roles are the same ones. Neither a ledger of its own nor the copied one
// gets at them, and production goes on.
func TestASecondLedgerOnTheServer(t *testing.T) {
	t.Parallel()
	e, server := platform.NewServer(t, "production")
	e.Install(t, server)
	x := newTenantIn(t, e, "stopped")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()

	staging := secondDatabase(t, e)
	dump(t, e, staging, "--schema=management")
	output, err := platform.InstallSQL(staging.URL, staging.Manifest(t))
	require.Error(t, err)
	const refusal = "Database platform of this server has a ledger for roles that begin with 'tenant_', too, and a role has one password."
	require.Contains(t, output, refusal)

	staging.Exec(t, "DROP SCHEMA management CASCADE")
	dump(t, e, staging)
	output, err = platform.InstallSQL(staging.URL, staging.Manifest(t))
	require.Error(t, err)
	require.Contains(t, output, refusal)
	secretFor(t, staging, server, "127.0.0.1", "platform2")
	staging.Create(t, staging.Manifest(t))
	message := staging.WaitFor(t, "Stalled", "True")
	require.Contains(t, message, "Database platform of this server also has a ledger for roles that begin with tenant_, and a role has one password. "+
		"No rotation of this environment starts; the apps keep their present passwords. To fix: point the login Secret to database platform; ")
	requireLeftAlone(t, staging, x)

	x.Apply("rotationGeneration: 2")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
	requireAccepted(t, x.URL())
}

// Two environments lead to one ledger, by two addresses. The older one has it, and the younger one takes its place when it is gone.
func TestTwoEnvironmentsWithOneLedger(t *testing.T) {
	t.Parallel()
	e, server := platform.NewServer(t, "elder")
	e.Install(t, server)
	x := newTenantIn(t, e, "stopped")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()

	twin := e
	twin.Name = "a-" + e.Name // first by name, and yet the younger one
	secretFor(t, twin, server, "localhost", "platform")
	twin.Create(t, twin.Manifest(t))
	message := twin.WaitFor(t, "Stalled", "True")
	require.Contains(t, message, "TenantEnvironment "+e.Name+" uses the same ledger, database platform of the same server. ")
	require.Contains(t, message, "To fix: kubectl delete tenv "+twin.Name+", and name "+e.Name+" in its TenantCredentials")
	requireLeftAlone(t, twin, x)

	x.Delete()
	kubectl(t, "", "delete", "tenv", e.Name)
	twin.WaitFor(t, "Ready", "True")
}

// requireLeftAlone has another object ask for a rotation of the tenant, in an environment that cannot be used.
func requireLeftAlone(t *testing.T, e platform.Environment, x tenant) {
	t.Helper()
	verifier, hash := x.Hashes()
	url, rows := x.URL(), x.Rows()
	rival := x
	rival.Name = "rival-" + x.Short
	rival.Apply("environmentRef: {name: "+e.Name+"}", "rotationGeneration: 5")
	rival.WaitReason("EnvironmentNotReady")
	require.Contains(t, rival.Get().Condition("Ready").Message, "TenantEnvironment "+e.Name+" is not ready (LedgerConflict: ")
	rival.Delete()
	sameVerifier, sameHash := x.Hashes()
	require.Equal(t, []string{verifier, hash, url}, []string{sameVerifier, sameHash, x.URL()})
	require.Equal(t, rows, x.Rows())
}

// secondDatabase is staging beside an environment, on the same server, with an empty database.
func secondDatabase(t *testing.T, e platform.Environment) platform.Environment {
	t.Helper()
	e.Exec(t, "CREATE DATABASE platform2")
	e.Name, e.URL = e.Name+"-staging", strings.Replace(e.URL, "/platform?", "/platform2?", 1)
	return e
}

// dump copies a database as a DBA does.
func dump(t *testing.T, from, to platform.Environment, options ...string) {
	t.Helper()
	script, err := exec.Command("pg_dump", append(options, from.URL)...).Output()
	require.NoError(t, err)
	restore := exec.Command("psql", "--quiet", "--set=ON_ERROR_STOP=1", to.URL)
	restore.Stdin = strings.NewReader(string(script))
	output, err := restore.CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// secretFor is the operator's login for an environment, by an address of the server.
func secretFor(t *testing.T, e platform.Environment, server *pgserver.Server, host, database string) {
	t.Helper()
	url := strings.Replace(server.URL("tcred_operator", "operator", database), "127.0.0.1", host, 1)
	kubectl(t, "", "-n", "tcred-system", "create", "secret", "generic", e.Name, "--from-literal=url="+url)
}
