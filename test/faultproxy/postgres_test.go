package faultproxy_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

const tenant = "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01"

// world is a PostgreSQL server that is reached through a proxy.
type world struct {
	t     *testing.T
	rules *faultproxy.Rules
	url   string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server, err := pgserver.Start(t.Context(), pgserver.Options{Version: "15"})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	direct := net.JoinHostPort("127.0.0.1", strconv.Itoa(server.Port))
	rules := faultproxy.NewRules()
	proxy, err := faultproxy.NewPostgres(direct, rules)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	w := &world{t, rules, strings.Replace(server.SuperuserURL(), direct, proxy.Address, 1)}
	_, err = w.connect().Exec(t.Context(), `CREATE SCHEMA tenant_credentials; CREATE TABLE done (tenant uuid);
		CREATE FUNCTION tenant_credentials.open(tenant uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO public.done VALUES (tenant)'`)
	require.NoError(t, err)
	return w
}

func (w *world) connect() *pgx.Conn {
	w.t.Helper()
	c, err := pgx.Connect(w.t.Context(), w.url)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = c.Close(context.Background()) }) // a fault may have ended it
	return c
}

// open calls the function as the operator does, with a deadline.
func (w *world) open(c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	_, err := c.Exec(ctx, "select tenant_credentials.open($1::text::uuid)", tenant)
	return err
}

func (w *world) done() (count int) {
	w.t.Helper()
	require.NoError(w.t, w.connect().QueryRow(w.t.Context(), "SELECT count(*) FROM done").Scan(&count))
	return count
}

// on has the next call of a name meet a fault.
func (w *world) on(name string, fault faultproxy.Fault) {
	met := false
	w.rules.Set(func(call faultproxy.Call, _ []faultproxy.Call) faultproxy.Fault {
		if met || call.Name != name {
			return nil
		}
		met = true
		return fault
	})
}

func TestPostgresCallsHaveNames(t *testing.T) {
	w := newWorld(t)
	w.rules.Set(nil)
	c := w.connect()
	tx, err := c.Begin(t.Context())
	require.NoError(t, err)
	for range 2 { // the first one prepares
		_, err = tx.Exec(t.Context(), "select tenant_credentials.open($1::text::uuid)", tenant)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit(t.Context()))
	calls, _ := w.rules.Calls()
	session := calls[0].Session
	for i := range calls {
		require.Equal(t, session, calls[i].Session)
		calls[i].Session = 0
	}
	require.Equal(t, []faultproxy.Call{{Name: "login", About: "postgres"}, {Name: "BEGIN", About: "postgres"},
		{Name: "open", About: tenant}, {Name: "open", About: tenant}, {Name: "COMMIT", About: tenant}}, calls)
	require.Equal(t, 2, w.done())
}

func TestPostgresFaults(t *testing.T) {
	w := newWorld(t)
	expect := func(name string, fault faultproxy.Fault, takesEffect bool) {
		t.Run(name, func(t *testing.T) {
			before := w.done()
			c := w.connect()
			w.on("open", fault)
			require.Error(t, w.open(c))
			if takesEffect {
				before++
			}
			// The call may go on after its client has given up.
			require.Eventually(t, func() bool { return w.done() == before }, 10*time.Second, 10*time.Millisecond)
			require.NoError(t, w.open(w.connect()), "a fault happens once")
		})
	}
	expect("refused", func(p faultproxy.Passage) { p.Refuse() }, false)
	expect("answer lost", func(p faultproxy.Passage) { require.NoError(t, p.Forward()) }, true)
	expect("held until the client gives up", func(p faultproxy.Passage) { <-p.GivenUp() }, false)
	expect("on its way longer than the client waits", func(p faultproxy.Passage) { <-p.GivenUp(); require.NoError(t, p.Forward()) }, true)
}

func TestPostgresRefusalIsOneOfTheServer(t *testing.T) {
	w := newWorld(t)
	c := w.connect()
	w.on("open", func(p faultproxy.Passage) { p.Refuse() })
	var answer *pgconn.PgError
	require.ErrorAs(t, w.open(c), &answer)
	require.Equal(t, "57P01", answer.Code)
}

func TestPostgresCallGoesOn(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"open", "login", "BEGIN", "COMMIT"} {
		met := false
		w.on(name, func(p faultproxy.Passage) { met = true; require.NoError(t, p.Forward()); p.Answer() })
		c := w.connect()
		tx, err := c.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "select tenant_credentials.open($1::text::uuid)", tenant)
		require.NoError(t, err)
		require.NoError(t, tx.Commit(t.Context()))
		require.True(t, met, name)
	}
}

func TestPostgresLoginFails(t *testing.T) {
	w := newWorld(t)
	for _, fault := range []faultproxy.Fault{func(p faultproxy.Passage) { p.Refuse() }, func(p faultproxy.Passage) { _ = p.Forward() }} {
		w.on("login", fault)
		_, err := pgx.Connect(t.Context(), w.url)
		require.Error(t, err)
	}
}

// The work that a client leaves behind when it dies ends with it.
func TestPostgresDeadClientLeavesNoTransaction(t *testing.T) {
	w := newWorld(t)
	c := w.connect()
	_, err := c.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.open(c))
	require.NoError(t, c.PgConn().Conn().Close())
	other := w.connect()
	require.Eventually(t, func() bool {
		var left int
		require.NoError(t, other.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'").Scan(&left))
		return left == 0
	}, 5*time.Second, 20*time.Millisecond)
	require.Zero(t, w.done())
}
