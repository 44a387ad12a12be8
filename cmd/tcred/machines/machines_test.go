package machines

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

const (
	token    = "FlyV1 fm2_of-the-user"
	app      = "acme"
	variable = "DATABASE_URL"
)

// world is the emulator with the app and a client for it.
type world struct {
	*flyemulator.Emulator
	*Client
	t *testing.T
}

func newWorld(t *testing.T) *world {
	e := flyemulator.New(flyemulator.Options{})
	api := httptest.NewServer(e.API())
	t.Cleanup(func() { e.Close(); api.Close() })
	e.PutToken("fm2_of-the-user", flyemulator.Token{Organization: "o"})
	e.PutApp(app, "o", "")
	return &world{e, clientOf(t, api.URL), t}
}

func clientOf(t *testing.T, url string) *Client {
	t.Setenv("FLY_FLAPS_BASE_URL", url)
	c, err := New(token)
	require.NoError(t, err)
	c.pause = 10 * time.Millisecond
	return c
}

// machine adds one with a value of the variable.
func (w *world) machine(value, state string) string {
	w.PutSecret(app, variable, &value)
	id, err := w.AddMachine(app, flyemulator.NewMachine{State: state})
	require.NoError(w.t, err)
	time.Sleep(2 * time.Millisecond) // the next instance is a later one
	return id
}

// read returns the values that were offered, the last of them accepted.
func (w *world) read(accept ...string) (offered []string, err error) {
	err = w.Read(w.t.Context(), app, variable, func(value string) error {
		offered = append(offered, value)
		for _, a := range accept {
			if a == value {
				return nil
			}
		}
		return errors.New("not this one")
	})
	return offered, err
}

func TestTheNewestStartedMachineIsAsked(t *testing.T) {
	w := newWorld(t)
	w.machine("old", "started")
	w.machine("new", "started")
	stopped, suspended := w.machine("newest, stopped", "stopped"), w.machine("newest, suspended", "suspended")
	offered, err := w.read("new")
	require.NoError(t, err)
	require.Equal(t, []string{"new"}, offered)

	offered, err = w.read("old")
	require.NoError(t, err)
	require.Equal(t, []string{"new", "old"}, offered, "one that is not accepted is passed over")

	_, err = w.read()
	require.ErrorContains(t, err, "not this one")
	for _, r := range w.Requests() {
		require.NotContains(t, r.Path+r.Query, "new")
		require.NotContains(t, r.Path, stopped)
		require.NotContains(t, r.Path, suspended)
	}
}

func TestAtMostFiveMachinesAreAsked(t *testing.T) {
	w := newWorld(t)
	for range mostAsked + 2 {
		w.machine("x", "started")
	}
	offered, err := w.read()
	require.Error(t, err)
	require.Len(t, offered, mostAsked)
}

func TestThereIsNothingToRead(t *testing.T) {
	w := newWorld(t)
	_, err := w.read()
	require.EqualError(t, err, "no Machine of the app acme is started. To fix: fly machine start -a acme")
	id := w.machine("", "started")
	_, err = w.read()
	require.ErrorContains(t, err, "DATABASE_URL is not set in Machine "+id)
	w.DeleteApp(app)
	_, err = w.read()
	require.ErrorContains(t, err, "Fly returned HTTP 404 for GET /v1/apps/acme/machines")
}

func TestAMachineThatCannotRunACommandJustThenIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	id := w.machine("value", "started")
	require.True(t, w.HoldLease(app, id, "another", time.Hour))
	_, err := w.read("value")
	require.ErrorContains(t, err, "lease currently held by another")
	w.AdvanceClock(2 * time.Hour)
	_, err = w.AddFault(flyemulator.Fault{Route: "POST /v1/apps/{app}/machines/{id}/exec", Status: 500, Count: 2})
	require.NoError(t, err)
	_, err = w.read("value")
	require.NoError(t, err)
}

func TestATokenThatFlyRefuses(t *testing.T) {
	w := newWorld(t)
	w.machine("value", "started")
	w.DeleteToken("fm2_of-the-user")
	_, err := w.read("value")
	require.ErrorContains(t, err, "HTTP 401")
	require.ErrorContains(t, err, "To fix: set FLY_API_TOKEN")
	require.NotContains(t, err.Error(), "fm2_")
}

func TestNamesFromTheEndpointAreNoCommands(t *testing.T) {
	for _, names := range [][2]string{{"", "A"}, {"a", ""}, {"a/../b", "A"}, {"a", "A; cat /etc/passwd"}, {"a", "A B"}, {"-a", "A"}, {"a", "$(x)"}} {
		require.Error(t, Check(names[0], names[1]), names)
		require.Error(t, new(Client).Read(t.Context(), names[0], names[1], nil))
	}
}

// The attacks of a stranger that answers in Fly's place.
func TestAnswersThatAreNotOfFly(t *testing.T) {
	const list = `[{"id":"a1","state":"started","instance_id":"01"}]`
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for name, test := range map[string]struct{ list, exec, want string }{
		"not a list":      {`{"a":1}`, "", "unexpected answer for GET /v1/apps/acme/machines"},
		"no JSON":         {`s3cret`, "", "unexpected answer"},
		"an id of a path": {`[{"id":"../../x","state":"started"}]`, "", "no Machine of the app acme is started"},
		"too many":        {"[" + strings.Repeat(`{},`, maxMachines) + "{}]", "", "unexpected answer"},
		"a long value":    {list, `{"stdout":"` + strings.Repeat("s3cret", maxExec) + `"}`, "unexpected answer for POST /v1/apps/acme/machines/a1/exec"},
		"no value":        {list, `{"exit_code":0}`, "is not set"},
		"no such command": {list, `{"exit_code":127,"stdout":"s3cret"}`, "cannot run in Machine a1 (exit code 127)"},
		"a kind of today": {`[{"id":"a1","state":"started","config":{"guest":{"persist_rootfs":7}}}]`, `{"stdout":"value\n"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = fmt.Fprint(w, map[string]string{"GET": test.list, "POST": test.exec}[r.Method])
			}))
			defer server.Close()
			w := &world{nil, clientOf(t, server.URL), t}
			_, err := w.read("value")
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
	redirects := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer redirects.Close()
	_, err := (&world{nil, clientOf(t, redirects.URL), t}).read()
	require.ErrorContains(t, err, "HTTP 307")
}

func TestTheTokenCrossesNoNetworkInClear(t *testing.T) {
	for _, url := range []string{"http://example.com", "http://10.0.0.1", "ftp://localhost.example.com"} {
		_, err := (&world{nil, clientOf(t, url), t}).read()
		require.ErrorContains(t, err, "not https", url)
	}
	_, err := (&world{nil, clientOf(t, "http://127.0.0.1:1"), t}).read()
	require.ErrorContains(t, err, "Fly cannot be reached at 127.0.0.1:1: 127.0.0.1:1 refuses the connection")
}
