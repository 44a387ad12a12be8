package postgres

import (
	"context"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// login opens a session as a tenant; it is closed with the test.
func (f *fixture) login(role, password string) *pgx.Conn {
	f.t.Helper()
	session, err := pgx.Connect(f.t.Context(), f.pg.URL(role, password, f.database))
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = session.Close(context.Background()) })
	return session
}

// endSessions calls EndSessions for a revision of the object "uid".
func (f *fixture) endSessions(id string, revision int64, sweep bool) bool {
	f.t.Helper()
	ended, err := f.server.EndSessions(f.t.Context(), id, "uid", revision, sweep)
	require.NoError(f.t, err)
	return ended
}

// authenticationTimePasses has the rotation look as old as a login may last.
func (f *fixture) authenticationTimePasses(id string) {
	f.t.Helper()
	f.exec("update tenant_credentials.rotations set sessions_before = sessions_before - interval '66 s' where tenant_id = $1 and state = 'committed'", id)
}

func requireEnded(t *testing.T, session *pgx.Conn) {
	t.Helper()
	_, err := session.Exec(t.Context(), "select")
	require.Error(t, err, "the session is still there")
}

func requireAlive(t *testing.T, session *pgx.Conn) {
	t.Helper()
	_, err := session.Exec(t.Context(), "select")
	require.NoError(t, err)
}

func TestSessionsOfBeforeAreEnded(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		_, otherRole := f.adoptedTenant()
		f.exec("alter role " + otherRole + " password 'other'")
		f.open(id, 1)
		former := f.login(role, f.rotate(id, 1).Reveal())
		require.NoError(t, f.complete(t.Context(), id, "uid", 1))
		other := f.login(otherRole, "other")

		f.open(id, 2)
		password := f.rotateEnding(id, 2, SessionsTerminated).Reveal()
		require.False(t, f.endSessions(id, 2, false))
		requireAlive(t, former)
		present := f.login(role, password)
		require.False(t, f.endSessions(id, 2, true))
		requireEnded(t, former)
		require.False(t, f.endSessions(id, 2, true), "a login may still be under way")
		requireFailure(t, f.complete(t.Context(), id, "uid", 2), failure.Retry, reasons.Superseded)

		f.authenticationTimePasses(id)
		require.True(t, f.endSessions(id, 2, true))
		require.False(t, f.observe(id).Last.SessionsEndedAt.IsZero())
		requireAlive(t, other)
		require.NoError(t, f.complete(t.Context(), id, "uid", 2))
		_, err := f.server.EndSessions(t.Context(), id, "uid", 2, true)
		requireFailure(t, err, failure.Retry, reasons.Superseded)
		requireAlive(t, present)
	})
}

// heldConnection keeps back the last message of a SCRAM login, which is the client's third, until it is released.
type heldConnection struct {
	net.Conn
	writes   int
	held     chan struct{}
	released chan struct{}
}

func (c *heldConnection) Write(b []byte) (int, error) {
	c.writes++
	if c.writes == 3 {
		close(c.held)
		<-c.released
	}
	return c.Conn.Write(b)
}

// A login that has begun before the rotation succeeds after it: the server has read the previous verifier by then.
func TestALoginUnderWayIsEndedToo(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		f.open(id, 1)
		config, err := pgx.ParseConfig(f.pg.URL(role, f.rotate(id, 1).Reveal(), f.database))
		require.NoError(t, err)
		require.NoError(t, f.complete(t.Context(), id, "uid", 1))
		connection := &heldConnection{held: make(chan struct{}), released: make(chan struct{})}
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			var err error
			connection.Conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return connection, err
		}
		login := make(chan *pgx.Conn, 1)
		go func() {
			session, err := pgx.ConnectConfig(context.WithoutCancel(t.Context()), config)
			if err != nil {
				t.Errorf("the login under way: %v", err)
			}
			login <- session
		}()
		<-connection.held

		f.open(id, 2)
		f.rotateEnding(id, 2, SessionsTerminated)
		require.False(t, f.endSessions(id, 2, true))
		close(connection.released)
		session := <-login
		require.NotNil(t, session)
		defer func() { _ = session.Close(context.Background()) }()
		requireAlive(t, session)
		require.False(t, f.endSessions(id, 2, true))
		requireEnded(t, session)
		f.authenticationTimePasses(id)
		require.True(t, f.endSessions(id, 2, true))
	})
}

func TestWhatASupersededRotationOwedIsOwedByItsSuccessor(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		for revision, policies := range []struct{ given, owed string }{
			{SessionsKept, SessionsKept}, {SessionsTerminated, SessionsTerminated}, {SessionsKept, SessionsTerminated},
			{SessionsCompromised, SessionsCompromised}, {SessionsKept, SessionsKept},
		} {
			f.open(id, 1)
			f.rotateEnding(id, int64(revision+1), policies.given)
			require.Equal(t, policies.owed, f.observe(id).Last.SessionPolicy)
		}
		require.EqualValues(t, 4, f.observe(id).CompromisedRevision)
	})
}
