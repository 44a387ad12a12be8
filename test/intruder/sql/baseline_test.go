package sql

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// The baseline of the attacks: without one, rotations and their login checks succeed.
func TestIntruderBaseline(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		password := f.rotate(id, f.open(id, 1).Revision)
		require.NoError(t, f.server.VerifyLogin(t.Context(), postgres.Login{Name: role, Role: role, Database: f.databaseOf(role), Password: password}))
		_, err := f.asTenant(role).Exec(t.Context(), "create table own ()")
		require.NoError(t, err)
		require.NoError(t, f.complete(t.Context(), id, holder, 1))

		f.prepareOverlap(role)
		login, password, err := f.issue(id, f.open(id, 2).Revision)
		require.NoError(t, err)
		require.Equal(t, role+"_b", login)
		require.NoError(t, f.server.VerifyLogin(t.Context(), postgres.Login{Name: login, Role: role, Database: f.databaseOf(login), Password: password}))
	})
}
