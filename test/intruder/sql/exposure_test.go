package sql

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A server that keeps verifiers despite the functions' settings is named in the environment's status.
func TestIntruderServerThatKeepsVerifiers(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		for _, exposure := range []struct{ setting, value, says string }{
			{"pg_stat_statements.track", "all", "pg_stat_statements.track = all"},
			{"auto_explain.log_nested_statements", "on", "auto_explain.log_nested_statements = on"},
		} {
			t.Run(exposure.setting, func(t *testing.T) {
				f.exec("alter database " + f.database + " set " + exposure.setting + " = '" + exposure.value + "'")
				survey, err := f.in(t).pool(1).Survey(t.Context())
				require.NoError(t, err)
				require.Contains(t, survey.Exposures, exposure.says)
				f.exec("alter database " + f.database + " reset " + exposure.setting)
			})
		}
		survey, err := f.pool(1).Survey(t.Context())
		require.NoError(t, err)
		require.Empty(t, survey.Exposures)
	})
}
