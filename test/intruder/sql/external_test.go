package sql

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A tenant, let in from outside or not, neither gives itself the group nor another role, nor reads which other roles have been given it.
func TestIntruderTenantGivesItselfTheGroup(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenantHere()
		_, other := f.adoptedTenantHere()
		for _, letIn := range []bool{false, true} {
			if letIn {
				_, err := f.server.SetExternalAccess(t.Context(), id, holder, true)
				require.NoError(t, err)
			}
			session := f.asTenant(role)
			for _, sql := range []string{
				"grant tenant_credentials_external to " + role, "grant tenant_credentials_external to " + other, "grant tenant_credentials_external to " + role + " with admin option",
				"revoke tenant_credentials_external from " + other, "alter role tenant_credentials_external login", "drop role tenant_credentials_external",
				"alter role tenant_credentials_external rename to mine", "select tenant_credentials.set_external_access('" + id + "', '" + holder + "', true)", "select * from pg_hba_file_rules()",
			} {
				_, err := session.Exec(t.Context(), sql)
				require.Error(t, err, sql)
				require.Regexp(t, "42501", err.Error(), sql)
			}
			require.Equal(t, letIn, f.observe(id).External.Member)
			require.Empty(t, f.observe(id).RoleViolation)
		}
	})
}

// A row of the management table that names the group, or a right that the group has got, makes no tenant of it.
func TestIntruderTheGroupIsNoTenant(t *testing.T) {
	onServersOfTheirOwn(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenantHere()
		f.exec("update management.tenants set db_role = 'tenant_credentials_external' where id = $1", id)
		require.Contains(t, f.observe(id).RoleViolation, "belongs to the ledger")
		_, err := f.server.SetExternalAccess(t.Context(), id, holder, true)
		require.ErrorContains(t, err, "belongs to the ledger")
	})
}
