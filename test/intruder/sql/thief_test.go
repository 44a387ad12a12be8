package sql

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

const (
	thieves = 30
	// loot is the password that the thieves set.
	loot = "thief-password"
)

// thief has a session with the stolen password. It sets a password of its own over and over, and logs in anew with every password that it knows as soon as
// it is thrown out.
type thief struct {
	f                       *fixture
	login, role, stolen     string
	alters, logins, refused *atomic.Int64
}

func (th thief) work(ctx context.Context, session *pgx.Conn) {
	for ctx.Err() == nil {
		if session == nil {
			session = th.enter(ctx)
			continue
		}
		for _, statement := range []string{"set role none", "alter role " + th.login + " password '" + loot + "'", "set role " + th.role, "alter role " + th.role + " password '" + loot + "'"} {
			if _, err := session.Exec(ctx, statement); err == nil {
				th.alters.Add(1)
			}
		}
		if session.IsClosed() {
			session = nil
		}
	}
	if session != nil {
		_ = session.Close(context.Background())
	}
}

// enter tries both logins with both passwords.
func (th thief) enter(ctx context.Context) *pgx.Conn {
	for _, login := range []string{th.login, th.role, th.role + "_b"} {
		for _, password := range []string{th.stolen, loot} {
			session, err := pgx.Connect(ctx, th.f.pg.URL(login, password, th.f.database))
			if err == nil {
				th.logins.Add(1)
				return session
			}
			th.refused.Add(1)
		}
	}
	return nil
}

// After a compromise the thief is out, despite its sessions: of thirty in a tight loop none keeps a session, or a password that is good for
// anything. The same with two logins, whichever of them was stolen.
func TestIntruderThiefIsOutAfterACompromise(t *testing.T) {
	for _, stolen := range []struct {
		name     string
		overlaps int // rotations with two logins before the theft
		runs     int
	}{{"the role", 0, runs(2)}, {"the second login", 1, runs(1)}, {"the role, beside a second login", 2, runs(1)}} {
		t.Run(stolen.name, func(t *testing.T) {
			if stolen.overlaps > 0 {
				harness.Long(t)
			}
			onEachVersion(t, func(t *testing.T, f *fixture) {
				for run := range stolen.runs {
					t.Run(fmt.Sprint(run+1), func(t *testing.T) { throwOut(t, f.in(t), stolen.overlaps) })
				}
			})
		})
	}
}

// runs is how often each is tried: RUNS=10 is the whole proof, which takes minutes.
func runs(few int) int {
	if asked, err := strconv.Atoi(os.Getenv("RUNS")); err == nil {
		return asked
	}
	return few
}

func throwOut(t *testing.T, f *fixture, overlaps int) {
	id, role := f.adoptedTenantHere()
	login := role
	if overlaps == 0 {
		f.rotate(id, f.open(id, 1).Revision)
		require.NoError(t, f.complete(t.Context(), id, holder, 1))
	} else {
		f.prepareOverlap(role)
	}
	for range overlaps {
		login = f.overlap(id)
	}
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	counts := thief{f: f, login: login, role: role, stolen: f.passwords[login], alters: &atomic.Int64{}, logins: &atomic.Int64{}, refused: &atomic.Int64{}}
	var sessions []*pgx.Conn
	for range thieves { // before the first of them changes the password
		sessions = append(sessions, f.asTenant(login))
	}
	for _, session := range sessions {
		work.Go(func() { counts.work(ctx, session) })
	}
	defer work.Wait()
	defer stop()
	require.Eventually(t, func() bool { return counts.alters.Load() > thieves }, 30*time.Second, time.Millisecond, "the thieves work")

	revision := f.open(id, 1).Revision
	closing := time.Now()
	f.closeLogins(id, revision)
	closed := time.Since(closing)
	password := credential.NewPassword()
	require.NoError(t, f.stage(id, revision, f.verifier(password), postgres.SessionsCompromised))
	refused := counts.refused.Load()
	require.Eventually(t, func() bool { return counts.refused.Load() > refused+thieves }, time.Minute, time.Millisecond, "the thieves try to come back")
	stop()
	work.Wait()

	after := f.observe(id)
	require.Equal(t, after.Last.VerifierDigest, after.VerifierDigest, "the password is the operator's")
	require.Empty(t, after.FormerLogin, "another login can be used")
	require.Zero(t, one[int](f, "select count(*)::int from pg_stat_activity where usename = any ($1)", []string{role, role + "_b"}))
	require.NoError(t, f.complete(t.Context(), id, holder, revision))
	f.passwords[login] = password.Reveal()
	_ = f.asTenant(login)
	t.Logf("closed for %v until the new password could be set; %d passwords set by the thieves, %d logins refused", closed.Round(time.Millisecond), counts.alters.Load(), counts.refused.Load())
}

// closeLogins closes the tenant's logins until no earlier session or login is left, as a pass does.
func (f *fixture) closeLogins(id string, revision int64) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return f.closeOnce(id, revision) }, 2*time.Minute, 20*time.Millisecond)
}

func (f *fixture) closeOnce(id string, revision int64) (quiet bool) {
	f.t.Helper()
	err := f.server.InTransaction(f.t.Context(), id, holder, func(ctx context.Context, tx postgres.Transaction) (err error) {
		quiet, err = tx.Close(ctx, revision)
		return err
	})
	switch failure.ReasonOf(err) { //nolint:exhaustive // every other one fails the test
	case reasons.Busy, reasons.ConnectionFailed: // a thief has the row, or the thirty the processor: the next call is the one that counts
		return false
	}
	require.NoError(f.t, err)
	return quiet
}

// overlap makes a whole rotation with two logins, and answers with the one in use.
func (f *fixture) overlap(id string) string {
	f.t.Helper()
	revision := f.open(id, 1).Revision
	login, password, err := f.issue(id, revision)
	require.NoError(f.t, err)
	verifier := one[string](f, "select rolpassword from pg_authid where rolname = $1", login)
	require.NoError(f.t, f.stage(id, revision, verifier, postgres.SessionsKept))
	require.NoError(f.t, f.server.Rolled(f.t.Context(), id, holder, revision))
	require.Eventually(f.t, func() bool {
		done, err := f.server.Retire(f.t.Context(), id, holder, revision, postgres.Retirement{OnceIdle: true, EndSessions: true})
		return err == nil && done
	}, 10*time.Second, 20*time.Millisecond)
	require.NoError(f.t, f.complete(f.t.Context(), id, holder, revision))
	f.passwords[login] = password.Reveal()
	return login
}

// held keeps back the third message of the client in a SCRAM login, with which the server would have accepted the stolen password.
type held struct {
	net.Conn
	writes  int
	holding chan struct{}
	release chan struct{}
}

func (c *held) Write(b []byte) (int, error) {
	c.writes++
	if c.writes == 3 {
		close(c.holding)
		<-c.release
	}
	return c.Conn.Write(b)
}

// A login that has begun with the stolen password, and is held back until the new one is in force, is waited for, and comes to nothing.
func TestIntruderLoginHeldBack(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenantHere()
		config, err := pgx.ParseConfig(f.pg.URL(role, f.passwords[role], f.database))
		require.NoError(t, err)
		connection := &held{holding: make(chan struct{}), release: make(chan struct{})}
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			connection.Conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return connection, err
		}
		ended := make(chan error, 1)
		go func() {
			session, err := pgx.ConnectConfig(context.WithoutCancel(t.Context()), config)
			if err == nil {
				_, err = session.Exec(context.WithoutCancel(t.Context()), "alter role "+role+" password '"+loot+"'")
				_ = session.Close(context.Background())
			}
			ended <- err
		}()
		<-connection.holding

		revision := f.open(id, 1).Revision
		for range 5 {
			require.False(t, f.closeOnce(id, revision), "a login is in progress")
		}
		require.Equal(t, 1, one[int](f, "select cardinality(logins_in_progress) from tenant_credentials.rotations where tenant_id = $1", id))
		err = f.stage(id, revision, f.verifier(credential.NewPassword()), postgres.SessionsCompromised)
		requireFailure(t, err, failure.Retry, reasons.Superseded)

		close(connection.release)
		require.ErrorContains(t, <-ended, "is not permitted to log in")
		f.closeLogins(id, revision)
		require.NoError(t, f.stage(id, revision, f.verifier(credential.NewPassword()), postgres.SessionsCompromised))
	})
}

// An attempt that comes to nothing after the logins were closed leaves nothing that the thief could use.
func TestIntruderClosedLoginsStayClosed(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenantHere()
		stolen := f.pg.URL(role, f.passwords[role], f.database)
		revision := f.open(id, 1).Revision
		f.closeLogins(id, revision)
		_, err := pgx.Connect(t.Context(), stolen)
		require.ErrorContains(t, err, "password authentication failed")

		f.exec("alter role " + role + " login password '" + f.passwords[role] + "'") // by hand, because the app is down
		err = f.stage(id, revision, f.verifier(credential.NewPassword()), postgres.SessionsCompromised)
		requireFailure(t, err, failure.Retry, reasons.Superseded)
		session, err := pgx.Connect(t.Context(), stolen)
		require.NoError(t, err)
		f.closeLogins(id, revision)
		_, err = session.Exec(t.Context(), "alter role "+role+" password '"+loot+"'")
		require.Error(t, err, "the session is ended")

		require.NoError(t, f.server.Discard(t.Context(), id, holder, revision))
		require.True(t, one[bool](f, "select not rolcanlogin and rolpassword is null from pg_authid where rolname = $1", role), "given up, and of no use to the thief")
	})
}
