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

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
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
	e.Exec(t, "CREATE TABLE management.tenants (id uuid PRIMARY KEY, name text NOT NULL, password_hash text NOT NULL, db_role text, db_name text, fly_app text, owner uuid)")
	return e, server
}

// NewEnvironment is NewServer and Install in one.
func NewEnvironment(t *testing.T, name string, spec ...string) Environment {
	t.Helper()
	e, server := NewServer(t, name)
	e.Install(t, server, spec...)
	return e
}

// NewEnvironmentWithoutToken is NewEnvironment with a token that Fly refuses, until mend is called.
func NewEnvironmentWithoutToken(t *testing.T, name string) (e Environment, mend func()) {
	t.Helper()
	e, server := NewServer(t, name)
	secret := e.Name + "-token"
	harness.Kubectl(t, "", "-n", "tcred-system", "create", "secret", "generic", secret, "--from-literal=token=expiredtokenexpiredtokenexpired")
	manifest := strings.Replace(e.Manifest(t), "name: fly-sandbox", "name: "+secret, 1)
	e.Prepare(t, server, manifest)
	e.Create(t, manifest)
	return e, func() {
		harness.Kubectl(t, `{"stringData":{"token":"`+os.Getenv("FLY_API_TOKEN")+`"}}`, "-n", "tcred-system", "patch", "secret", secret, "--patch-file=/dev/stdin")
	}
}

// Exec runs a statement as the superuser.
func (e Environment) Exec(t *testing.T, statement string) {
	t.Helper()
	_, err := e.Pool(t).Exec(context.Background(), statement)
	require.NoError(t, err)
}

// Install does what the README tells people to do: the ledger, the Secret, the TenantEnvironment. The operator and the apps reach the server
// by e.Port. spec is what the TenantEnvironment has besides what sandbox has, a line each.
func (e Environment) Install(t *testing.T, server *pgserver.Server, spec ...string) {
	t.Helper()
	manifest := e.Manifest(t, spec...)
	e.Prepare(t, server, manifest)
	e.Create(t, manifest)
	e.WaitFor(t, "Ready", "True")
}

// Manifest is the TenantEnvironment; spec is as for Install.
func (e Environment) Manifest(t *testing.T, spec ...string) string {
	t.Helper()
	sample, err := os.ReadFile(filepath.Join(os.Getenv("PLAYGROUND_DIR"), "environment-sandbox.yaml"))
	require.NoError(t, err)
	return strings.NewReplacer("name: sandbox\n", "name: "+e.Name+"\n", "name: postgres-sandbox", "name: "+e.Name,
		"port: "+os.Getenv("PGPORT"), "port: "+e.Port, "spec:\n", strings.Join(append([]string{"spec:"}, spec...), "\n  ")+"\n").Replace(string(sample))
}

// Prepare installs the ledger for a manifest and writes the Secret that it names.
func (e Environment) Prepare(t *testing.T, server *pgserver.Server, manifest string) {
	t.Helper()
	output, err := InstallSQL(e.URL, manifest)
	require.NoError(t, err, output)
	url := strings.Replace(server.URL("tcred_operator", "operator", "platform"), ":"+strconv.Itoa(server.Port)+"/", ":"+e.Port+"/", 1)
	harness.Kubectl(t, "", "-n", "tcred-system", "create", "secret", "generic", e.Name, "--from-literal=url="+url)
}

// InstallSQL runs what the README has a DBA run, and returns its output.
func InstallSQL(dbaURL, manifest string) (string, error) {
	install := exec.Command(filepath.Join(harness.Repository, "bin", "manager"), "install-sql", "--environment", "-", "--operator-login", "tcred_operator")
	install.Env = append(os.Environ(), "DATABASE_URL="+dbaURL)
	install.Stdin = strings.NewReader(manifest)
	output, err := install.CombinedOutput()
	return string(output), err
}

// Create applies the TenantEnvironment, until the test ends.
func (e Environment) Create(t *testing.T, manifest string) {
	t.Helper()
	harness.Kubectl(t, manifest, "apply", "-f", "-")
	t.Cleanup(func() { harness.Kubectl(t, "", "delete", "tenv", e.Name, "--ignore-not-found", "--timeout=300s") })
}

// WaitFor waits until a condition of the TenantEnvironment has a status, and returns its message.
func (e Environment) WaitFor(t *testing.T, condition, status string) string {
	t.Helper()
	output, err := harness.Try("", "wait", "tenv", e.Name, "--for=condition="+condition+"="+status, "--timeout=180s")
	require.NoError(t, err, output)
	return harness.Kubectl(t, "", "get", "tenv", e.Name, "-o", `jsonpath={.status.conditions[?(@.type=="`+condition+`")].message}`)
}
