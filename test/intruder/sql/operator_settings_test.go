package sql

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// operatorSettings are what a thief of the operator's login can leave behind on it, or a DBA can set for a whole database or server.
var operatorSettings = map[string]string{
	"search_path":                         "evil, pg_catalog",
	"role":                                "<role>",
	"local_preload_libraries":             "nope",
	"default_transaction_isolation":       "serializable",
	"default_transaction_read_only":       "on",
	"default_transaction_deferrable":      "on",
	"row_security":                        "off",
	"standard_conforming_strings":         "off",
	"transform_null_equals":               "on",
	"array_nulls":                         "off",
	"client_encoding":                     "LATIN1",
	"client_min_messages":                 "debug5",
	"DateStyle":                           "SQL, DMY",
	"IntervalStyle":                       "sql_standard",
	"TimeZone":                            "<+99>-99",
	"bytea_output":                        "escape",
	"statement_timeout":                   "1",
	"idle_session_timeout":                "1",
	"idle_in_transaction_session_timeout": "1",
	"plan_cache_mode":                     "force_custom_plan",
	"debug_print_parse":                   "on",
	"debug_print_rewritten":               "on",
	"debug_print_plan":                    "on",
	"log_parameter_max_length_on_error":   "-1",
	"quote_all_identifiers":               "on",
	"synchronous_commit":                  "off",
	"default_tablespace":                  "nope",
	"lock_timeout":                        "1ms",
}

// ofTheServer are those that are tried for the whole server, too: the others would keep the test itself from working.
var ofTheServer = []string{
	"search_path", "default_transaction_isolation", "row_security", "client_min_messages", "plan_cache_mode",
	"debug_print_parse", "debug_print_rewritten", "debug_print_plan", "log_parameter_max_length_on_error",
}

// With any settings of the operator's login, its database or the server, a tenant is rotated, and no verifier reaches the server's log.
func TestIntruderSettingsOfTheOperatorsSessions(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		f.exec(`create schema evil;
			create function evil.pg_is_in_recovery() returns boolean language sql as 'select true';
			create function evil.make_interval() returns interval language plpgsql as $$ begin raise 'evil'; end $$;
			grant usage on schema evil to public`)
		for setting, value := range operatorSettings {
			t.Run("ALTER ROLE SET "+setting, func(t *testing.T) {
				f := f.in(t)
				id, role := f.adoptedTenantHere()
				if setting == "role" {
					f.exec("grant " + role + " to " + f.operatorLogin)
				}
				f.exec("alter role " + f.operatorLogin + " set " + setting + " = " + quoted(setting, f.named(value, role)))
				defer f.exec("alter role " + f.operatorLogin + " reset all")
				f.requireRotation(id, role)
			})
			if setting == "role" {
				continue
			}
			t.Run("ALTER DATABASE SET "+setting, func(t *testing.T) {
				f := f.in(t)
				id, role := f.adoptedTenantHere()
				f.exec("alter database " + f.database + " set " + setting + " = " + quoted(setting, value))
				defer f.exec("alter database " + f.database + " reset all")
				f.requireRotation(id, role)
			})
			if !slices.Contains(ofTheServer, setting) {
				continue
			}
			t.Run("ALTER SYSTEM SET "+setting, func(t *testing.T) {
				f := f.in(t)
				id, role := f.adoptedTenantHere()
				f.asRoot("alter system set "+setting+" = "+quoted(setting, value), "select pg_reload_conf()")
				defer f.asRoot("alter system reset all", "select pg_reload_conf()")
				f.requireRotation(id, role)
			})
		}
	})
}

// quoted is a value as SET takes it: a list is not one string.
func quoted(setting, value string) string {
	if setting == "search_path" || setting == "DateStyle" {
		return value
	}
	return "'" + value + "'"
}

// requireRotation rotates with new connections, and asserts that the login works and that the server has not logged the verifier.
func (f *fixture) requireRotation(id, role string) {
	f.t.Helper()
	f.server = f.pool(2)
	_, err := f.server.Survey(f.t.Context())
	require.NoError(f.t, err)
	password := credential.NewPassword()
	verifier := f.verifier(password)
	require.NoError(f.t, f.stage(id, f.open(id, 1).Revision, verifier, postgres.SessionsKept))
	require.NoError(f.t, f.complete(f.t.Context(), id, holder, 1))
	f.passwords[role] = password.Reveal()
	require.Equal(f.t, credential.VerifierDigest(verifier), f.observe(id).VerifierDigest)
	log := f.serverLog()
	require.Contains(f.t, log, id[:8])
	requireNoVerifier(f.t, log, verifier)
}

// The operator acts on the answers of the ledger's functions: an answer that was not asked for is no answer.
func TestIntruderAnswersOfAHostileLedger(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenantHere()
		result := one[string](f, "select pg_get_function_result('tenant_credentials.observe(uuid[])'::regprocedure)")
		f.exec("alter function tenant_credentials.observe(uuid[]) rename to observe_truly")
		for name, body := range map[string]string{
			"no row":                  "where false",
			"two rows":                "cross join generate_series(1, 2)",
			"a hundred thousand rows": "cross join generate_series(1, 100000)",
		} {
			t.Run(name, func(t *testing.T) {
				f := f.in(t)
				f.exec("create function tenant_credentials.observe(tenants uuid[]) returns " + result +
					" language sql security definer as 'select o.* from tenant_credentials.observe_truly(tenants) o " + body + "'")
				f.exec("grant execute on function tenant_credentials.observe(uuid[]) to " + f.operatorLogin)
				defer f.exec("drop function tenant_credentials.observe(uuid[])")
				f.requireNoAnswer(id, reasons.Unexpected, "cannot be read")
			})
		}
		f.exec("alter function tenant_credentials.observe_truly(uuid[]) rename to observe")
		t.Run("a name of 20 MB in the management table", func(t *testing.T) {
			f.exec("update management.tenants set fly_app = repeat('x', 20000000) where id = $1", id)
			f.in(t).requireNoAnswer(id, reasons.ConnectionFailed, callTooMuch)
		})
	})
}

func (f *fixture) requireNoAnswer(id string, reason failure.Reason, says string) {
	f.t.Helper()
	var err error
	requireFrugal(f.t, 64<<20, func() { _, err = f.server.Observe(f.t.Context(), []string{id}) })
	refused := requireFailure(f.t, err, failure.Retry, reason)
	require.Contains(f.t, refused.Detail, says)
}
