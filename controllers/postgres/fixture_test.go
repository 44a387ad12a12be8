package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// versions are the oldest and the newest PostgreSQL that are supported.
var versions = []string{"15", "18"}

var servers struct {
	sync.Mutex
	running map[string]*pgserver.Server // by version, and by version and kind
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, s := range servers.running {
		s.Stop()
	}
	os.Exit(code)
}

// sharedServer starts one server per version for the whole package; each test has a database and logins of its own.
func sharedServer(t testing.TB, version string) *pgserver.Server {
	t.Helper()
	servers.Lock()
	defer servers.Unlock()
	if s := servers.running[version]; s != nil {
		return s
	}
	s, err := pgserver.Start(context.Background(), pgserver.Options{Version: version, Settings: map[string]string{
		"shared_preload_libraries": "pg_stat_statements,auto_explain", "log_lock_waits": "on", "deadlock_timeout": "100ms",
		"log_error_verbosity": "verbose", "log_parameter_max_length": "-1", "log_parameter_max_length_on_error": "-1",
		"auto_explain.log_min_duration": "0", "auto_explain.log_verbose": "on", "auto_explain.log_analyze": "on",
	}})
	require.NoError(t, err)
	if servers.running == nil {
		servers.running = map[string]*pgserver.Server{}
	}
	servers.running[version] = s
	return s
}

// fixture is one platform: a database with the management table, the ledger installed in it, and the operator's login.
type fixture struct {
	t                testing.TB
	version          string
	pg               *pgserver.Server
	database         string
	prefix           string // of its roles: the platforms share a server
	operator         string
	operatorPassword string
	dba              *pgx.Conn
	server           *Server
}

// onEachVersion runs a test against every supported PostgreSQL.
func onEachVersion(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) { test(t, newFixture(t, version)) })
	}
}

const managementTable = `create schema management;
	create table management.tenants (id uuid primary key, name text, password_hash text not null, db_role text, db_name text, fly_app text)`

func newFixture(t testing.TB, version string) *fixture {
	t.Helper()
	return newFixtureOn(t, version, sharedServer(t, version))
}

func newFixtureOn(t testing.TB, version string, pg *pgserver.Server) *fixture {
	t.Helper()
	ctx := t.Context()
	suffix := strings.ToLower(rand.Text()[:8])
	f := &fixture{
		t: t, version: version, pg: pg, database: "platform_" + suffix, prefix: "tenant_" + suffix + "_",
		operator: "operator_" + suffix, operatorPassword: rand.Text(),
	}
	root, err := pgx.Connect(ctx, pg.SuperuserURL())
	require.NoError(t, err)
	_, err = root.Exec(ctx, "create database "+f.database)
	require.NoError(t, err)
	require.NoError(t, root.Close(ctx))

	f.dba, err = pgx.Connect(ctx, f.dbaURL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.dba.Close(context.Background()) })
	f.exec(fmt.Sprintf("create role %s login password '%s'; grant connect on database %s to %[1]s", f.operator, f.operatorPassword, f.database))
	f.exec(managementTable)
	require.NoError(t, Install(ctx, f.dbaURL(), f.installation()))

	f.server, err = Connect(ctx, Config{URL: credential.SecretOf(f.operatorURL()), MaxConnections: 16})
	require.NoError(t, err)
	t.Cleanup(f.server.Close)
	return f
}

// dbaURL is the superuser's, in the fixture's database.
func (f *fixture) dbaURL() string {
	return strings.Replace(f.pg.SuperuserURL(), "/postgres?", "/"+f.database+"?", 1)
}

func (f *fixture) operatorURL() string { return f.pg.URL(f.operator, f.operatorPassword, f.database) }

func (f *fixture) installation() Installation {
	return Installation{OperatorLogin: f.operator, Settings: Settings{
		Schema: "management", Table: "tenants", ColumnID: "id", ColumnPasswordHash: "password_hash",
		ColumnRole: "db_role", ColumnDatabase: "db_name", ColumnFlyApp: "fly_app",
		RolePrefix: f.prefix, DatabasePrefix: "site_", FlyAppPrefix: "sp-",
	}}
}

// exec runs SQL as the DBA.
func (f *fixture) exec(sql string, arguments ...any) {
	f.t.Helper()
	_, err := f.dba.Exec(f.t.Context(), sql, arguments...)
	require.NoError(f.t, err)
}

// one reads one value as the DBA.
func one[T any](f *fixture, sql string, arguments ...any) T {
	f.t.Helper()
	var value T
	require.NoError(f.t, f.dba.QueryRow(f.t.Context(), sql, arguments...).Scan(&value))
	return value
}

// newTenant makes a tenant whose database is the platform's own, so that no database has to be created. It returns ID and role.
func (f *fixture) newTenant() (id, role string) {
	f.t.Helper()
	id = uuid.NewString()
	role = f.prefix + id[:8]
	verifier := f.verifier(credential.NewPassword())
	f.exec(fmt.Sprintf("create role %s login password '%s'", role, verifier))
	if f.version != "15" {
		f.exec(fmt.Sprintf("grant %s to tenant_credentials_owner with admin true, inherit false, set false", role))
	}
	f.exec("insert into management.tenants (id, name, password_hash, db_name) values ($1, 'a tenant', $2, $3)", id, verifier, f.database)
	f.t.Cleanup(func() { // roles are shared by all databases of the server
		_, _ = f.dba.Exec(context.Background(), "drop owned by "+role+" cascade")
		_, _ = f.dba.Exec(context.Background(), "drop role "+role)
	})
	return id, role
}

// prepareOverlap makes a tenant's second login, as a DBA would.
func (f *fixture) prepareOverlap(role string) {
	f.t.Helper()
	f.exec("select tenant_credentials.prepare_overlap($1)", role)
	f.t.Cleanup(func() {
		_, _ = f.dba.Exec(context.Background(), "drop role "+role+"_b")
	})
}

// adoptedTenant is a new tenant that the object "uid" holds.
func (f *fixture) adoptedTenant() (id, role string) {
	f.t.Helper()
	id, role = f.newTenant()
	_, err := f.server.Adopt(f.t.Context(), adoptionOf(id, "uid"))
	require.NoError(f.t, err)
	return id, role
}

func adoptionOf(tenantID, uid string) Adoption {
	return Adoption{TenantID: tenantID, UID: uid, Cluster: "c1", Environment: "sandbox", Namespace: "tenants", Name: "acme"}
}

func (f *fixture) verifier(password credential.Secret) string {
	f.t.Helper()
	verifier, err := credential.Verifier(password)
	require.NoError(f.t, err)
	return verifier
}

func (f *fixture) observe(id string) Tenant {
	f.t.Helper()
	tenants, err := f.server.Observe(f.t.Context(), []string{id})
	require.NoError(f.t, err)
	require.Len(f.t, tenants, 1)
	return tenants[0]
}

func (f *fixture) open(id string, generation int64) Rotation {
	f.t.Helper()
	r, err := f.server.OpenRotation(f.t.Context(), Opening{TenantID: id, UID: "uid", Generation: generation, Cause: "Generation", StatedManager: "kubectl",
		After: newestOf(f.observe(id))})
	require.NoError(f.t, err)
	return r
}

// newestOf is the newest committed revision of a tenant.
func newestOf(t Tenant) int64 {
	if t.Last == nil {
		return 0
	}
	return t.Last.Revision
}

// complete is Server.Complete without its answer.
func (f *fixture) complete(ctx context.Context, id, uid string, revision int64) error {
	_, err := f.server.Complete(ctx, id, uid, revision)
	return err
}

// rotate stages and commits the open revision, and returns the password.
func (f *fixture) rotate(id string, revision int64) credential.Secret {
	f.t.Helper()
	return f.rotateEnding(id, revision, SessionsKept)
}

// closeLogins closes the tenant's logins until no earlier session or login is left.
func (f *fixture) closeLogins(id string, revision int64) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return f.closeOnce(id, revision) }, 20*time.Second, 20*time.Millisecond)
}

func (f *fixture) closeOnce(id string, revision int64) (quiet bool) {
	f.t.Helper()
	require.NoError(f.t, f.server.InTransaction(f.t.Context(), id, "uid", func(ctx context.Context, tx Transaction) (err error) {
		quiet, err = tx.Close(ctx, revision)
		return err
	}))
	return quiet
}

// rotateEnding is rotate with another policy for the earlier sessions.
func (f *fixture) rotateEnding(id string, revision int64, policy string) credential.Secret {
	f.t.Helper()
	if policy == SessionsCompromised {
		f.closeLogins(id, revision)
	}
	password := credential.NewPassword()
	require.NoError(f.t, f.server.InTransaction(f.t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
		if err := tx.Stage(ctx, Staging{Revision: revision, Verifier: f.verifier(password), SessionPolicy: policy, LoginChecked: true}); err != nil {
			return err
		}
		return tx.Commit(ctx, FlyWrite{})
	}))
	return password
}

// requireFailure asserts the class and reason of an error, and that it wraps nothing.
func requireFailure(t *testing.T, err error, class failure.Class, reason failure.Reason) *failure.Error {
	t.Helper()
	require.Error(t, err)
	e := failure.As(err)
	require.NotNil(t, e, "not a classed failure: %v", err)
	require.Equal(t, class, e.Class, e.Error())
	require.Equal(t, reason, e.Reason, e.Error())
	require.NoError(t, errors.Unwrap(err))
	return e
}
