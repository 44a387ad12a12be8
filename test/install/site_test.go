package install

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

const (
	organization = "example-sandbox"
	flyToken     = "a-token-of-the-organization-for-the-operator"
	acmeID       = "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01"
	acmeApp      = "sp-7dd06cd6"
	vandelayID   = "5c8e2f90-3d17-4b6a-8e25-7f0b1a9c4d07"
	// operatorPassword is what the user has chosen for the operator's login.
	operatorPassword = "chosen-by-the-user"
)

// site is what a user has before the installation: a checkout, an empty cluster, a PostgreSQL server with a certificate of a private authority and the
// platform's table, and an organization at Fly.
type site struct {
	folder, checkout, kubeconfig string
	variables                    []string // that were set in the shell
	ready                        string   // the command that waits for the environment
	cluster                      *standIns
	server                       *pgserver.Server
	authority                    pgserver.Authority
	fly                          *flyemulator.Emulator
	flyURL                       string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{folder: t.TempDir()}
	s.checkOut(t)
	s.startFly(t)
	s.startPostgres(t)
	s.startCluster(t)
	return s
}

// checkOut makes a checkout of what the pages use, and a program docker.
func (s *site) checkOut(t *testing.T) {
	t.Helper()
	s.checkout = filepath.Join(s.folder, "checkout")
	require.NoError(t, os.CopyFS(filepath.Join(s.checkout, "config"), os.DirFS(filepath.Join(harness.Repository, "config"))))
	for _, file := range []string{"Dockerfile", "go.mod"} {
		require.NoError(t, os.Symlink(filepath.Join(harness.Repository, file), filepath.Join(s.checkout, file)))
	}
	require.NoError(t, os.Mkdir(filepath.Join(s.checkout, "bin"), 0o755))
	s.build(t, filepath.Join(harness.Repository, "bin", "manager"))
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(s.folder, "path"), 0o755))
	require.NoError(t, os.Symlink(self, filepath.Join(s.folder, "path", "docker")))
}

// build has bin/manager of the checkout be a program.
func (s *site) build(t *testing.T, program string) {
	t.Helper()
	path := filepath.Join(s.checkout, "bin", "manager")
	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, os.Symlink(program, path))
}

func (s *site) startFly(t *testing.T) {
	t.Helper()
	s.fly = flyemulator.New(flyemulator.Options{})
	api := httptest.NewServer(s.fly.API())
	t.Cleanup(func() { s.fly.Close(); api.Close() })
	s.flyURL = api.URL
	s.fly.PutToken(flyToken, flyemulator.Token{Organization: organization})
}

func (s *site) startPostgres(t *testing.T) {
	t.Helper()
	var err error
	s.authority, err = pgserver.NewAuthority()
	require.NoError(t, err)
	certificate, key, err := s.authority.Issue("127.0.0.1")
	require.NoError(t, err)
	s.server, err = pgserver.Start(t.Context(), pgserver.Options{Version: "15", Settings: map[string]string{"ssl": "on"}, Files: map[string]string{
		"server.crt": certificate, "server.key": key,
		"pg_hba.conf": "hostssl all all 127.0.0.1/32 scram-sha-256\nhostnossl all postgres 127.0.0.1/32 scram-sha-256\n",
	}})
	require.NoError(t, err)
	t.Cleanup(s.server.Stop)
	s.sql(t, "postgres", "CREATE DATABASE platform")
	s.sql(t, "platform", "CREATE SCHEMA management; CREATE TABLE management.tenants (id uuid PRIMARY KEY, name text NOT NULL, password_hash text NOT NULL)")
	s.provision(t, acmeID, "acme")
	s.provision(t, vandelayID, "vandelay")
	s.fly.PutApp(acmeApp, organization, "DATABASE_URL")
	url := s.tenantURL("tenant_7dd06cd6", "initial", "site_7dd06cd6")
	s.fly.PutSecret(acmeApp, "DATABASE_URL", &url)
	_, err = s.fly.AddMachine(acmeApp, flyemulator.NewMachine{State: "stopped"})
	require.NoError(t, err)
}

// provision does for a tenant what the platform does.
func (s *site) provision(t *testing.T, id, name string) {
	t.Helper()
	s.sql(t, "platform", "CREATE ROLE tenant_"+id[:8]+" LOGIN PASSWORD 'initial'")
	s.sql(t, "platform", "CREATE DATABASE site_"+id[:8]+" OWNER tenant_"+id[:8])
	s.sql(t, "platform", "INSERT INTO management.tenants SELECT '"+id+"', '"+name+"', rolpassword FROM pg_authid WHERE rolname = 'tenant_"+id[:8]+"'")
}

func (s *site) startCluster(t *testing.T) {
	t.Helper()
	cluster := &envtest.Environment{BinaryAssetsDirectory: filepath.Join(harness.Repository, "bin", "k8s")}
	config, err := cluster.Start()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Stop()) })
	s.kubeconfig = filepath.Join(s.folder, "kubeconfig")
	require.NoError(t, os.WriteFile(s.kubeconfig, cluster.KubeConfig, 0o600))
	s.cluster = newStandIns(t, config, s.folder)
}

// dbaURL is the superuser's, as the README has it written.
func (s *site) dbaURL(database string) string {
	plain := strings.Replace(s.server.SuperuserURL(), "/postgres?", "/"+database+"?", 1)
	return strings.Replace(plain, "sslmode=disable", "sslmode=verify-full&sslrootcert=install/ca.crt", 1)
}

// operatorURL is the one of the operator's login.
func (s *site) operatorURL(password, host string) string {
	return "postgres://tcred_operator:" + password + "@" + host + ":" + strconv.Itoa(s.server.Port) + "/platform"
}

func (s *site) tenantURL(role, password, database string) string {
	return "postgresql://" + role + ":" + password + "@127.0.0.1:" + strconv.Itoa(s.server.Port) + "/" + database
}

// sql runs statements as the superuser.
func (s *site) sql(t *testing.T, database, statements string) {
	t.Helper()
	connection := s.connect(t, strings.Replace(s.server.SuperuserURL(), "/postgres?", "/"+database+"?", 1))
	defer connection.Close(context.Background())
	_, err := connection.Exec(t.Context(), statements)
	require.NoError(t, err)
}

// one reads one text as the superuser, in the platform's database.
func (s *site) one(t *testing.T, query string) (answer string) {
	t.Helper()
	connection := s.connect(t, strings.Replace(s.server.SuperuserURL(), "/postgres?", "/platform?", 1))
	defer connection.Close(context.Background())
	require.NoError(t, connection.QueryRow(t.Context(), query).Scan(&answer))
	return answer
}

func (s *site) connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	return connection
}

// flyValue is acme's DATABASE_URL at Fly.
func (s *site) flyValue(t *testing.T) string {
	t.Helper()
	app, exists := s.fly.Inspect(t.Context(), acmeApp)
	require.True(t, exists)
	require.Len(t, app.Secrets, 1)
	return app.Secrets[0].Value
}

// requireLogin logs in with a DATABASE_URL, as an app does that trusts the authority.
func (s *site) requireLogin(t *testing.T, url string) {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(ca, []byte(s.authority.Certificate), 0o600))
	joint := "?"
	if strings.Contains(url, "?") {
		joint = "&"
	}
	connection := s.connect(t, url+joint+"sslmode=verify-full&sslrootcert="+ca)
	require.NoError(t, connection.Close(context.Background()))
}

// rotations are the ledger's rows of acme.
func (s *site) rotations(t *testing.T) string {
	t.Helper()
	return s.one(t, "SELECT coalesce(string_agg(revision || ' ' || state, ', ' ORDER BY revision), '') FROM tenant_credentials.rotations WHERE tenant_id = '"+acmeID+"'")
}

// write writes a file of the folder install.
func (s *site) write(t *testing.T, name, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(s.checkout, "install", name), []byte(content), 0o600))
}
