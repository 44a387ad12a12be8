package platform

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/hack/pgserver"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// NewServer starts a server of the test's own, with the platform's database, an empty management table and a login for the operator. The
// Environment that is returned lacks its TenantEnvironment.
func NewServer(t *testing.T, name string) (Environment, *pgserver.Server) {
	t.Helper()
	server, err := pgserver.Start(t.Context(), pgserver.Options{Version: "15"})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	e := Environment{Name: name + "-" + uuid.NewString()[:8], URL: server.SuperuserURL(), Port: strconv.Itoa(server.Port)}
	e.Exec(t, "CREATE DATABASE platform")
	e.URL = strings.Replace(e.URL, "/postgres?", "/platform?", 1)
	e.Exec(t, "CREATE ROLE tcred_operator LOGIN PASSWORD 'operator'")
	e.Exec(t, "CREATE SCHEMA management")
	e.Exec(t, "CREATE TABLE management.tenants (id uuid PRIMARY KEY, name text NOT NULL, password_hash text NOT NULL, db_role text, db_name text, fly_app text)")
	return e, server
}

// Exec runs a statement as the superuser.
func (e Environment) Exec(t *testing.T, statement string) {
	t.Helper()
	connection := e.Connect(t)
	defer connection.Close(context.Background())
	_, err := connection.Exec(context.Background(), statement)
	require.NoError(t, err)
}

// Install does what the README tells people to do: the ledger, the Secret, the TenantEnvironment. The operator and the apps reach the server
// by e.Port. spec is what the TenantEnvironment has besides what sandbox has, a line each.
func (e Environment) Install(t *testing.T, server *pgserver.Server, spec ...string) {
	t.Helper()
	sample, err := os.ReadFile(filepath.Join(os.Getenv("PLAYGROUND_DIR"), "environment-sandbox.yaml"))
	require.NoError(t, err)
	manifest := strings.NewReplacer("name: sandbox\n", "name: "+e.Name+"\n", "name: postgres-sandbox", "name: "+e.Name,
		"port: "+os.Getenv("PGPORT"), "port: "+e.Port, "spec:\n", strings.Join(append([]string{"spec:"}, spec...), "\n  ")+"\n").Replace(string(sample))
	install := exec.Command(filepath.Join(harness.Repository, "bin", "manager"), "install-sql", "--environment", "-", "--operator-login", "tcred_operator")
	install.Env = append(os.Environ(), "DATABASE_URL="+e.URL)
	install.Stdin = strings.NewReader(manifest)
	output, err := install.CombinedOutput()
	require.NoError(t, err, "%s", output)
	url := strings.Replace(server.URL("tcred_operator", "operator", "platform"), ":"+strconv.Itoa(server.Port)+"/", ":"+e.Port+"/", 1)
	harness.Kubectl(t, "", "-n", "tcred-system", "create", "secret", "generic", e.Name, "--from-literal=url="+url)
	harness.Kubectl(t, manifest, "apply", "-f", "-")
	t.Cleanup(func() { harness.Kubectl(t, "", "delete", "tenv", e.Name) })
	e.WaitFor(t, "Ready", "True")
}

// WaitFor waits until a condition of the TenantEnvironment has a status, and returns its message.
func (e Environment) WaitFor(t *testing.T, condition, status string) string {
	t.Helper()
	output, err := harness.Try("", "wait", "tenv", e.Name, "--for=condition="+condition+"="+status, "--timeout=60s")
	require.NoError(t, err, output)
	return harness.Kubectl(t, "", "get", "tenv", e.Name, "-o", `jsonpath={.status.conditions[?(@.type=="`+condition+`")].message}`)
}
