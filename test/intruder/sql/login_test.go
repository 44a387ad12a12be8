package sql

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// loginAttack is what a tenant does in its own database, and with its own logins, before the operator checks a login. <role> and <database>
// stand for the tenant's, <self> for the login of a session.
type loginAttack struct {
	name string
	// tenant is what the tenant's role does, each what each login does, and dba what a superuser has been talked into.
	tenant, each, dba []string
	// reason of the failure; "" = the login is proved all the same.
	reason failure.Reason
	// says is what the failure's detail has.
	says []string
	// second: the tenant's role itself cannot be attacked in this way, its second login can.
	second bool
	// only is the version that knows the setting; "" = both. sparing is the one that the attack does not reach.
	only, sparing string
	// either: it depends on the moment whether the login fails. The reason counts if it does.
	either bool
}

const createEvil = "create schema evil"

// shadowing puts the tenant's own schema before pg_catalog, in every session of the tenant's.
func shadowing(name, sql string) loginAttack {
	return loginAttack{name: name, tenant: []string{createEvil, sql}, each: []string{"alter role <self> set search_path = evil, pg_catalog"}}
}

var objectAttacks = []loginAttack{
	shadowing("pg_is_in_recovery returns a gigabyte",
		`create function evil.pg_is_in_recovery() returns setof text language sql as $$ select repeat('x', 1000000) from generate_series(1, 1000) $$`),
	shadowing("pg_is_in_recovery returns one row of 100 MB",
		`create function evil.pg_is_in_recovery() returns text language sql as $$ select repeat('x', 100000000) $$`),
	shadowing("pg_is_in_recovery says true",
		`create function evil.pg_is_in_recovery() returns boolean language sql as 'select true'`),
	shadowing("pg_is_in_recovery never returns",
		`create function evil.pg_is_in_recovery() returns boolean language plpgsql as $$ begin perform pg_sleep(3600); return false; end $$`),
	shadowing("pg_is_in_recovery raises the error of a wrong password",
		`create function evil.pg_is_in_recovery() returns boolean language plpgsql as $$ begin raise exception using errcode = '28P01'; end $$`),
	shadowing("pg_is_in_recovery raises a million notices",
		`create function evil.pg_is_in_recovery() returns boolean language plpgsql as $$ begin for i in 1..1000000 loop raise notice '%', repeat('x', 1000); end loop; return false; end $$`),
	shadowing("pg_is_in_recovery returns no row", // the driver's own check took the first one for granted
		`create function evil.pg_is_in_recovery() returns setof boolean language sql as 'select true where false'`),
	shadowing("pg_is_in_recovery ends its own session",
		`create function evil.pg_is_in_recovery() returns boolean language sql as 'select pg_terminate_backend(pg_backend_pid())'`),
	{
		name: "pg_is_in_recovery in a schema that is named as the tenant",
		tenant: []string{
			"create schema <role>", "create schema <role>_b",
			"create function <role>.pg_is_in_recovery() returns boolean language sql as 'select true'",
			"create function <role>_b.pg_is_in_recovery() returns boolean language sql as 'select true'",
		},
		each: []string{`alter role <self> set search_path = "$user", pg_catalog`},
	},
	{
		name: "pg_is_in_recovery by a setting of the database",
		tenant: []string{
			createEvil, "create function evil.pg_is_in_recovery() returns boolean language sql as 'select true'",
			"alter database <database> set search_path = evil, pg_catalog",
		},
	},
	shadowing("a function named current_user",
		`create function evil."current_user"() returns name language sql as $$ select 'another'::name $$`),
	shadowing("a table with a column named current_user",
		`create table evil."current_user" ("current_user" text default 'another')`),
	shadowing("a type named name, whose text is 100 MB",
		`create type evil.name as (x int); create function evil.text(evil.name) returns text language sql as $$ select repeat('x', 100000000) $$; create cast (evil.name as text) with function evil.text(evil.name)`),
	shadowing("an operator that finds every name equal",
		`create function evil.always(pg_catalog.name, pg_catalog.name) returns boolean language sql as 'select true'; create operator evil.= (leftarg = pg_catalog.name, rightarg = pg_catalog.name, function = evil.always)`),
	shadowing("set_config and current_setting return 100 MB",
		`create function evil.current_setting(text) returns text language sql as $$ select repeat('x', 100000000) $$; create function evil.set_config(text, text, boolean) returns text language sql as $$ select repeat('x', 100000000) $$`),
}

// A tenant owns its database, and may put anything there. Nothing of it is met by what the login check sends.
func TestIntruderTenantsObjectsAtTheLoginCheck(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) { attackLogins(t, f, objectAttacks) })
}

// attackLogins carries out every attack against both logins of a tenant, and undoes it.
func attackLogins(t *testing.T, f *fixture, attacks []loginAttack) {
	id, role := f.adoptedTenant()
	f.prepareOverlap(role)
	second, _, err := f.issue(id, f.open(id, 1).Revision)
	require.NoError(t, err)
	for _, attack := range attacks {
		if attack.only != "" && attack.only != f.version {
			continue
		}
		t.Run(attack.name, func(t *testing.T) {
			f := f.in(t)
			t.Cleanup(func() { f.undo(role, second) })
			f.carryOut(attack, role, second)
			for _, login := range []string{role, second} {
				if attack.second && login == role {
					continue
				}
				err := f.verifyLogin(id, login, role)
				if attack.reason == "" || attack.sparing == f.version || attack.either && err == nil {
					require.NoError(t, err, login)
					continue
				}
				refused := requireFailure(t, err, failure.Retry, attack.reason)
				for _, says := range attack.says {
					require.Contains(t, refused.Detail, f.named(says, role))
				}
				require.Less(t, len(refused.Detail), 1000)
			}
		})
	}
}

// undo takes away what an attack has left, so that the next one needs no database of its own.
func (f *fixture) undo(role, second string) {
	f.t.Helper()
	ctx := context.Background() // the test's own has ended
	database := "site_" + strings.TrimPrefix(role, f.prefix)
	for _, sql := range []string{
		"alter database " + database + " reset all",
		"alter role " + role + " reset all", "alter role " + second + " reset all", "alter role " + second + " set role to " + role,
	} {
		_, err := f.dba.Exec(ctx, sql)
		require.NoError(f.t, err, sql)
	}
	dba, err := pgx.Connect(ctx, f.dbaURL(database))
	require.NoError(f.t, err)
	defer func() { _ = dba.Close(ctx) }()
	_, err = dba.Exec(ctx, "drop schema if exists evil, "+role+", "+second+" cascade")
	require.NoError(f.t, err)
}

func (f *fixture) carryOut(attack loginAttack, role, second string) {
	f.t.Helper()
	sessions := map[string]func(string){}
	for _, login := range []string{role, second} {
		session := f.asTenant(login)
		sessions[login] = func(sql string) {
			_, err := session.Exec(f.t.Context(), f.named(strings.ReplaceAll(sql, "<self>", login), role))
			require.NoError(f.t, err, sql)
		}
	}
	for _, sql := range attack.tenant {
		sessions[role](sql)
	}
	sessions[second]("set role none") // its settings are its own, not its role's
	for _, sql := range attack.each {
		sessions[role](sql)
		sessions[second](sql)
	}
	for _, sql := range attack.dba {
		f.exec(f.named(sql, role))
	}
}

// named puts a tenant's names into SQL or a message.
func (f *fixture) named(text, role string) string {
	return strings.NewReplacer("<role>", role, "<database>", f.databaseOf(role)).Replace(text)
}

// verifyLogin is the operator's check of a login with the password that it has. It may not take much more memory than a check in health does,
// for any answer.
func (f *fixture) verifyLogin(id, login, role string) error {
	f.t.Helper()
	l := postgres.Login{TenantID: id, UID: holder, Name: login, Role: role, Database: f.databaseOf(role), Password: credential.SecretOf(f.passwords[login])}
	var err error
	requireFrugal(f.t, 32<<20, func() { err = f.server.VerifyLogin(f.t.Context(), l) })
	return err
}

// requireFrugal asserts that during a call less than so many bytes are allocated in all, which is more than are ever in use at a time.
func requireFrugal(t testing.TB, most uint64, call func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, most)
}
