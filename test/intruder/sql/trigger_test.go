package sql

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// intrusion is what code on the management table tries wherever it gets to run. It reports by the server's log, the only thing that a
// rolled-back or read-only transaction leaves.
const intrusion = `
create schema evil;
grant usage on schema evil to public;
create table evil.later (i integer);
grant all on evil.later to public;
create table evil.victim (id uuid, role text);
grant select on evil.victim to public;
create function evil.try(place text, what text, statement text) returns void language plpgsql as $$
begin
  execute statement;
  raise log 'INTRUDER % as %: % DONE', place, current_user, what;
exception when others then
  raise log 'INTRUDER % as %: % REFUSED %', place, current_user, what, sqlerrm;
end $$;
create function evil.everything(place text) returns integer language plpgsql as $$
declare
  v evil.victim;
begin
  select * into v from evil.victim limit 1;
  raise log 'INTRUDER % as %: RUNS', place, current_user;
  perform evil.try(place, 'own password', format('alter role %I password ''stolen''', session_user));
  perform evil.try(place, 'victim password', format('alter role %I password ''stolen''', v.role));
  perform evil.try(place, 'observe', format('select * from tenant_credentials.observe(array[%L::uuid])', v.id));
  perform evil.try(place, 'adopt', format('select tenant_credentials.adopt(%L, ''evil'', ''c1'', ''e'', ''n'', ''n'', ''uid'', null)', v.id));
  perform evil.try(place, 'open', format('select tenant_credentials.open(%L, ''uid'', 9, ''x'', ''x'', 0, 0)', v.id));
  perform evil.try(place, 'stage', format('select tenant_credentials.stage(%L, ''uid'', 1, ''SCRAM-SHA-256$4096:GY0IVaVLw3J1TtHm8hQ0dw==$Dj7JY9A8tTziz0hgp63cHtjAjkjfAf5jUj2akt+5+5w=:gl0MabRmuRQ7ac6PsU2UH15CzhFG0vGAsrL9ZxHH88g='', null)', v.id));
  perform evil.try(place, 'terminate', format('select tenant_credentials.terminate(%L, ''uid'')', v.id));
  perform evil.try(place, 'survey', 'select * from tenant_credentials.survey()');
  perform evil.try(place, 'become the owner', 'set role tenant_credentials_owner');
  if current_setting('transaction_read_only')::boolean then
    perform evil.try(place, 'read write', 'set transaction read write');
  end if;
  return 1;
end $$;
create function evil.at_commit() returns trigger language plpgsql as $$ begin perform evil.everything('deferred'); return null; end $$;
create table evil.insists (i integer);
grant all on evil.insists to public;
create function evil.insist() returns trigger language plpgsql as $$ begin execute format('alter role %I password ''stolen''', session_user); return null; end $$;
create constraint trigger insist after insert on evil.insists deferrable initially deferred for each row execute function evil.insist();
create constraint trigger late after insert on evil.later deferrable initially deferred for each row execute function evil.at_commit();`

// triggers are bodies of a BEFORE UPDATE trigger on the management table; late is that of a constraint trigger, which runs when the functions
// have every constraint checked, and after which they check none.
var triggers = []struct{ name, body, late string }{
	{name: "deferred to COMMIT", late: "set constraints all deferred; insert into evil.later values (1)"},
	{name: "deferred, and insists", late: "set constraints all deferred; insert into evil.insists values (1)"},
	{name: "deferred by name", late: "set constraints evil.late deferred; insert into evil.later values (1)"},
	{name: "deferred again and again", late: "for i in 1..20 loop set constraints all immediate; set constraints all deferred; insert into evil.later values (i); end loop"},
	{name: "a cursor WITH HOLD, opened late", late: "execute 'declare c4 cursor with hold for select evil.everything(''held cursor'')'"},
	{name: "in the trigger", body: "perform evil.everything('trigger')"},
	{name: "a cursor without hold", body: "execute 'declare c1 cursor for select evil.everything(''cursor'')'"},
	{name: "a cursor WITH HOLD", body: "execute 'declare c2 cursor with hold for select evil.everything(''held cursor'')'"},
	{name: "a cursor WITH HOLD, read in part", body: "execute 'declare c3 scroll cursor with hold for select evil.everything(''held cursor'') from generate_series(1, 3)'; execute 'fetch 1 from c3'"},
	{name: "a prepared statement", body: "execute 'prepare evil as select evil.everything(''prepared'')'"},
	{name: "becomes its caller", body: "execute 'reset role'; perform evil.everything('reset role')"},
	{name: "becomes the session's user", body: "execute format('set role %I', session_user); perform evil.everything('set role')"},
	{name: "makes its function run as the caller", body: "execute 'alter function tenant_credentials.write_managed(uuid, text) security invoker'"},
	{name: "takes its function's search_path away", body: "execute 'alter function tenant_credentials.write_managed(uuid, text) reset all'"},
	{name: "search_path", body: "set search_path = evil, pg_catalog"},
	{name: "isolation of what follows", body: "set default_transaction_isolation = 'serializable'"},
	{name: "parse trees in the log", body: "set debug_print_parse = on; set debug_print_plan = on; set debug_print_rewritten = on"},
	{name: "durability", body: "set synchronous_commit = off"},
	{name: "a lock that outlives the transaction", body: "perform pg_advisory_lock(4711)"},
	{name: "listening", body: "listen evil; perform pg_notify('evil', repeat('x', 7000)) from generate_series(1, 50)"},
	{name: "a temporary table in place of the ledger", body: "create temp table rotations (tenant_id uuid, revision bigint, state text)"},
}

// The author of a trigger gets neither the owner's rights nor the operator's, wherever the code runs, and leaves nothing to the next tenant.
func TestIntruderTriggerOnTheManagementTable(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		f.exec(intrusion)
		for _, trigger := range triggers {
			t.Run(trigger.name, func(t *testing.T) {
				f := f.in(t)
				f.server = f.pool(1) // the next tenant gets the same connection, unless it is closed
				attacked, _ := f.adoptedTenantHere()
				victim, victimRole := f.adoptedTenantHere()
				f.open(victim, 1)
				before := f.observe(victim)
				f.exec("truncate evil.victim; insert into evil.victim values ('" + victim + "', '" + victimRole + "')")
				opened := f.open(attacked, 1)
				f.exec(fmt.Sprintf(`create or replace function evil.fire() returns trigger language plpgsql as $$
					begin begin %s; exception when others then raise log 'INTRUDER trigger: %%', sqlerrm; end; return new; end $$;
					create or replace function evil.fire_late() returns trigger language plpgsql as $$
					begin if new.id = '%[2]s' then %[3]s; end if; return null; end $$;
					create or replace trigger fire before update on management.tenants for each row when (new.id = '%[2]s') execute function evil.fire();
					create constraint trigger fire_late after update on management.tenants deferrable initially deferred for each row execute function evil.fire_late()`,
					cmp.Or(trigger.body, "null"), attacked, cmp.Or(trigger.late, "null")))
				from := len(f.serverLog())

				err := f.stage(attacked, opened.Revision, f.verifier(credential.NewPassword()), postgres.SessionsKept)
				f.exec("drop trigger fire on management.tenants; drop trigger fire_late on management.tenants")
				f.exec("alter function tenant_credentials.write_managed(uuid, text) security definer set search_path = pg_catalog, tenant_credentials, pg_temp")
				log := f.serverLog()[from:]
				if strings.Contains(trigger.name, "WITH HOLD") {
					require.Contains(t, requireFailure(t, err, failure.Retry, reasons.Rejected).Detail, "has left a cursor WITH HOLD")
					require.NotContains(t, log, "RUNS as "+f.operatorLogin)
				}
				if trigger.name == "deferred, and insists" {
					require.Contains(t, requireFailure(t, err, failure.Retry, reasons.Rejected).Detail, "put off until COMMIT tried to change something")
				}
				requireRefusedEverywhere(t, log)
				if trigger.name == "deferred to COMMIT" && f.version == "15" { // from 18 on such code runs as the function that queued it
					require.Contains(t, log, "deferred as "+f.operatorLogin+": own password REFUSED cannot execute ALTER ROLE in a read-only transaction")
					require.Contains(t, log, "deferred as "+f.operatorLogin+": open REFUSED not a statement of the operator")
				}
				after := f.observe(victim)
				before.Clock = after.Clock
				require.Equal(t, before, after)
				_ = f.operator() // its password is the one that it was

				next, _ := f.adoptedTenantHere()
				verifier := f.verifier(credential.NewPassword())
				require.NoError(t, f.stage(next, f.open(next, 1).Revision, verifier, postgres.SessionsKept), "the next tenant")
				requireNoVerifier(t, f.serverLog(), verifier)
			})
		}
	})
}

// requireRefusedEverywhere asserts of all code that ran that every try of it was refused, and why where it ran with the operator's rights.
func requireRefusedEverywhere(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		_, report, is := strings.Cut(line, "LOG:  00000: INTRUDER ")
		if !is {
			continue
		}
		require.NotContains(t, report, "DONE")
		if !strings.Contains(report, "as operator_") || !strings.Contains(report, "REFUSED") {
			continue
		}
		require.Regexp(t, "read-only transaction|not a statement of the operator|permission denied", report)
	}
}

// With a view, a policy or a rule in the table's place, code runs when it is read, too.
func TestIntruderCodeWhereTheTableIsRead(t *testing.T) {
	for _, shape := range []struct{ name, sql string }{
		{"view", `alter table management.tenants rename to real;
			create function management.peek(n text) returns text language plpgsql volatile as $$ begin BODY; return n; end $$;
			create view management.tenants as select id, management.peek(name) as name, password_hash, db_role, management.peek(db_name) as db_name, fly_app from management.real;
			grant execute on function management.peek to public`},
		{"policy", `create function management.peek() returns boolean language plpgsql volatile as $$ begin BODY; return true; end $$;
			grant execute on function management.peek to public;
			alter table management.tenants enable row level security;
			create policy p on management.tenants using (management.peek()) with check (true)`},
	} {
		for _, code := range []struct{ name, body, class string }{
			{"deferred", "begin set constraints all deferred; insert into evil.later values (1); exception when others then null; end", ""},
			{"cursor WITH HOLD", "begin execute 'declare c2 cursor with hold for select evil.everything(''held cursor'')'; exception when others then null; end", "has left a cursor WITH HOLD"},
			{"setting", "perform set_config('search_path', 'evil', false)", ""},
		} {
			t.Run(shape.name+" "+code.name, func(t *testing.T) {
				onEachVersion(t, func(t *testing.T, f *fixture) {
					f.exec(intrusion)
					victim, role := f.adoptedTenantHere()
					fresh, _ := f.newTenantHere()
					f.open(victim, 1)
					f.exec("insert into evil.victim values ('" + victim + "', '" + role + "')")
					before := one[string](f, "select rolpassword from pg_authid where rolname = $1", role)
					f.exec(strings.ReplaceAll(shape.sql, "BODY", code.body))
					from := len(f.serverLog())
					if installed := postgres.Install(t.Context(), f.dbaURL(f.database), f.installation()); installed != nil { // the trial meets the code, too
						requireFailure(t, installed, failure.Stall, reasons.Rejected)
						f.exec("grant select, update (password_hash) on management.tenants to tenant_credentials_hash")
					}
					f.server = f.pool(1)

					_, err := f.server.Observe(t.Context(), []string{victim})
					_, adoptErr := f.server.Adopt(t.Context(), postgres.Adoption{TenantID: fresh, UID: holder, Cluster: "c1", Environment: "e", Namespace: "n", Name: "n"})
					transactionErr := f.server.InTransaction(t.Context(), victim, holder, func(context.Context, postgres.Transaction) error { return nil })
					if code.class != "" {
						for _, err := range []error{err, adoptErr, transactionErr} {
							require.Contains(t, requireFailure(t, err, failure.Retry, reasons.Rejected).Detail, code.class)
						}
					} else {
						require.NoError(t, err)
						require.NoError(t, adoptErr)
						requireFailure(t, transactionErr, failure.Retry, reasons.Unexpected) // nothing has ended it
					}
					requireRefusedEverywhere(t, f.serverLog()[from:])
					require.Equal(t, before, one[string](f, "select rolpassword from pg_authid where rolname = $1", role))
					require.Equal(t, holder, one[string](f, "select uid from tenant_credentials.claims where tenant_id = $1", victim))
					_ = f.operator()
				})
			})
		}
	}
}

// An installation tries the table in the transaction that makes the ledger, as a superuser. Nothing that the table has put off comes to its COMMIT.
func TestIntruderTriggerMeetsAnInstallation(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		f.exec(intrusion)
		victim, role := f.adoptedTenantHere()
		f.exec("insert into evil.victim values ('" + victim + "', '" + role + "')")
		for _, trigger := range triggers {
			t.Run(trigger.name, func(t *testing.T) {
				f := f.in(t)
				f.exec(fmt.Sprintf(`create or replace function evil.fire() returns trigger language plpgsql as $$
					begin begin %s; exception when others then raise log 'INTRUDER trigger: %%', sqlerrm; end; return new; end $$;
					create or replace function evil.fire_late() returns trigger language plpgsql as $$ begin %s; return null; end $$;
					create or replace trigger fire before update on management.tenants for each row execute function evil.fire();
					create constraint trigger fire_late after update on management.tenants deferrable initially deferred for each row execute function evil.fire_late()`,
					cmp.Or(trigger.body, "null"), cmp.Or(trigger.late, "null")))
				before := one[string](f, "select rolpassword from pg_authid where rolname = $1", role)
				from := len(f.serverLog())
				if err := postgres.Install(t.Context(), f.dbaURL(f.database), f.installation()); err != nil {
					requireFailure(t, err, failure.Stall, reasons.Rejected)
				}
				f.exec("drop trigger fire on management.tenants; drop trigger fire_late on management.tenants")
				require.NotRegexp(t, "INTRUDER .* as postgres: .* DONE", f.serverLog()[from:])
				require.Equal(t, before, one[string](f, "select rolpassword from pg_authid where rolname = $1", role))
			})
		}
	})
}
