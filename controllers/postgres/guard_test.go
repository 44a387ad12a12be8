package postgres

import (
	"cmp"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// violations have, with {R} for the role, {D} for the database, {O} for another tenant's role, {G} and {G2} for groups: the SQL that breaks a
// rule, what the guard answers, and, where the answer's SQL does not undo it, what does.
var violations = []struct{ name, sql, says, undo string }{
	{"superuser", "alter role {R} superuser", "Role {R} has the attribute SUPERUSER: ALTER ROLE {R} NOSUPERUSER", ""},
	{"createrole", "alter role {R} createrole", "Role {R} has the attribute CREATEROLE: ALTER ROLE {R} NOCREATEROLE", ""},
	{"createdb", "alter role {R} createdb", "Role {R} has the attribute CREATEDB: ALTER ROLE {R} NOCREATEDB", ""},
	{"replication", "alter role {R} replication", "Role {R} has the attribute REPLICATION: ALTER ROLE {R} NOREPLICATION", ""},
	{"bypassrls", "alter role {R} bypassrls", "Role {R} has the attribute BYPASSRLS: ALTER ROLE {R} NOBYPASSRLS", ""},
	{"nologin", "alter role {R} nologin", "Role {R} may not log in: ALTER ROLE {R} LOGIN", ""},
	{"no connection", "alter role {R} connection limit 0", "Role {R} may have no connection: ALTER ROLE {R} CONNECTION LIMIT -1", ""},
	{"expired", "alter role {R} valid until '2001-01-01'", "Role {R} has expired: ALTER ROLE {R} VALID UNTIL 'infinity'", ""},
	{"connect", "revoke connect on database {D} from public", "Role {R} may not connect to its database: GRANT CONNECT ON DATABASE {D} TO {R}",
		"grant connect on database {D} to public"},
	{"member of a group with an attribute", "create role {G} createdb; grant {G} to {R}",
		"Role {R} is a member of {G}, which has the attribute CREATEDB: REVOKE {G} FROM {R}", "drop role {G}"},
	{"member at depth", "create role {G}; create role {G2} bypassrls; grant {G} to {R}; grant {G2} to {G}",
		"Role {R} is a member of {G2}, which has the attribute BYPASSRLS: REVOKE {G} FROM {R}", "drop role {G}, {G2}"},
	{"another tenant's", "grant {O} to {R}", "Role {R} is a member of {O}, which is another tenant's: REVOKE {O} FROM {R}", ""},
	{"another tenant's at depth", "create role {G}; grant {O} to {G}; grant {G} to {R}",
		"Role {R} is a member of {O}, which is another tenant's: REVOKE {G} FROM {R}", "drop role {G}"},
	{"predefined role", "grant pg_read_all_data to {R}",
		"Role {R} is a member of pg_read_all_data, a predefined role that is not in tenant_credentials.settings.allowed_predefined_roles: REVOKE pg_read_all_data FROM {R}", ""},
	{"predefined role at depth", "grant pg_monitor to {R}", "Role {R} is a member of pg_monitor, a predefined role that is not in " +
		"tenant_credentials.settings.allowed_predefined_roles: REVOKE pg_monitor FROM {R}", ""},
	{"the operator's", "grant tenant_credentials_hash to {R}",
		"Role {R} is a member of tenant_credentials_hash, which belongs to the operator: REVOKE tenant_credentials_hash FROM {R}", ""},
	{"no database", "update management.tenants set db_name = 'nowhere' where db_name = '{D}'",
		"Role {R} has no database nowhere: CREATE DATABASE nowhere OWNER {R}", "update management.tenants set db_name = '{D}'"},
}

func TestRoleGuard(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		for _, v := range violations {
			t.Run(v.name, func(t *testing.T) {
				id, role := f.adoptedTenant()
				_, other := f.newTenant()
				expand := strings.NewReplacer("{R}", role, "{D}", f.database, "{O}", other, "{G}", "group_"+role[7:], "{G2}", "group2_"+role[7:]).Replace
				f.open(id, 1)

				f.exec(expand(v.sql))
				before := f.observe(id)
				says := cmp.Or(before.RoleViolation, before.LoginViolation)
				require.Equal(t, expand(v.says), says)
				err := f.server.InTransaction(t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
					return tx.Stage(ctx, Staging{Revision: 1, Verifier: f.verifier(credential.NewPassword())})
				})
				e := requireFailure(t, err, failure.Stall, reasons.RoleNotAllowed)
				require.Equal(t, says, e.Detail)
				requireSame(t, before, f.observe(id))

				mend := expand(v.undo)
				if mend == "" {
					mend = says[strings.LastIndex(says, ": ")+2:]
				}
				f.exec(mend)
				after := f.observe(id)
				require.Empty(t, after.RoleViolation+after.LoginViolation, "what the guard says is enough")
			})
		}
	})
}

func TestDatabaseThatAcceptsNoConnection(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		database := "site_" + role[7:]
		f.exec("create database " + database)
		defer f.exec("drop database " + database)
		f.exec("update management.tenants set db_name = $2 where id = $1", id, database)
		for sql, says := range map[string]string{
			"alter database " + database + " allow_connections false": "accepts no connections: ALTER DATABASE " + database + " ALLOW_CONNECTIONS true",
			"alter database " + database + " connection limit 0":      "may have no connection: ALTER DATABASE " + database + " CONNECTION LIMIT -1",
		} {
			require.Empty(t, f.observe(id).LoginViolation)
			f.exec(sql)
			violation := f.observe(id).LoginViolation
			require.Equal(t, "Role "+role+" has a database that "+says, violation)
			f.exec(violation[strings.LastIndex(violation, ": ")+2:])
		}
		f.exec("update pg_database set datconnlimit = -2 where datname = $1", database) // as DROP DATABASE leaves it that was cut short
		require.Contains(t, f.observe(id).LoginViolation, "DROP DATABASE "+database)
	})
}

func TestRoleWithoutThePrefixIsNotATenants(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.newTenant()
		f.exec("update management.tenants set db_role = $2 where id = $1", id, f.operator)
		_, err := f.server.Adopt(t.Context(), adoptionOf(id, "uid"))
		e := requireFailure(t, err, failure.Stall, reasons.RoleNotAllowed)
		require.Contains(t, e.Detail, "does not begin with '"+f.prefix+"'")
	})
}

func TestPredefinedRoleOnTheAllowList(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.newTenant()
		f.exec("grant pg_read_all_data to " + role)
		require.NotEmpty(t, f.observe(id).RoleViolation)
		f.exec("update tenant_credentials.settings set allowed_predefined_roles = '{pg_read_all_data}'")
		require.Empty(t, f.observe(id).RoleViolation)
	})
}

func TestRoleThatTheOwnerMayNotChange(t *testing.T) {
	f := newFixture(t, "18")
	id, role := f.newTenant()
	f.exec("revoke " + role + " from tenant_credentials_owner")
	_, err := f.server.Adopt(t.Context(), adoptionOf(id, "uid"))
	e := requireFailure(t, err, failure.Stall, reasons.RoleNotAllowed)
	grant := "GRANT " + role + " TO tenant_credentials_owner WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
	require.Contains(t, e.Detail, grant)
	f.exec(grant)
	_, err = f.server.Adopt(t.Context(), adoptionOf(id, "uid"))
	require.NoError(t, err)

	_, later := f.newTenant()
	f.exec("revoke " + later + " from tenant_credentials_owner")
	require.NoError(t, Install(t.Context(), f.dbaURL(), f.installation()))
	require.True(t, one[bool](f, "select admin_option and not inherit_option and not set_option from pg_auth_members where roleid = $1::regrole and member = 'tenant_credentials_owner'::regrole", later))
}
