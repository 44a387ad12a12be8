package sql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// tenantSettings are what a session of the tenant writes into its own role, with {R} for the role, and whether the second login gets them; those that it
// does not get are named.
var tenantSettings = []struct {
	name      string
	sql       []string
	isLeftOut string
}{
	{"an empty search_path", []string{"select set_config('search_path', '', false)", "alter role {R} set search_path from current"}, ""},
	{"an empty list", []string{"alter role {R} set temp_tablespaces to ''"}, ""},
	{"a search_path of commas and quotes", []string{`alter role {R} set search_path to 'a,b', '"', '''', ' c ', '', E'\\', '$user'`}, ""},
	{"session_authorization", []string{"alter role {R} set session_authorization to '{R}'"}, ""},
	{"role", []string{"alter role {R} set role to none"}, ""},
	{"a library", []string{"alter role {R} set local_preload_libraries to 'nope', ''"}, ""},
	{"a value of quotes and backslashes", []string{`alter role {R} set application_name to E'a''b\\c"d$$e'`}, ""},
	{"a value of a hundred kilobytes", []string{"select set_config('search_path', repeat('x,', 50000) || 'x', false)", "alter role {R} set search_path from current"}, "search_path"},
	{"every setting there is", []string{`do $$ declare n text; begin for n in select name from pg_settings where context = 'user' order by name desc loop
		begin execute format('alter role {R} set %I from current', n); exception when others then null; end; end loop; end $$`}, "="},
	{"a setting in one database", []string{"alter role {R} in database {D} set statement_timeout to '1s'"}, ""},
}

// No setting that a session of the tenant can write keeps the second login from its password, and none keeps it from being closed.
func TestIntruderSettingsOfATenantWithTwoLogins(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		for _, setting := range tenantSettings {
			t.Run(setting.name, func(t *testing.T) {
				f := f.in(t)
				id, role := f.adoptedTenantHere()
				f.prepareOverlap(role)
				session := f.asTenant(role)
				for _, sql := range setting.sql {
					_, err := session.Exec(t.Context(), strings.NewReplacer("{R}", role, "{D}", f.database).Replace(sql))
					require.NoError(t, err)
				}
				_ = session.Close(t.Context())
				f.exec("select tenant_credentials.prepare_overlap($1)", role)
				_, _, err := f.issue(id, f.open(id, 1).Revision)
				require.NoError(t, err)
				missing := one[[]string](f, `select coalesce(array_agg(c order by c), '{}') from (
					select unnest(setconfig) c from pg_db_role_setting where setrole = $1::text::regrole
					except select unnest(setconfig) from pg_db_role_setting where setrole = $2::text::regrole) x
					where c !~ '^(role|session_authorization)=' and c <> 'search_path='`, role, role+"_b")
				if setting.isLeftOut == "" {
					require.Empty(t, missing)
				} else {
					require.NotEmpty(t, missing)
					require.Contains(t, missing[0], setting.isLeftOut)
				}
			})
		}
	})
}

// A session that has done away with what makes its login the second one of the role stops a rotation with two logins, with the command that
// restores it; it does not stop one after a compromise, which needs no second login.
func TestIntruderSecondLoginUnmade(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenantHere()
		f.prepareOverlap(role)
		login := f.overlap(id)
		session := f.asTenant(login)
		for _, sql := range []string{"set role none", "alter role " + login + " reset all"} {
			_, err := session.Exec(t.Context(), sql)
			require.NoError(t, err)
		}
		revision := f.open(id, 2).Revision
		_, _, err := f.issue(id, revision)
		require.Contains(t, requireFailure(t, err, failure.Stall, reasons.RoleNotAllowed).Detail, "SELECT tenant_credentials.prepare_overlap('"+role+"')")

		f.closeLogins(id, revision)
		_, err = session.Exec(t.Context(), "select")
		require.Error(t, err, "the session is ended")
		require.NoError(t, f.stage(id, revision, f.verifier(credential.NewPassword()), postgres.SessionsCompromised))
		require.NoError(t, f.complete(t.Context(), id, holder, revision))
	})
}

// A session that holds the row of its own login, in a transaction that it does not end, keeps that login neither from its password nor from being
// closed.
func TestIntruderRowOfItsOwnLoginHeld(t *testing.T) {
	for _, step := range []struct {
		name string
		act  func(f *fixture, id string, revision int64) error
	}{
		{"stage", func(f *fixture, id string, revision int64) error {
			return f.stage(id, revision, f.verifier(credential.NewPassword()), postgres.SessionsKept)
		}},
		{"close", func(f *fixture, id string, revision int64) error { f.closeOnce(id, revision); return nil }},
		{"discard", func(f *fixture, id string, revision int64) error {
			return f.server.Discard(f.t.Context(), id, holder, revision)
		}},
	} {
		t.Run(step.name, func(t *testing.T) {
			onEachVersion(t, func(t *testing.T, f *fixture) {
				id, role := f.adoptedTenantHere()
				f.prepareOverlap(role)
				revision := f.open(id, 1).Revision
				holding := role
				if step.name == "discard" {
					holding, _, _ = f.issue(id, revision)
				}
				session := f.asTenant(holding)
				_, err := session.Exec(t.Context(), "set role none; begin; alter role "+holding+" password 'held'")
				require.NoError(t, err)
				require.NoError(t, step.act(f, id, revision))
				_, err = session.Exec(t.Context(), "select")
				require.Error(t, err, "the session is ended")
			})
		})
	}
	t.Run("retire", func(t *testing.T) {
		onEachVersion(t, func(t *testing.T, f *fixture) {
			id, role := f.adoptedTenantHere()
			f.prepareOverlap(role)
			former := f.overlap(id)
			revision := f.open(id, 2).Revision
			login, _, err := f.issue(id, revision)
			require.NoError(t, err)
			require.NoError(t, f.stage(id, revision, one[string](f, "select rolpassword from pg_authid where rolname = $1", login), postgres.SessionsKept))
			require.NoError(t, f.server.Rolled(t.Context(), id, holder, revision))
			session := f.asTenant(former)
			_, err = session.Exec(t.Context(), "set role none; begin; alter role "+former+" password 'held'")
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				done, err := f.server.Retire(t.Context(), id, holder, revision, postgres.Retirement{EndSessions: true})
				return err == nil && done
			}, 30*time.Second, 20*time.Millisecond)
			require.NoError(t, f.complete(t.Context(), id, holder, revision))
		})
	})
}

// A prepared transaction has no session that could be ended: the message names it, and the command that ends it.
func TestIntruderPreparedTransaction(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenantHere()
		session := f.asTenant(role)
		gid := "evil " + role + " \x1b[31m"
		_, err := session.Exec(t.Context(), "begin; alter role "+role+" password 'prepared'; prepare transaction '"+gid+"'")
		require.NoError(t, err)
		t.Cleanup(func() { f.asRootIn(f.database, "rollback prepared '"+gid+"'") })
		revision := f.open(id, 1).Revision
		err = f.stage(id, revision, f.verifier(credential.NewPassword()), postgres.SessionsKept)
		detail := requireFailure(t, err, failure.Wait, reasons.Busy).Detail
		require.Equal(t, fmt.Sprintf("Role %s is locked, and %[1]s has the prepared transaction 'evil %[1]s ?[31m' in database %[2]s, which holds its locks until it is ended: ROLLBACK PREPARED 'evil %[1]s ?[31m'", role, f.database), detail)
	})
}

// A tenant cannot make another one, or the operator, a member of its role, which the guard would refuse from then on.
func TestIntruderMembershipGivenAway(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		_, thiefRole := f.adoptedTenantHere()
		victimID, victimRole := f.adoptedTenantHere()
		session := f.asTenant(thiefRole)
		for _, member := range []string{victimRole, f.operatorLogin, "tenant_credentials_owner"} {
			_, err := session.Exec(t.Context(), "grant "+thiefRole+" to "+member)
			require.Regexp(t, "must have admin option|permission denied to grant role", err)
		}
		require.Empty(t, f.observe(victimID).RoleViolation)
	})
}
