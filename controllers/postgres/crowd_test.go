package postgres

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
)

// A question about a tenant reads its own logins: however many roles the server has, no function runs once for each of them.
func TestACrowdOfRolesIsNotAskedFor(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		const crowd = 40
		var id string
		for range crowd {
			var role string
			id, role = f.adoptedTenant()
			f.prepareOverlap(role)
		}
		f.exec("alter role " + f.operator + " set track_functions = 'all'")
		counted, err := Connect(t.Context(), Config{URL: credential.SecretOf(f.operatorURL()), MaxConnections: 1})
		require.NoError(t, err)
		_, err = counted.Observe(t.Context(), []string{id})
		require.NoError(t, err)
		counted.Close() // a session tells its counts at its end
		require.Eventually(t, func() bool {
			return one[int](f, "select count(*) from pg_stat_user_functions where funcname = 'observe'") == 1
		}, 20*time.Second, 50*time.Millisecond)
		require.Less(t, one[int64](f, "select max(calls) from pg_stat_user_functions"), int64(crowd/4))
	})
}
