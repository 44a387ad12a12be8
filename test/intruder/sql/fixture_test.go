// Package sql attacks the ledger and the login check on a real PostgreSQL, as a tenant, as the author of a trigger, as a thief of the
// operator's login, and as a hostile server. Every attack is one named subtest, and asserts the reason with which it is refused.
package sql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// versions are the oldest and the newest PostgreSQL that are supported.
var versions = []string{"15", "18"}

// holder is the UID of the object that holds the tenants of adoptedTenant.
const holder = "uid"

var servers struct {
	sync.Mutex
	running map[string]*pgserver.Server
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, s := range servers.running {
		s.Stop()
	}
	os.Exit(code)
}

// sharedServer starts one server per version for the whole package; each platform has a database and logins of its own. The server logs
// everything that it can, so that a test can look for secrets in its log.
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
		"max_prepared_transactions": "5",
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
	operatorLogin    string
	operatorPassword string
	dba              *pgx.Conn
	server           *postgres.Server
	passwords        map[string]string // of every login of a tenant, as it was set last
}

// onEachVersion runs a test against every supported PostgreSQL, with a platform of its own.
func onEachVersion(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) { test(t, newFixture(t, version)) })
	}
}

// onServersOfTheirOwn is onEachVersion with the prefix that roles have by default, which the ledger's own roles have, too.
func onServersOfTheirOwn(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			pg, err := pgserver.Start(t.Context(), pgserver.Options{Version: version})
			require.NoError(t, err)
			t.Cleanup(pg.Stop)
			test(t, newPlatform(t, version, pg, "tenant_"))
		})
	}
}

func newFixture(t testing.TB, version string) *fixture {
	t.Helper()
	return newPlatform(t, version, sharedServer(t, version), "tenant_"+strings.ToLower(rand.Text()[:8])+"_")
}

func newPlatform(t testing.TB, version string, pg *pgserver.Server, prefix string) *fixture {
	t.Helper()
	suffix := strings.ToLower(rand.Text()[:8])
	f := &fixture{
		t: t, version: version, pg: pg, database: "platform_" + suffix, prefix: prefix,
		operatorLogin: "operator_" + suffix, operatorPassword: rand.Text(), passwords: map[string]string{},
	}
	f.asRoot("create database " + f.database)
	t.Cleanup(func() { f.drop("database "+f.database+" with (force)", "role "+f.operatorLogin) })
	f.dba = f.connect(f.dbaURL(f.database))
	f.exec(fmt.Sprintf("create role %s login password '%s'", f.operatorLogin, f.operatorPassword))
	f.exec(`create schema management;
		create table management.tenants (id uuid primary key, name text, password_hash text not null, db_role text, db_name text, fly_app text)`)
	require.NoError(t, postgres.Install(t.Context(), f.dbaURL(f.database), f.installation()))
	f.server = f.pool(16)
	return f
}

// in is the same platform for a subtest.
func (f *fixture) in(t testing.TB) *fixture {
	inner := *f
	inner.t = t
	return &inner
}

// pool is a server of its own, with at most so many connections.
func (f *fixture) pool(connections int32) *postgres.Server {
	f.t.Helper()
	server, err := postgres.Connect(f.t.Context(), postgres.Config{URL: credential.SecretOf(f.operatorURL()), MaxConnections: connections})
	require.NoError(f.t, err)
	f.t.Cleanup(server.Close)
	return server
}

// dbaURL is the superuser's, in a database.
func (f *fixture) dbaURL(database string) string {
	return strings.Replace(f.pg.SuperuserURL(), "/postgres?", "/"+database+"?", 1)
}

func (f *fixture) operatorURL() string {
	return f.pg.URL(f.operatorLogin, f.operatorPassword, f.database)
}

func (f *fixture) installation() postgres.Installation {
	return postgres.Installation{OperatorLogin: f.operatorLogin, Settings: postgres.Settings{
		Schema: "management", Table: "tenants", ColumnID: "id", ColumnPasswordHash: "password_hash",
		ColumnRole: "db_role", ColumnDatabase: "db_name", ColumnFlyApp: "fly_app",
		RolePrefix: f.prefix, DatabasePrefix: "site_", FlyAppPrefix: "sp-",
	}}
}

// connect opens a connection that ends with the test.
func (f *fixture) connect(url string) *pgx.Conn {
	f.t.Helper()
	connection, err := pgx.Connect(f.t.Context(), url)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = connection.Close(context.Background()) })
	return connection
}

// operator is a connection with the operator's login, as a thief of it has one.
func (f *fixture) operator() *pgx.Conn {
	f.t.Helper()
	return f.connect(f.operatorURL())
}

// asTenant is a connection with a tenant's login, in the tenant's database.
func (f *fixture) asTenant(login string) *pgx.Conn {
	f.t.Helper()
	return f.connect(f.pg.URL(login, f.passwords[login], f.databaseOf(login)))
}

// databaseOf is the database of the tenant that a login belongs to.
func (f *fixture) databaseOf(login string) string {
	f.t.Helper()
	return one[string](f, "select db_name from management.tenants where coalesce(db_role, $2 || left(id::text, 8)) = $1", strings.TrimSuffix(login, "_b"), f.prefix)
}

// exec runs SQL as the DBA, in the platform's database.
func (f *fixture) exec(sql string, arguments ...any) {
	f.t.Helper()
	_, err := f.dba.Exec(f.t.Context(), sql, arguments...)
	require.NoError(f.t, err)
}

// asRoot runs SQL as the superuser, in the database postgres.
func (f *fixture) asRoot(statements ...string) {
	f.t.Helper()
	root, err := pgx.Connect(f.t.Context(), f.pg.SuperuserURL())
	require.NoError(f.t, err)
	defer func() { _ = root.Close(context.Background()) }()
	for _, sql := range statements {
		_, err := root.Exec(f.t.Context(), sql)
		require.NoError(f.t, err)
	}
}

// asRootIn runs SQL as the superuser, in a database; failures are ignored.
func (f *fixture) asRootIn(database, sql string) {
	root, err := pgx.Connect(context.Background(), f.dbaURL(database))
	if err != nil {
		return
	}
	defer func() { _ = root.Close(context.Background()) }()
	_, _ = root.Exec(context.Background(), sql)
}

// drop removes objects that the servers would otherwise carry to the end of the package; one that an attack has made undroppable stays until then.
func (f *fixture) drop(objects ...string) {
	root, err := pgx.Connect(context.Background(), f.pg.SuperuserURL())
	if err != nil {
		return
	}
	defer func() { _ = root.Close(context.Background()) }()
	for _, object := range objects {
		_, _ = root.Exec(context.Background(), "drop "+object)
	}
}

// one reads one value as the DBA.
func one[T any](f *fixture, sql string, arguments ...any) T {
	f.t.Helper()
	var value T
	require.NoError(f.t, f.dba.QueryRow(f.t.Context(), sql, arguments...).Scan(&value))
	return value
}

// newTenant makes a tenant as the platform does: a role, and a database that belongs to it. It returns ID and role.
func (f *fixture) newTenant() (id, role string) {
	f.t.Helper()
	id = uuid.NewString()
	role, database := f.prefix+id[:8], "site_"+id[:8]
	f.makeTenant(id, role, database)
	f.asRoot("create database "+database+" owner "+role, "revoke connect on database "+database+" from public",
		fmt.Sprintf("grant connect on database %s to %s", database, role))
	return id, role
}

// newTenantHere makes a tenant whose database is the platform's own, which is much cheaper. It returns ID and role.
func (f *fixture) newTenantHere() (id, role string) {
	f.t.Helper()
	id = uuid.NewString()
	role = f.prefix + id[:8]
	f.makeTenant(id, role, f.database)
	return id, role
}

func (f *fixture) makeTenant(id, role, database string) {
	f.t.Helper()
	password := credential.NewPassword()
	verifier := f.verifier(password)
	f.exec(fmt.Sprintf("create role %s login password '%s'", role, verifier))
	if f.version != "15" {
		f.exec(fmt.Sprintf("grant %s to tenant_credentials_owner with admin true, inherit false, set false", role))
	}
	f.exec("insert into management.tenants (id, name, password_hash, db_name) values ($1, 'a tenant', $2, $3)", id, verifier, database)
	f.passwords[role] = password.Reveal()
	f.t.Cleanup(func() { // roles are shared by all databases of the server
		if database != f.database {
			f.drop("database " + database + " with (force)")
		}
		_, _ = f.dba.Exec(context.Background(), "drop owned by "+role+" cascade")
		_, _ = f.dba.Exec(context.Background(), "drop role "+role)
	})
}

// prepareOverlap makes a tenant's second login, as a DBA would.
func (f *fixture) prepareOverlap(role string) {
	f.t.Helper()
	f.exec("select tenant_credentials.prepare_overlap($1)", role)
	f.t.Cleanup(func() {
		_, _ = f.dba.Exec(context.Background(), "drop role "+role+"_b")
	})
}

// adoptedTenant is a new tenant with a database of its own, which the object "uid" holds.
func (f *fixture) adoptedTenant() (id, role string) {
	f.t.Helper()
	id, role = f.newTenant()
	f.adopt(id)
	return id, role
}

// adoptedTenantHere is an adopted tenant whose database is the platform's own.
func (f *fixture) adoptedTenantHere() (id, role string) {
	f.t.Helper()
	id, role = f.newTenantHere()
	f.adopt(id)
	return id, role
}

func (f *fixture) adopt(id string) {
	f.t.Helper()
	_, err := f.server.Adopt(f.t.Context(), postgres.Adoption{TenantID: id, UID: holder, Cluster: "c1", Environment: "sandbox", Namespace: "tenants", Name: "acme"})
	require.NoError(f.t, err)
}

func (f *fixture) verifier(password credential.Secret) string {
	f.t.Helper()
	verifier, err := credential.Verifier(password)
	require.NoError(f.t, err)
	return verifier
}

func (f *fixture) observe(id string) postgres.Tenant {
	f.t.Helper()
	tenants, err := f.server.Observe(f.t.Context(), []string{id})
	require.NoError(f.t, err)
	require.Len(f.t, tenants, 1)
	return tenants[0]
}

// open opens the next rotation of a tenant.
func (f *fixture) open(id string, generation int64) postgres.Rotation {
	f.t.Helper()
	var after int64
	if last := f.observe(id).Last; last != nil {
		after = last.Revision
	}
	r, err := f.server.OpenRotation(f.t.Context(), postgres.Opening{TenantID: id, UID: holder, Generation: generation, Cause: "Generation", StatedManager: "kubectl", After: after})
	require.NoError(f.t, err)
	return r
}

// complete is Server.Complete without its answer.
func (f *fixture) complete(ctx context.Context, id, uid string, revision int64) error {
	_, err := f.server.Complete(ctx, id, uid, revision)
	return err
}

// rotate stages and commits the open revision of a tenant, and returns the password.
func (f *fixture) rotate(id string, revision int64) credential.Secret {
	f.t.Helper()
	password := credential.NewPassword()
	require.NoError(f.t, f.stage(id, revision, f.verifier(password), postgres.SessionsKept))
	f.passwords[f.observe(id).Login] = password.Reveal()
	return password
}

// stage stages and commits a revision with a verifier.
func (f *fixture) stage(id string, revision int64, verifier, policy string) error {
	return f.server.InTransaction(f.t.Context(), id, holder, func(ctx context.Context, tx postgres.Transaction) error {
		if err := tx.Stage(ctx, postgres.Staging{Revision: revision, Verifier: verifier, SessionPolicy: policy, LoginChecked: true}); err != nil {
			return err
		}
		return tx.Commit(ctx, postgres.FlyWrite{})
	})
}

// issue gives the idle login of an open rotation a password, and returns both.
func (f *fixture) issue(id string, revision int64) (login string, password credential.Secret, err error) {
	f.t.Helper()
	password = credential.NewPassword()
	err = f.server.InTransaction(f.t.Context(), id, holder, func(ctx context.Context, tx postgres.Transaction) (failed error) {
		var issued postgres.Issued
		issued, failed = tx.Issue(ctx, revision, f.verifier(password))
		login = issued.Login
		return failed
	})
	if err == nil {
		f.passwords[login] = password.Reveal()
	}
	return login, password, err
}

// serverLog is what the server has logged so far.
func (f *fixture) serverLog() string {
	f.t.Helper()
	log, err := os.ReadFile(f.pg.LogFile)
	require.NoError(f.t, err)
	return string(log)
}

// requireNoVerifier asserts that a text holds neither the keys of a verifier nor the server key alone.
func requireNoVerifier(t testing.TB, text, verifier string) {
	t.Helper()
	_, keys, found := strings.Cut(verifier, ":")
	require.True(t, found)
	require.NotContains(t, text, keys)
	require.NotContains(t, text, keys[len(keys)-44:], "the server key")
}

// requireFailure asserts the class and reason of an error, and that it wraps nothing.
func requireFailure(t testing.TB, err error, class failure.Class, reason failure.Reason) *failure.Error {
	t.Helper()
	require.Error(t, err)
	e := failure.As(err)
	require.NotNil(t, e, "not a classed failure: %v", err)
	require.Equal(t, class, e.Class, e.Error())
	require.Equal(t, reason, e.Reason, e.Error())
	require.NoError(t, errors.Unwrap(err))
	return e
}
