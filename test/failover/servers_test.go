package failover

import (
	"github.com/stretchr/testify/require"

	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// standby makes a streaming standby, and waits until it has everything.
func (e *environment) standby() *pgserver.Server {
	e.t.Helper()
	e.server.Down()
	standby, err := e.server.Copy()
	require.NoError(e.t, err)
	require.NoError(e.t, e.server.Up(e.t.Context()))
	require.NoError(e.t, standby.Follow(e.server))
	require.NoError(e.t, standby.Up(e.t.Context()))
	e.WaitFor(e.t, "Ready", "True")
	eventually(e.t, "the standby does not stream", func() bool {
		return e.one("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn = pg_current_wal_lsn()")
	})
	return standby
}

// cutOff is the network's partition between the two.
func (e *environment) cutOff(standby *pgserver.Server) {
	e.t.Helper()
	at := *e
	at.URL = standby.SuperuserURL()
	at.Exec(e.t, "ALTER SYSTEM SET primary_conninfo = ''")
	at.Exec(e.t, "SELECT pg_reload_conf()")
	eventually(e.t, "the standby is still connected", func() bool { return e.one("SELECT count(*) = 0 FROM pg_stat_replication") })
}

// promote is the failover: the primary is gone, the standby is promoted and has its address.
func (e *environment) promote(standby *pgserver.Server) {
	e.t.Helper()
	e.server.Down()
	at := *e
	at.URL = standby.SuperuserURL()
	at.Exec(e.t, "SELECT pg_promote()")
	e.replaceServer(standby)
}

// one asks a question that is answered with yes or no.
func (e *environment) one(question string) (answer bool) {
	e.t.Helper()
	require.NoError(e.t, e.Pool(e.t).QueryRow(e.t.Context(), question).Scan(&answer))
	return answer
}
