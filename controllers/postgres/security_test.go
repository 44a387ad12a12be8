package postgres

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

func TestOperatorMayExecuteAndNothingElse(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		operator, err := pgx.Connect(t.Context(), f.operatorURL())
		require.NoError(t, err)
		defer func() { _ = operator.Close(context.Background()) }()
		for _, sql := range []string{
			"select from tenant_credentials.rotations",
			"select from tenant_credentials.claims",
			"select from tenant_credentials.settings",
			"select from tenant_credentials.adoptions",
			"select from tenant_credentials.goose_db_version",
			"update tenant_credentials.claims set uid = 'mine'",
			"insert into tenant_credentials.transitions values ('open', 'completed')",
			"select from management.tenants",
			"select rolpassword from pg_authid",
			"alter role " + role + " password 'mine'",
			"set role " + role,
			"set role tenant_credentials_owner",
			"set role tenant_credentials_hash",
			"create table tenant_credentials.mine ()",
			"select tenant_credentials.set_verifier('" + role + "', 'mine')",
			"select tenant_credentials.write_managed('" + id + "', 'mine')",
			"select tenant_credentials.read_managed('{" + id + "}')",
			"select tenant_credentials.hold('" + id + "', 'uid')",
			"select tenant_credentials.put_claim(null, true)",
			"select tenant_credentials.configure('', '', '', '', '', '', '', '', '', '', '', '', '')",
			fmt.Sprintf("select pg_terminate_backend(%d)", one[int](f, "select pg_backend_pid()")), // the DBA's
		} {
			_, err := operator.Exec(t.Context(), sql)
			var answer *pgconn.PgError
			require.ErrorAs(t, err, &answer, sql)
			require.Equal(t, "42501", answer.Code, "%s: %s", sql, answer.Message)
		}
	})
}

func TestEveryFunctionIsSealed(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		require.Equal(t, "carry_over, configure, prepare_overlap, require_no_problem, require_ordinary, setting_literal, worded", one[string](f, `select string_agg(p.proname, ', ' order by p.proname) from pg_proc p
			where p.pronamespace = 'tenant_credentials'::regnamespace
			  and (not p.prosecdef or p.proconfig is distinct from '{"search_path=pg_catalog, tenant_credentials, pg_temp"}')`),
			"only what the DBA calls runs with the caller's rights")
		require.Zero(t, one[int](f, `select count(*) from pg_proc p
			where p.pronamespace = 'tenant_credentials'::regnamespace and has_function_privilege('public', p.oid, 'EXECUTE')`))
		require.Equal(t, "lock_managed, owner_is, read_managed, try_managed, write_managed", one[string](f, `select string_agg(p.proname, ', ' order by p.proname) from pg_proc p
			where p.proowner = 'tenant_credentials_hash'::regrole`))
		require.False(t, one[bool](f, `select has_schema_privilege('tenant_credentials_hash', 'tenant_credentials', 'CREATE')
			or has_table_privilege('tenant_credentials_hash', 'management.tenants', 'INSERT, UPDATE, DELETE, TRUNCATE')
			or has_column_privilege('tenant_credentials_hash', 'management.tenants', 'name', 'UPDATE')
			or has_table_privilege('tenant_credentials_hash', 'tenant_credentials.claims', 'SELECT')`))
	})
}

func TestLedgerRowsStay(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.open(id, 1)
		for _, sql := range []string{
			"delete from tenant_credentials.rotations", "truncate tenant_credentials.rotations",
			"delete from tenant_credentials.claims", "truncate tenant_credentials.claims",
			"delete from tenant_credentials.adoptions", "update tenant_credentials.adoptions set uid = 'x'",
		} {
			_, err := f.dba.Exec(t.Context(), sql)
			var answer *pgconn.PgError
			require.ErrorAs(t, err, &answer, sql)
			require.Equal(t, "TC004", answer.Code, sql)
		}
		_, err := f.dba.Exec(t.Context(), "update tenant_credentials.rotations set cause = 'another', state = 'discarded'")
		require.ErrorContains(t, err, "TC002")
	})
}

// tricks are what the author of a trigger on the management table might try, to get at the rights of the ledger's owner.
var tricks = []struct{ name, body string }{
	{"ALTER ROLE", "alter role ATTACKER createrole"},
	{"GRANT", "grant tenant_credentials_owner to ATTACKER"},
	{"SET ROLE", "set role tenant_credentials_owner"},
	{"change the function that fires it", "alter function tenant_credentials.write_managed(uuid, text) security invoker set search_path = evil, pg_catalog"},
	{"change the function that reads", "alter function tenant_credentials.read_managed(uuid[]) security invoker set search_path = evil, pg_catalog"},
	{"replace a function", "create or replace function tenant_credentials.guard(text, text) returns void language sql as ''"},
	{"bring in operators and types", "perform set_config('search_path', 'evil, pg_catalog, tenant_credentials', false)"},
	{"wait for COMMIT", "set constraints all deferred; insert into evil.later values (1)"},
}

func TestTriggerOnTheManagementTableGetsNoRights(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		attacker := "attacker_" + f.database
		f.exec("create role " + attacker)
		f.exec(strings.ReplaceAll(`
			create schema evil authorization ATTACKER;
			alter schema management owner to ATTACKER;
			alter table management.tenants owner to ATTACKER;
			set role ATTACKER;
			grant usage on schema evil to public;
			create sequence evil.runs; -- what a sequence has counted is not rolled back
			create sequence evil.powerful_runs;
			create table evil.later (i integer);
			grant insert on evil.later to public;
			grant usage on sequence evil.runs, evil.powerful_runs to public;
			create function evil.note() returns boolean language plpgsql as $$
			begin
			  perform nextval('evil.runs');
			  if (select r.rolcreaterole or r.rolsuper from pg_roles r where r.rolname operator(pg_catalog.=) current_user) then
			    perform nextval('evil.powerful_runs');
			  end if;
			  return true;
			end $$;
			create domain evil.text as pg_catalog.text check (evil.note());
			create domain evil.bytea as pg_catalog.bytea check (evil.note());
			create function evil.same(pg_catalog.text, pg_catalog.text) returns boolean language sql as 'select evil.note()';
			create operator evil.= (leftarg = pg_catalog.text, rightarg = pg_catalog.text, function = evil.same);
			create operator evil.<> (leftarg = pg_catalog.text, rightarg = pg_catalog.text, function = evil.same);
			create function evil.same(uuid, uuid) returns boolean language sql as 'select evil.note()';
			create operator evil.= (leftarg = uuid, rightarg = uuid, function = evil.same);
			create function evil.format(pg_catalog.text, pg_catalog.text) returns pg_catalog.text language sql as 'select evil.note()::pg_catalog.text';
			create function evil.noted() returns trigger language plpgsql as $$ begin perform evil.note(); return null; end $$;
			create constraint trigger late after insert on evil.later deferrable initially deferred for each row execute function evil.noted();
			reset role`, "ATTACKER", attacker))
		t.Cleanup(func() {
			_, _ = f.dba.Exec(context.Background(), "drop owned by "+attacker+" cascade")
			_, _ = f.dba.Exec(context.Background(), "drop role "+attacker)
		})
		for _, trick := range tricks {
			t.Run(trick.name, func(t *testing.T) {
				id, _ := f.adoptedTenant()
				f.exec(fmt.Sprintf(`create or replace function evil.fire() returns trigger language plpgsql as $$
					begin
					  perform evil.note();
					  begin
					    %s;
					  exception when others then null;
					  end;
					  return new;
					end $$`, strings.ReplaceAll(trick.body, "ATTACKER", attacker)))
				f.exec("create or replace trigger fire before update on management.tenants for each row execute function evil.fire()")
				for range 2 { // the second time could use the first one's changes
					_ = f.rotateOnce(id)
				}
				require.True(t, one[bool](f, "select is_called from evil.runs"), "the trigger has run")
				require.False(t, one[bool](f, "select is_called from evil.powerful_runs"), "with the owner's rights")
				require.False(t, one[bool](f, "select rolcreaterole or rolsuper or pg_has_role(oid, 'tenant_credentials_owner', 'MEMBER') from pg_roles where rolname = $1", attacker))
				f.exec("drop trigger fire on management.tenants; alter sequence evil.runs restart; alter sequence evil.powerful_runs restart")
				f.reseal()
			})
		}
	})
}

// rotateOnce tries a whole rotation; the trigger may make it fail.
func (f *fixture) rotateOnce(id string) error {
	opened, err := f.server.OpenRotation(f.t.Context(), Opening{TenantID: id, UID: "uid", Cause: "Generation", StatedManager: "test"})
	if err != nil {
		return err
	}
	return f.server.InTransaction(f.t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
		if err := tx.Stage(ctx, Staging{Revision: opened.Revision, Verifier: f.verifier(credential.NewPassword()), LoginChecked: true}); err != nil {
			return err
		}
		return tx.Commit(ctx, FlyWrite{})
	})
}

// reseal undoes what a trick did to the functions.
func (f *fixture) reseal() {
	f.t.Helper()
	for _, function := range []string{"write_managed(uuid, text)", "read_managed(uuid[])"} {
		f.exec("alter function tenant_credentials." + function + " security definer set search_path = pg_catalog, tenant_credentials, pg_temp")
	}
}

func TestVerifierStaysOutOfLogsAndErrors(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		f.exec("create extension pg_stat_statements")
		f.exec("alter role " + f.operator + " set log_statement = 'all'")
		f.exec("alter role " + f.operator + " set log_min_duration_statement = 0")
		id, role := f.adoptedTenant()
		var verifiers []string
		stage := func() error {
			verifier := f.verifier(credential.NewPassword())
			verifiers = append(verifiers, verifier)
			f.open(id, 1)
			return f.server.InTransaction(t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
				if err := tx.Stage(ctx, Staging{Revision: tx.Tenant().Open.Revision, Verifier: verifier, LoginChecked: true}); err != nil {
					return err
				}
				return tx.Commit(ctx, FlyWrite{})
			})
		}

		require.NoError(t, stage(), "a rotation that succeeds")

		f.exec("alter table management.tenants add constraint short check (length(password_hash) < 5) not valid")
		err := stage()
		e := requireFailure(t, err, failure.Retry, reasons.Rejected)
		require.Contains(t, e.Detail, "23514")
		requireNone(t, e.Error(), verifiers)
		f.exec("alter table management.tenants drop constraint short")

		tx, err := f.dba.Begin(t.Context()) // not the tenant's own session, so that it is not ended
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "alter role "+role+" connection limit 5")
		require.NoError(t, err)
		e = requireFailure(t, stage(), failure.Unknown, reasons.Busy)
		requireNone(t, e.Error(), verifiers)
		require.NoError(t, tx.Rollback(t.Context()))

		if f.version != "15" { // ALTER ROLE itself fails: 16 and later refuse a verifier of more than 512 bytes
			tooLong := strings.Replace(verifiers[0], ":", ":"+strings.Repeat("QUJD", 200), 1) // a longer salt
			verifiers = append(verifiers, tooLong)
			tx, err := f.dba.Begin(t.Context())
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), "select tenant_credentials.begin_change()")
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), "select tenant_credentials.set_verifier($1, $2)", role, tooLong)
			require.ErrorContains(t, err, "ALTER ROLE failed")
			require.NoError(t, tx.Rollback(t.Context()))
		}

		f.prepareOverlap(role)
		require.NoError(t, f.complete(t.Context(), id, "uid", 1))
		verifiers = append(verifiers, f.verifier(credential.NewPassword()))
		require.NoError(t, f.server.InTransaction(t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
			_, err := tx.Issue(ctx, tx.Tenant().Open.Revision, verifiers[len(verifiers)-1])
			return err
		}))

		log, err := os.ReadFile(f.pg.LogFile)
		require.NoError(t, err)
		require.Contains(t, string(log), "still waiting for", "the log has the wait")
		require.Contains(t, string(log), "tenant_credentials.stage(", "the log has the statement")
		require.Contains(t, string(log), "tenant_credentials.issue(", "the log has the statement")
		requireNone(t, string(log), verifiers)
		requireNone(t, one[string](f, "select string_agg(query, ' ') from pg_stat_statements"), verifiers)
	})
}

func requireNone(t *testing.T, text string, verifiers []string) {
	t.Helper()
	for _, verifier := range verifiers {
		_, keys, found := strings.Cut(verifier, ":")
		require.True(t, found)
		require.NotContains(t, text, keys)
		require.NotContains(t, text, keys[len(keys)-44:], "the server key")
	}
}

func TestPasswordInAURLIsNotRepeated(t *testing.T) {
	for _, url := range []string{
		"postgres://operator:hunter2%zz@db/platform", "postgres://operator:hunter2@db:port/platform", "host=db password=hunter2",
		"mysql://operator:hunter2@db", "postgres://operator:hunter2@db/platform?sslmode=hunter2", "",
	} {
		_, err := Connect(t.Context(), Config{URL: credential.SecretOf(url)})
		e := requireFailure(t, err, failure.Stall, reasons.AuthenticationFailed)
		require.NotContains(t, e.Error(), "hunter2")
	}
}

func TestConnectionDefaults(t *testing.T) {
	s, err := Connect(t.Context(), Config{URL: credential.SecretOf("postgres://operator:p@db.example/platform?default_query_exec_mode=simple_protocol"), MaxConnections: 3})
	require.NoError(t, err)
	defer s.Close()
	config := s.pool.Config()
	require.Equal(t, int32(3), config.MaxConns)
	require.Equal(t, "db.example", config.ConnConfig.TLSConfig.ServerName, "verify-full")
	require.False(t, config.ConnConfig.TLSConfig.InsecureSkipVerify)
	require.Equal(t, "scram-sha-256", config.ConnConfig.RequireAuth)
	require.Equal(t, pgx.QueryExecModeExec, config.ConnConfig.DefaultQueryExecMode)
	require.Equal(t, "tenant-credential-operator", config.ConnConfig.RuntimeParams["application_name"])
}
