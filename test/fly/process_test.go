package flyemulator_test

import (
	"net"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

// gate is a PostgreSQL server that does nothing but let logins in, or not.
type gate struct {
	net.Listener
	refuses atomic.Bool
}

func newGate(t *testing.T) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &gate{Listener: listener}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go g.greet(conn)
		}
	}()
	return g
}

func (g *gate) greet(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	backend := pgproto3.NewBackend(conn, conn)
	if _, err := backend.ReceiveStartupMessage(); err != nil {
		return
	}
	if g.refuses.Load() {
		backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "no"})
		_ = backend.Flush()
		return
	}
	backend.Send(&pgproto3.AuthenticationOk{})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	_ = backend.Flush()
	_, _ = backend.Receive() // until the client leaves
}

func (g *gate) url() string { return "postgres://u:secret@" + g.Addr().String() + "/d?sslmode=disable" }

// withApps is a fixture whose Machines run the tenant app.
func withApps(t *testing.T) *fixture {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tenantapp")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/tenantapp").CombinedOutput()
	require.NoError(t, err, string(out))
	return fixtureWith(t, flyemulator.Options{TenantApp: path})
}

func (f *fixture) only() flyemulator.MachineState {
	f.t.Helper()
	state, _ := f.Inspect(f.t.Context(), "acme")
	require.Len(f.t, state.Machines, 1)
	return state.Machines[0]
}

func TestTheTenantAppLogsInWithWhatItsMachineBootedWith(t *testing.T) {
	f, before, after := withApps(t), newGate(t), newGate(t)
	f.secret(before.url())
	path := f.addMachine("started")
	eventually(t, func() bool { return f.only().App.Logins > 0 }, "it logs in")
	eventually(t, func() bool { return f.get(path).Checks[0].Status == "passing" }, "its health reaches the check")

	before.refuses.Store(true)
	f.secret(after.url())
	eventually(t, func() bool { return f.only().App.LastError == "28P01" }, "it keeps the old URL, and is refused")
	eventually(t, func() bool { return f.get(path).Checks[0].Status == "critical" }, "the check tells")
	sofar := f.only().AppTotal

	f.waitFor(path, "started", f.update(200, path, "").InstanceID)
	eventually(t, func() bool { return f.only().App.Logins > 0 }, "it logs in with the new URL")
	updated := f.only()
	require.Zero(t, updated.App.Failures)
	require.GreaterOrEqual(t, updated.AppTotal.Logins, sofar.Logins+1, "what earlier processes counted is kept")
	require.GreaterOrEqual(t, updated.AppTotal.Failures, sofar.Failures)

	f.call(200, "POST", path+"/stop", "")
	f.waitFor(path, "stopped", f.get(path).InstanceID)
	require.Zero(t, f.only().App.Logins, "no app runs on a stopped Machine")
}

func TestATenantAppThatRests(t *testing.T) {
	f, g := withApps(t), newGate(t)
	f.secret(g.url())
	_, err := f.AddMachine("acme", flyemulator.NewMachine{Config: []byte(`{"image":"busy","env":{"LOGIN_INTERVAL":"1ms"}}`)})
	require.NoError(t, err)
	rests := func() bool {
		before := f.only().App.Logins
		for range 100 {
			f.only()
		}
		return f.only().App.Logins == before
	}
	eventually(t, func() bool { return f.only().App.Logins > 0 }, "it logs in")
	require.False(t, rests(), "and again and again")
	require.True(t, f.Rest("acme"))
	eventually(t, rests, "it rests")
	require.Positive(t, f.only().App.Logins, "it still says what it has counted")
	require.False(t, f.Rest("unknown"))
}

func TestATenantAppThatCrashesOnABadURL(t *testing.T) {
	f := withApps(t)
	f.secret("not a URL")
	path := f.addMachine("started")
	f.call(200, "POST", path, `{"config":{"env":{"CRASH_ON_LOGIN_FAILURE":"true"},"restart":{"policy":"on-failure","max_retries":1}}}`)
	eventually(t, func() bool {
		m := f.get(path)
		return m.State == "stopped" && m.Events[1].Request != nil && m.Events[1].Request.RestartCount == 2
	}, "it is restarted once and then given up")
	eventually(t, func() bool { return f.only().AppTotal.Failures >= 2 }, "each of its two lives has failed, and what it counted is kept")
}
