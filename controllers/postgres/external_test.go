package postgres

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// The inside is 127.0.0.1, and the outside every other address.
const (
	inside, outside = "127.0.0.1", "127.0.0.2"
	insideRule      = "host all all 127.0.0.1/32 scram-sha-256\n"
	outsideRule     = "hostssl all +tenant_credentials_external 0.0.0.0/0 scram-sha-256\n"
)

// onEachOpenServer is onEachVersion with servers whose pg_hba.conf lets the group in from outside.
func onEachOpenServer(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) { test(t, newFixtureOn(t, version, openServer(t, version))) })
	}
}

func openServer(t testing.TB, version string) *pgserver.Server {
	t.Helper()
	servers.Lock()
	defer servers.Unlock()
	kind := version + " open"
	if s := servers.running[kind]; s != nil {
		return s
	}
	authority, err := pgserver.NewAuthority()
	require.NoError(t, err)
	certificate, key, err := authority.Issue(inside)
	require.NoError(t, err)
	s, err := pgserver.Start(context.Background(), pgserver.Options{Version: version, Settings: map[string]string{"ssl": "on"},
		Files: map[string]string{"pg_hba.conf": insideRule + outsideRule, "server.crt": certificate, "server.key": key}})
	require.NoError(t, err)
	if servers.running == nil {
		servers.running = map[string]*pgserver.Server{}
	}
	servers.running[kind] = s
	return s
}

// rulesAre writes another pg_hba.conf for the rest of the test. The server has not loaded it.
func (f *fixture) rulesAre(rules string) {
	f.t.Helper()
	path := filepath.Join(f.pg.DataDir(), "pg_hba.conf")
	require.NoError(f.t, os.WriteFile(path, []byte(rules), 0o600))
	f.t.Cleanup(func() { require.NoError(f.t, os.WriteFile(path, []byte(insideRule+outsideRule), 0o600)) })
}

// password gives a login of a tenant a password, as no rotation does.
func (f *fixture) password(login string) string {
	f.t.Helper()
	f.exec("alter role " + login + " login password 'known'")
	return "known"
}

// dial logs in from an address; sslmode is as libpq's.
func (f *fixture) dial(login, from, sslmode string, change func(*pgx.ConnConfig)) (*pgx.Conn, error) {
	f.t.Helper()
	config, err := pgx.ParseConfig(strings.Replace(f.pg.URL(login, "known", f.database), "sslmode=disable", "sslmode="+sslmode, 1))
	require.NoError(f.t, err)
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, network, address)
	}
	if change != nil {
		change(config)
	}
	session, err := pgx.ConnectConfig(context.WithoutCancel(f.t.Context()), config)
	if err == nil {
		f.t.Cleanup(func() { _ = session.Close(context.Background()) })
	}
	return session, err
}

// loginFrom opens a session from an address, from outside with TLS.
func (f *fixture) loginFrom(login, from string) *pgx.Conn {
	f.t.Helper()
	session, err := f.dial(login, from, map[bool]string{true: "disable", false: "require"}[from == inside], nil)
	require.NoError(f.t, err)
	return session
}

// requireShutOut asserts that pg_hba.conf has no rule for an external login.
func (f *fixture) requireShutOut(login, sslmode string) {
	f.t.Helper()
	_, err := f.dial(login, outside, sslmode, nil)
	var refused *pgconn.PgError
	require.ErrorAs(f.t, err, &refused)
	require.Equal(f.t, "28000", refused.Code, refused.Message)
}

func (f *fixture) setExternal(id string, enabled bool) ExternalAccess {
	f.t.Helper()
	access, err := f.server.SetExternalAccess(f.t.Context(), id, "uid", enabled)
	require.NoError(f.t, err)
	require.Equal(f.t, access, f.observe(id).External)
	return access
}

func (f *fixture) sweep(id string) ExternalAccess {
	f.t.Helper()
	access, err := f.server.SweepExternalAccess(f.t.Context(), id, "uid")
	require.NoError(f.t, err)
	require.Equal(f.t, access, f.observe(id).External)
	return access
}

// externalTimePasses has the last sweep look as if it had begun earlier.
func (f *fixture) externalTimePasses(id string, by time.Duration) {
	f.t.Helper()
	f.exec(fmt.Sprintf(`begin; set local session_replication_role = replica;
		update tenant_credentials.external_access set changed_at = changed_at - interval '%d s' where tenant_id = '%s' and change = 'sweeping'; commit`, int(by.Seconds()), id))
}

func (f *fixture) changes(id string) []string {
	f.t.Helper()
	return one[[]string](f, "select coalesce(array_agg(change order by id), '{}') from tenant_credentials.external_access where tenant_id = $1", id)
}

var (
	letIn    = ExternalAccess{Member: true, Noted: true}
	ending   = ExternalAccess{Unswept: true, Noted: true}
	unended  = ExternalAccess{Unended: true, Noted: true}
	shut     = ExternalAccess{Noted: true}
	authTime = 65 * time.Second
)

func TestExternalAccessBeginsAndEnds(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		neighbour, neighbourRole := f.adoptedTenant()
		f.password(role)
		f.password(neighbourRole)
		require.Zero(t, f.observe(id).External)
		f.requireShutOut(role, "require")

		require.Equal(t, letIn, f.setExternal(id, true))
		require.Equal(t, letIn, f.setExternal(id, true))
		f.setExternal(neighbour, true)
		require.Empty(t, f.observe(id).RoleViolation)
		require.Equal(t, []string{"granted"}, f.changes(id))
		fromInside, fromOutside, neighbours := f.loginFrom(role, inside), f.loginFrom(role, outside), f.loginFrom(neighbourRole, outside)
		f.requireShutOut(role, "disable")
		require.Equal(t, letIn, f.sweep(id), "nothing is unswept")
		requireAlive(t, fromOutside)

		require.Equal(t, ending, f.setExternal(id, false))
		f.requireShutOut(role, "require")
		require.Equal(t, ending, f.sweep(id))
		requireEnded(t, fromOutside)
		requireAlive(t, fromInside)
		requireAlive(t, neighbours)
		require.Equal(t, ending, f.setExternal(id, false), "which changes nothing")
		f.externalTimePasses(id, authTime-10*time.Second)
		require.Equal(t, ending, f.sweep(id), "a login may still be in progress")
		f.externalTimePasses(id, 10*time.Second)
		require.Equal(t, shut, f.sweep(id))
		require.Equal(t, []string{"granted", "revoked", "sweeping", "swept"}, f.changes(id))
		require.Equal(t, shut, f.setExternal(id, false))
		require.Len(t, f.changes(id), 4)

		require.Equal(t, letIn, f.setExternal(id, true))
		f.loginFrom(role, outside)
		require.Equal(t, ending, f.setExternal(id, false))
		require.Equal(t, ending, f.sweep(id), "there was a session")
		require.Equal(t, ending, f.sweep(id), "the time of the first end does not count")
		requireAlive(t, neighbours)
		requireAlive(t, fromInside)
	})
}

func TestExternalAccessIsTheHolders(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		for _, enabled := range []bool{true, false} {
			_, err := f.server.SetExternalAccess(t.Context(), id, "stranger", enabled)
			requireFailure(t, err, failure.Stall, reasons.OwnershipConflict)
		}
		_, err := f.server.SweepExternalAccess(t.Context(), id, "stranger")
		requireFailure(t, err, failure.Stall, reasons.OwnershipConflict)
		other, _ := f.newTenant()
		_, err = f.server.SetExternalAccess(t.Context(), other, "uid", true)
		requireFailure(t, err, failure.Retry, reasons.Superseded)
		require.Zero(t, f.observe(id).External)
		f.exec("alter role " + role + " superuser")
		_, err = f.server.SetExternalAccess(t.Context(), id, "uid", true)
		requireFailure(t, err, failure.Stall, reasons.RoleNotAllowed)
		require.Zero(t, f.observe(id).External)
		for _, sql := range []string{"delete from", "update", "truncate"} {
			statement := map[string]string{"update": "update tenant_credentials.external_access set uid = ''"}[sql]
			if statement == "" {
				statement = sql + " tenant_credentials.external_access"
			}
			_, err := f.dba.Exec(t.Context(), statement)
			require.ErrorContains(t, err, "TC004")
		}
	})
}

// pg_hba.conf counts indirect members, so the second login needs no membership of its own, which would keep it from rotations.
func TestSecondLoginIsLetInFromOutside(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		id, role := f.overlapping()
		second := role + "_b"
		f.password(second)
		f.requireShutOut(second, "require")
		f.setExternal(id, true)
		fromInside, fromOutside := f.loginFrom(second, inside), f.loginFrom(second, outside)
		require.Empty(t, f.observe(id).SecondViolation)
		require.Equal(t, "1", one[string](f, "select count(*)::text from pg_auth_members where member = $1::regrole", second))

		f.setExternal(id, false)
		f.requireShutOut(second, "require")
		f.sweep(id)
		requireEnded(t, fromOutside)
		requireAlive(t, fromInside)
		f.exec("alter role " + second + " nologin password null")
		rotation, _ := f.issue(id)
		require.Equal(t, second, rotation.Login)
	})
}

// heldWriter is heldConnection above TLS.
type heldWriter struct {
	io.Writer
	writes         int
	held, released chan struct{}
}

func (w *heldWriter) Write(b []byte) (int, error) {
	if w.writes++; w.writes == 3 {
		close(w.held)
		<-w.released
	}
	return w.Writer.Write(b)
}

// pg_hba.conf has let the login in before the end of the membership, and it succeeds after it.
func TestALoginFromOutsideInProgressIsEndedToo(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		f.password(role)
		f.setExternal(id, true)
		held := &heldWriter{held: make(chan struct{}), released: make(chan struct{})}
		login := make(chan *pgx.Conn, 1)
		go func() {
			session, err := f.dial(role, outside, "require", func(c *pgx.ConnConfig) {
				c.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
					held.Writer = w
					return pgproto3.NewFrontend(r, held)
				}
			})
			if err != nil {
				t.Errorf("the login in progress: %v", err)
			}
			login <- session
		}()
		<-held.held
		f.setExternal(id, false)
		require.Equal(t, ending, f.sweep(id))
		close(held.released)
		session := <-login
		require.NotNil(t, session)
		requireAlive(t, session)
		f.externalTimePasses(id, authTime)
		require.Equal(t, ending, f.sweep(id), "there was a session")
		requireEnded(t, session)
		require.Equal(t, shut, f.sweep(id))
	})
}

func TestExternalAccessThatBeginsAgainOwesNothing(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		f.password(role)
		f.setExternal(id, true)
		session := f.loginFrom(role, outside)
		f.setExternal(id, false)
		require.Equal(t, letIn, f.setExternal(id, true))
		require.Equal(t, letIn, f.sweep(id))
		requireAlive(t, session)
		f.setExternal(id, false)
		f.sweep(id)
		requireEnded(t, session)
	})
}

// The platform gives the tenant another role, in a column of the management table.
func TestExternalAccessOfAPreviousRoleEnds(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		id, former := f.adoptedTenant()
		_, present := f.newTenant()
		f.password(former)
		f.password(present)
		f.setExternal(id, true)
		formers := f.loginFrom(former, outside)

		f.exec("update management.tenants set db_role = $2 where id = $1", id, present)
		require.Equal(t, unended, f.observe(id).External)
		require.Equal(t, ExternalAccess{Member: true, Unswept: true, Noted: true}, f.setExternal(id, true))
		f.requireShutOut(former, "require")
		presents := f.loginFrom(present, outside)
		require.True(t, f.sweep(id).Unswept)
		requireEnded(t, formers)
		requireAlive(t, presents)
		f.externalTimePasses(id, authTime)
		require.Equal(t, letIn, f.sweep(id))

		f.exec("alter role " + present + " rename to " + present + "_renamed")
		defer f.exec("alter role " + present + "_renamed rename to " + present)
		f.exec("update management.tenants set db_role = $2 where id = $1", id, former)
		require.Equal(t, ending, f.setExternal(id, false), "known by its OID")
		require.Equal(t, ending, f.sweep(id))
		requireEnded(t, presents)
	})
}

// Nothing that is missing, or not allowed, keeps an access from being ended.
func TestExternalAccessEndsWhateverIsMissing(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		f.password(role)
		f.setExternal(id, true)
		session := f.loginFrom(role, outside)
		f.exec("alter role " + role + " createdb; delete from management.tenants where id = '" + id + "'")
		require.Equal(t, ending, f.setExternal(id, false))
		f.sweep(id)
		requireEnded(t, session)

		id, role = f.adoptedTenant()
		f.password(role)
		f.setExternal(id, true)
		session = f.loginFrom(role, outside)
		f.exec("drop role " + role)
		require.Equal(t, ending, f.setExternal(id, false))
		f.sweep(id)
		requireEnded(t, session)
		f.externalTimePasses(id, authTime)
		require.Equal(t, shut, f.sweep(id))
	})
}

func TestExternalAccessThatOthersHaveChanged(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		f.password(role)
		f.setExternal(id, true)
		session := f.loginFrom(role, outside)
		revoke := "revoke tenant_credentials_external from " + role
		if f.version != "15" {
			revoke += " granted by tenant_credentials_owner"
		}
		f.exec(revoke)
		require.Equal(t, unended, f.observe(id).External)
		require.Equal(t, unended, f.sweep(id), "set comes first")
		requireAlive(t, session)
		f.setExternal(id, false)
		f.sweep(id)
		requireEnded(t, session)

		id, role = f.adoptedTenant()
		f.exec("grant tenant_credentials_external to " + role)
		require.Equal(t, ExternalAccess{Member: true}, f.observe(id).External)
		require.Empty(t, f.observe(id).RoleViolation)
		access, err := f.server.SetExternalAccess(t.Context(), id, "uid", false)
		if f.version != "15" { // CREATEROLE does not reach a grant of another role's
			e := requireFailure(t, err, failure.Stall, reasons.RoleNotAllowed)
			require.Equal(t, "Role "+role+" is a member of tenant_credentials_external by a grant of another role, so that it has external access: REVOKE tenant_credentials_external FROM "+
				role+" GRANTED BY postgres", e.Detail)
			f.exec(e.Detail[strings.LastIndex(e.Detail, ": ")+2:])
			require.Zero(t, f.observe(id).External)
		} else {
			require.NoError(t, err)
			require.Equal(t, ending, access)
		}

		group := "group_" + role[len(f.prefix):]
		f.exec("create role " + group + "; grant tenant_credentials_external to " + group + "; grant " + group + " to " + role)
		defer f.exec("drop role " + group)
		_, err = f.server.SetExternalAccess(t.Context(), id, "uid", false)
		e := requireFailure(t, err, failure.Stall, reasons.RoleNotAllowed)
		require.Contains(t, e.Detail, "REVOKE "+group+" FROM "+role)
		f.exec(e.Detail[strings.LastIndex(e.Detail, ": ")+2:])
		require.False(t, f.setExternal(id, false).Member)
	})
}

func TestGuardKnowsTheGroup(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		f.exec("grant tenant_credentials_external to " + role + " with admin option")
		violation := f.observe(id).RoleViolation
		require.Equal(t, "Role "+role+" is a member of tenant_credentials_external, which it may give to other roles: REVOKE tenant_credentials_external FROM "+role, violation)
		f.exec(violation[strings.LastIndex(violation, ": ")+2:])
		require.Empty(t, f.observe(id).RoleViolation)

		f.setExternal(id, true)
		f.exec("grant pg_read_all_data to tenant_credentials_external")
		require.Contains(t, f.observe(id).RoleViolation, "is a member of pg_read_all_data")
		f.exec("revoke pg_read_all_data from tenant_credentials_external")
		require.Empty(t, f.observe(id).RoleViolation)
	})
}

// From 16 on the membership is good for pg_hba.conf alone.
func TestMembershipGivesNothingElse(t *testing.T) {
	f := newFixtureOn(t, "18", openServer(t, "18"))
	id, role := f.adoptedTenant()
	f.password(role)
	f.setExternal(id, true)
	session := f.loginFrom(role, outside)
	for _, sql := range []string{"set role tenant_credentials_external", "grant tenant_credentials_external to " + f.operator} {
		_, err := session.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "permission denied", sql)
	}
	f.exec("revoke tenant_credentials_external from tenant_credentials_owner cascade")
	require.Equal(t, unended, f.observe(id).External)
	_, err := f.server.SetExternalAccess(t.Context(), id, "uid", true)
	requireFailure(t, err, failure.Retry, reasons.PermissionDenied)
	require.NoError(t, Install(t.Context(), f.dbaURL(), f.installation()))
	require.True(t, one[bool](f, "select admin_option and not inherit_option and not set_option from pg_auth_members where roleid = 'tenant_credentials_external'::regrole and member = 'tenant_credentials_owner'::regrole"))
	require.Equal(t, letIn, f.setExternal(id, true))
}
