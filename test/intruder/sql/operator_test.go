package sql

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// calls are what a thief of the operator's login sends, with {T} for a tenant that the object "uid" holds, {R} for its role, {U} for one that
// is held by another object, {V} for a verifier; and the SQLSTATE and a part of the message, or of the detail, with which it is refused.
var calls = []struct{ name, sql, code, says string }{
	{"reads the ledger", "select * from tenant_credentials.rotations", "42501", "rotations"},
	{"reads the claims", "select * from tenant_credentials.claims", "42501", "claims"},
	{"reads the management table", "select * from management.tenants", "42501", "management"},
	{"reads verifiers", "select rolpassword from pg_authid", "42501", "pg_authid"},
	{"writes a claim", "update tenant_credentials.claims set uid = 'mine'", "42501", "claims"},
	{"adds a transition", "insert into tenant_credentials.transitions values ('open', 'completed')", "42501", "transitions"},
	{"changes the settings", "update tenant_credentials.settings set role_prefix = ''", "42501", "settings"},
	{"alters a tenant's role", "alter role {R} password 'mine'", "42501", "permission denied|must have"},
	{"becomes a tenant", "set role {R}", "42501", "set role"},
	{"becomes the owner", "set role tenant_credentials_owner", "42501", "set role"},
	{"becomes the writer of hashes", "set role tenant_credentials_hash", "42501", "set role"},
	{"sets a verifier past the guard", "select tenant_credentials.set_verifier('postgres', '{V}')", "42501", "set_verifier"},
	{"alters a login past the guard", "select tenant_credentials.alter_login('postgres', 'superuser', 'login')", "42501", "alter_login"},
	{"closes a login past the guard", "select tenant_credentials.close_login('postgres')", "42501", "close_login"},
	{"writes a hash past the guard", "select tenant_credentials.write_managed('{T}', '{V}')", "42501", "write_managed"},
	{"reads hashes past the guard", "select tenant_credentials.read_managed('{{T}}')", "42501", "read_managed"},
	{"puts a claim", "select tenant_credentials.put_claim(null, true)", "42501", "put_claim"},
	{"configures", "select tenant_credentials.configure('', '', '', '', '', '', '', '', '', '', '', '', '')", "42501", "configure"},
	{"prepares a login", "select tenant_credentials.prepare_overlap('{R}')", "42501", "prepare_overlap"},
	{"ends the DBA's session", "select pg_terminate_backend({DBA})", "42501", "pg_signal_backend|must be a superuser|permission denied"},
	{"makes a function of its own", "create function tenant_credentials.mine() returns void language sql as ''", "42501", "tenant_credentials"},
	{"acts on another's tenant", "select tenant_credentials.open('{U}', 'uid', 1, 'x', 'x', 0, 0)", "TC014", `"name" : "other"`},
	{"stages another's tenant", "select tenant_credentials.stage('{U}', 'uid', {N}, '{V}', null)", "TC014", "not the holder"},
	{"commits another's tenant", "select tenant_credentials.commit('{U}', 'uid', {N}, null, null, null)", "TC014", "not the holder"},
	{"issues for another's tenant", "select tenant_credentials.issue('{U}', 'uid', {N}, '{V}')", "TC014", "not the holder"},
	{"closes another's tenant", "select tenant_credentials.close('{U}', 'uid', {N})", "TC014", "not the holder"},
	{"uid NULL opens", "select tenant_credentials.open('{T}', null, 1, 'x', 'x', 0, 0)", "TC014", "not the holder"},
	{"uid NULL stages", "select tenant_credentials.stage('{T}', null, {N}, '{V}', null)", "TC014", "not the holder"},
	{"uid NULL commits", "select tenant_credentials.commit('{T}', null, {N}, null, null, null)", "TC014", "not the holder"},
	{"uid NULL issues", "select tenant_credentials.issue('{T}', null, {N}, '{V}')", "TC014", "not the holder"},
	{"uid NULL discards", "select tenant_credentials.discard('{T}', null, {N})", "TC014", "not the holder"},
	{"uid NULL says that a login was checked", "select tenant_credentials.login_checked('{T}', null, {N})", "TC014", "not the holder"},
	{"uid NULL completes", "select tenant_credentials.complete('{T}', null, {N})", "TC014", "not the holder"},
	{"uid NULL closes", "select tenant_credentials.close('{T}', null, {N})", "TC014", "not the holder"},
	{"uid NULL ends sessions", "select tenant_credentials.end_sessions('{T}', null, {N}, true)", "TC014", "not the holder"},
	{"tenant NULL", "select tenant_credentials.open(null, 'uid', 1, 'x', 'x', 0, 0)", "TC017", "not_adopted"},
	{"the last revision there is", "select tenant_credentials.open('{T}', 'uid', 1, 'x', 'x', 0, 9223372036854775806)", "TC026", "9223372036854775806"},
	{"a revision of NULL", "select tenant_credentials.open('{T}', 'uid', 1, 'x', 'x', 0, null)", "TC026", `"NULL"`},
	{"a revision below 0", "select tenant_credentials.open('{T}', 'uid', 1, 'x', 'x', 0, -1)", "TC026", `"-1"`},
	{"a generation above all", "select tenant_credentials.open('{T}', 'uid', 9223372036854775807, 'x', 'x', 0, 0)", "23514", "generation"},
	{"a cause of a megabyte", "select tenant_credentials.open('{T}', 'uid', 1, repeat('x', 1000000), 'x', 0, 0)", "23514", "cause"},
	{"a request's reason of a megabyte", "select tenant_credentials.open('{T}', 'uid', 1, 'x', 'x', 0, 0, repeat('x', 1000000), '')", "23514", "reason"},
	{"a name that turns the line around", "select tenant_credentials.open('{T}', 'uid', 1, 'x', 'x', 0, 0, '', U&'admin\\202Enigol')", "23514", "requested_by"},
	{"a manager with a line feed", "select tenant_credentials.open('{T}', 'uid', 1, 'x', E'a\\nb', 0, 0)", "23514", "stated_manager"},
	{"a claim with an escape sequence", "select tenant_credentials.adopt('{F}', E'u\\x1b[2J', 'c1', 'e', 'n', 'n', null, null)", "23514", "uid"},
	{"a claim's name of a megabyte", "select tenant_credentials.adopt('{F}', 'u', 'c1', 'e', 'n', repeat('n', 1000000), null, null)", "23514", "name"},
	{"takes over within the cluster", "select tenant_credentials.adopt('{U}', 'uid', 'c1', 'e', 'n', 'n', 'guess', null)", "TC014", "not the holder"},
	{"takes over with NULLs", "select tenant_credentials.adopt('{U}', 'uid', null, 'e', 'n', 'n', null, null)", "23502|TC014", "cluster"},
	{"a verifier of NULL", "select tenant_credentials.stage('{T}', 'uid', {N}, null, null)", "TC018", "verifier_null"},
	{"a password for a verifier", "select tenant_credentials.stage('{T}', 'uid', {N}, 'hunter2', null)", "TC018", "not a verifier"},
	{"an md5 hash for a verifier", "select tenant_credentials.stage('{T}', 'uid', {N}, 'md5' || md5('x'), null)", "TC018", "not a verifier"},
	{"SQL in a verifier", "select tenant_credentials.stage('{T}', 'uid', {N}, '{V}'' superuser --', null)", "TC018", "not a verifier"},
	{"a digest that is none", "select tenant_credentials.stage('{T}', 'uid', {N}, '{V}', '\\x00')", "23514", "delivery_digest"},
	{"a compromise without closing the logins", "select tenant_credentials.stage('{T}', 'uid', {N}, '{V}', null, 'Compromised')", "TC017", "not_closed"},
	{"lets a tenant in without its uid", "select tenant_credentials.set_external_access('{T}', null, true)", "TC014", "not the holder"},
	{"lets another object's tenant in", "select tenant_credentials.set_external_access('{U}', 'uid', true)", "TC014", "not the holder"},
	{"lets a tenant in that no object holds", "select tenant_credentials.set_external_access('{F}', 'uid', true)", "TC017", "not_adopted"},
	{"ends sessions of another object's tenant", "select tenant_credentials.sweep_external_access('{U}', 'uid')", "TC014", "not the holder"},
	{"ends memberships past the holder", "select tenant_credentials.end_external_access(null, null)", "42501", "end_external_access"},
	{"looks for sessions", "select tenant_credentials.outside_sessions('{}')", "42501", "outside_sessions"},
	{"reads pg_hba.conf", "select * from pg_hba_file_rules()", "42501", "pg_hba_file_rules"},
	{"reads pg_hba.conf by the function", "select * from tenant_credentials.hba_rules()", "42501", "hba_rules"},
	{"grants the group", "grant tenant_credentials_external to {R}", "42501", "permission denied|must have"},
	{"becomes the group", "set role tenant_credentials_external", "42501", "set role"},
	{"writes that a tenant was swept", "insert into tenant_credentials.external_access (tenant_id, uid, change) values ('{T}', 'uid', 'swept')", "42501", "external_access"},
	{"commits what was not staged", "select tenant_credentials.commit('{T}', 'uid', {N}, null, null, null)", "TC017", `"expected" : \["staged"\]`},
	{"completes what was not committed", "select tenant_credentials.complete('{T}', 'uid', {N})", "TC017", `"expected" : \["committed","rolled"\]`},
}

// A stolen operator's login sets the passwords of the tenants that its ledger claims, by the functions and in their order, and does nothing
// else.
func TestIntruderOperatorsLogin(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenantHere()
		other, _ := f.newTenantHere()
		_, err := f.server.Adopt(t.Context(), postgres.Adoption{TenantID: other, UID: "another", Cluster: "c1", Environment: "e", Namespace: "n", Name: "other"})
		require.NoError(t, err)
		fresh, _ := f.newTenantHere()
		expand := strings.NewReplacer("{{T}}", "{"+id+"}", "{T}", id, "{R}", role, "{U}", other, "{F}", fresh, "{V}", f.verifier(credential.NewPassword()),
			"{DBA}", one[string](f, "select pg_backend_pid()::text")).Replace
		thief := f.operator()
		before := one[string](f, "select string_agg(rolname || coalesce(rolpassword, '') || rolsuper || rolcanlogin, ' ' order by rolname) from pg_authid")
		for _, call := range calls {
			t.Run(call.name, func(t *testing.T) {
				opened := f.open(id, 1).Revision
				if strings.Contains(call.sql, ".open('{T}'") { // else it answers with the row that there is
					require.NoError(t, f.server.Discard(t.Context(), id, holder, opened))
				}
				_, err := thief.Exec(t.Context(), strings.ReplaceAll(expand(call.sql), "{N}", strconv.FormatInt(opened, 10)))
				var answer *pgconn.PgError
				require.True(t, errors.As(err, &answer), "%v", err)
				require.Regexp(t, "^("+call.code+")$", answer.Code, answer.Message)
				require.Regexp(t, call.says, answer.Message+answer.Detail+answer.ConstraintName+answer.ColumnName)
			})
		}
		require.Equal(t, before, one[string](f, "select string_agg(rolname || coalesce(rolpassword, '') || rolsuper || rolcanlogin, ' ' order by rolname) from pg_authid"))
		require.NoError(t, f.stage(id, f.open(id, 1).Revision, f.verifier(credential.NewPassword()), postgres.SessionsKept), "the tenant can still be rotated")
	})
}

// With the highest number that a call may bring, however often, a tenant can be rotated for ever after.
func TestIntruderRevisionsDoNotRunOut(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenantHere()
		thief := f.operator()
		for range 3 {
			var opened struct{ Revision int64 }
			require.NoError(t, thief.QueryRow(t.Context(), "select tenant_credentials.open($1, 'uid', 1, 'x', 'x', 0, 1000000000)", id).Scan(&opened))
			require.NoError(t, f.server.Discard(t.Context(), id, holder, opened.Revision))
			require.Less(t, opened.Revision, int64(1000000010))
		}
		f.rotate(id, f.open(id, 1).Revision)
	})
}

// Nothing is told of a role that is not a tenant's, and no password of it can be set, even if the management table names it.
func TestIntruderRolesThatAreNotATenants(t *testing.T) {
	onServersOfTheirOwn(t, func(t *testing.T, f *fixture) {
		f.exec("create role tenant_gateway login password 'x'; grant usage on schema tenant_credentials to tenant_gateway; " +
			"grant execute on function tenant_credentials.stage(uuid, text, bigint, text, bytea, text, boolean) to tenant_gateway")
		f.exec("create role tenant_api login password 'x'")
		f.exec("create role tenant_root login superuser password 'x'")
		t.Cleanup(func() {
			_, _ = f.dba.Exec(t.Context(), "alter table management.tenants owner to postgres")
			f.drop("role tenant_root")
		})
		for _, role := range []struct{ name, role, says, prepare string }{
			{"a superuser", "postgres", "does not begin with 'tenant_'", ""},
			{"the ledger's owner", "tenant_credentials_owner", "has the attribute CREATEROLE", ""},
			{"the role that writes the hash", "tenant_credentials_hash", "belongs to the ledger", ""},
			{"the operator's login", f.operatorLogin, "does not begin with 'tenant_'", ""},
			{"a superuser with the prefix", "tenant_root", "has the attribute SUPERUSER", ""},
			{"a login of the operator's with the prefix", "tenant_gateway", "may call the operator's functions", ""},
			{"the owner of the management table", "tenant_api", "owns table management.tenants", "alter table management.tenants owner to tenant_api"},
		} {
			t.Run(role.name, func(t *testing.T) {
				id, _ := f.in(t).newTenantHere()
				if role.prepare != "" {
					f.exec(role.prepare)
				}
				if f.version != "15" {
					_, _ = f.dba.Exec(t.Context(), "grant "+role.role+" to tenant_credentials_owner with admin true, inherit false, set false")
				}
				f.exec("update management.tenants set db_role = $2 where id = $1", id, role.role)
				seen := f.observe(id)
				require.Empty(t, seen.VerifierDigest, "the digest of its password")
				require.Regexp(t, role.says, seen.RoleViolation)
				_, err := f.server.Adopt(t.Context(), postgres.Adoption{TenantID: id, UID: holder, Cluster: "c1", Environment: "e", Namespace: "n", Name: "n"})
				require.Regexp(t, role.says, requireFailure(t, err, failure.Stall, reasons.RoleNotAllowed).Detail)
			})
		}
		t.Run("an operator's login with the prefix", func(t *testing.T) {
			installation := f.installation()
			installation.OperatorLogin = "tenant_gateway"
			err := postgres.Install(t.Context(), f.dbaURL(f.database), installation)
			require.ErrorContains(t, err, "begins with 'tenant_' as the tenants' roles do: give it another name")
		})
		t.Run("an operator's login with an attribute", func(t *testing.T) {
			f.exec("alter role " + f.operatorLogin + " createdb")
			err := postgres.Install(t.Context(), f.dbaURL(f.database), f.installation())
			require.ErrorContains(t, err, "has the attribute CREATEDB")
			f.exec("alter role " + f.operatorLogin + " nocreatedb")
		})
	})
}
