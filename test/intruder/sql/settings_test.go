package sql

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
)

// long sets a setting of each login to a value of 2 MB.
func long(setting string) []string {
	return []string{`do $$ begin execute format('alter role <self> set ` + setting + ` = %L', repeat('x', 2000000)); end $$`}
}

var (
	tooMuch  = []string{"sends more than 256 KiB at the tenant's login", "ALTER ROLE <role> RESET ALL", "ALTER DATABASE <database> RESET ALL"}
	settings = func(names string) []string {
		return []string{"The login has settings of its own: " + names + " (ALTER ROLE <role> RESET ALL, ALTER DATABASE <database> RESET ALL)."}
	}
)

var settingAttacks = []loginAttack{
	{name: "search_path of 2 MB, which 18 reports", each: long("search_path"), reason: reasons.VerificationFailed, says: append(tooMuch, "search_path"), sparing: "15"},
	{name: "default_tablespace of 2 MB, which the server warns of", each: long("default_tablespace"), reason: reasons.VerificationFailed, says: append(tooMuch, "default_tablespace")},
	{name: "default_table_access_method of 2 MB", each: long("default_table_access_method"), reason: reasons.VerificationFailed, says: append(tooMuch, "default_table_access_method")},
	{name: "temp_tablespaces of 2 MB", each: long("temp_tablespaces")},
	{name: "default_text_search_config of 2 MB", each: long("default_text_search_config"), reason: reasons.VerificationFailed, says: append(tooMuch, "default_text_search_config")},
	{name: "application_name of 2 MB, which the server warns of", each: long("application_name"), reason: reasons.VerificationFailed, says: append(tooMuch, "application_name")},
	{name: "local_preload_libraries of 2 MB", each: long("local_preload_libraries"), reason: reasons.VerificationFailed, says: settings("local_preload_libraries")},
	{name: "DateStyle", each: []string{"alter role <self> set datestyle = 'German, YMD'"}},
	{name: "TimeZone", each: []string{"alter role <self> set timezone = '<+99>-99'"}},
	{name: "client_encoding that mangles names", each: []string{"alter role <self> set client_encoding = 'UHC'"}},
	{name: "standard_conforming_strings and bytea_output", each: []string{"alter role <self> set standard_conforming_strings = off", "alter role <self> set bytea_output = 'escape'"}},
	{name: "default_transaction_isolation", each: []string{"alter role <self> set default_transaction_isolation = 'serializable'"}},
	{name: "default_transaction_read_only", each: []string{"alter role <self> set default_transaction_read_only = on", "alter role <self> set default_transaction_deferrable = on"}},
	{name: "statement_timeout of 1 ms", each: []string{"alter role <self> set statement_timeout = 1"}, reason: reasons.VerificationFailed, says: settings("statement_timeout"), either: true},
	{name: "transaction_timeout of 1 ms", each: []string{"alter role <self> set transaction_timeout = 1"}, reason: reasons.VerificationFailed, says: settings("transaction_timeout"), either: true, only: "18"},
	{name: "idle_session_timeout of 1 ms", each: []string{"alter role <self> set idle_session_timeout = 1"}, reason: reasons.ConnectionFailed, says: settings("idle_session_timeout"), either: true},
	{name: "everything that can be printed is sent to the client", each: []string{
		"alter role <self> set client_min_messages = debug5", "alter role <self> set debug_print_parse = on", "alter role <self> set debug_print_rewritten = on", "alter role <self> set debug_print_plan = on",
	}},
	{name: "local_preload_libraries that does not exist", each: []string{"alter role <self> set local_preload_libraries = 'nope'"}, reason: reasons.VerificationFailed, says: settings("local_preload_libraries")},
	{name: "local_preload_libraries of the database", tenant: []string{"alter database <database> set local_preload_libraries = 'nope'"}, reason: reasons.VerificationFailed, says: settings("local_preload_libraries")},
	{name: "session_preload_libraries", dba: []string{"alter role <role> set session_preload_libraries = 'nope'", "alter role <role>_b set session_preload_libraries = 'nope'"},
		reason: reasons.VerificationFailed, says: settings("session_preload_libraries")},
	{name: "a session that acts as another role", each: []string{"alter role <self> set role = 'none'"}, second: true,
		reason: reasons.VerificationFailed, says: append(settings("role"), "Its sessions act as role <role>_b, not as <role>.")},
	{name: "a role that may not be set", each: []string{"alter role <self> set role = 'pg_monitor'"}, second: true,
		reason: reasons.VerificationFailed, says: append(settings("role"), "Its sessions act as role <role>_b, not as <role>.")},
	{name: "session_authorization", each: []string{"alter role <self> set session_authorization = '<self>'"}, reason: reasons.VerificationFailed, says: settings("session_authorization"), either: true},
	{name: "lc_messages", dba: []string{"alter database <database> set lc_messages = 'C.UTF-8'"}},
	{name: "fourteen settings, of which ten are named", each: []string{
		"alter role <self> set array_nulls = off", "alter role <self> set backslash_quote = off", "alter role <self> set check_function_bodies = off", "alter role <self> set enable_hashjoin = off",
		"alter role <self> set enable_mergejoin = off", "alter role <self> set enable_nestloop = off", "alter role <self> set geqo = off", "alter role <self> set jit = off",
		"alter role <self> set quote_all_identifiers = on", "alter role <self> set row_security = off", "alter role <self> set transform_null_equals = on", "alter role <self> set xmloption = document",
		"alter role <self> set statement_timeout = '1h'", "alter role <self> set local_preload_libraries = 'nope'",
	}, reason: reasons.VerificationFailed, says: settings("local_preload_libraries, statement_timeout, array_nulls, backslash_quote, check_function_bodies, enable_hashjoin, enable_mergejoin, enable_nestloop, geqo, jit")},
}

// A login can be made to fail by its own settings. The failure says so and names them, and never their values.
func TestIntruderTenantsSettingsAtTheLoginCheck(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) { attackLogins(t, f, settingAttacks) })
}

// The names of settings are for the tenant's holder alone, and no value is among them.
func TestIntruderSettingsAreNamedToTheHolderOnly(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		f.exec(fmt.Sprintf("alter role %s set app.token = 'hunter2'", role))
		session := f.operator()
		var names []string
		require.NoError(t, session.QueryRow(t.Context(), "select tenant_credentials.login_settings($1, $2)", id, holder).Scan(&names))
		require.Equal(t, []string{"app.token"}, names)
		for name, uid := range map[string]any{"another object": "another", "no object": nil, "an empty UID": ""} {
			t.Run(name, func(t *testing.T) {
				_, err := session.Exec(t.Context(), "select tenant_credentials.login_settings($1, $2)", id, uid)
				require.ErrorContains(t, err, "SQLSTATE TC014")
			})
		}
		t.Run("a tenant that no object holds", func(t *testing.T) {
			other, _ := f.in(t).newTenantHere()
			_, err := session.Exec(t.Context(), "select tenant_credentials.login_settings($1, null)", other)
			require.ErrorContains(t, err, "SQLSTATE TC014")
		})
	})
}
