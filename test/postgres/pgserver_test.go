package pgserver

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func TestServer(t *testing.T) {
	for _, version := range []string{"15", "18"} {
		t.Run(version, func(t *testing.T) {
			s, err := Start(t.Context(), Options{Version: version, Settings: map[string]string{"application_name": "a test"}})
			require.NoError(t, err)
			t.Cleanup(s.Stop)

			c, err := pgconn.Connect(t.Context(), s.SuperuserURL())
			require.NoError(t, err)
			results, err := c.Exec(t.Context(), "show application_name; show server_version").ReadAll()
			require.NoError(t, err)
			require.Equal(t, "a test", string(results[0].Rows[0][0]))
			require.Regexp(t, "^"+version, string(results[1].Rows[0][0]))
			require.NoError(t, c.Close(t.Context()))

			_, err = pgconn.Connect(t.Context(), s.URL("postgres", "wrong", "postgres"))
			require.Error(t, err, "a wrong password is refused")

			s.Down()
			_, err = pgconn.Connect(t.Context(), s.SuperuserURL())
			require.Error(t, err, "a stopped server refuses connections")
			require.NoError(t, s.Up(t.Context()))
			c, err = pgconn.Connect(t.Context(), s.SuperuserURL())
			require.NoError(t, err, "the same URL is good after a restart")
			require.NoError(t, c.Close(t.Context()))

			s.Stop()
			require.NoFileExists(t, s.LogFile)
			_, err = os.Stat(s.dir)
			require.ErrorIs(t, err, os.ErrNotExist)
		})
	}
}
