package flyemulator_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

const (
	token   = "fm2_org-token"
	appPath = "/v1/apps/acme"
)

// fixture is an emulator with the app acme of organization o, and a token for it.
type fixture struct {
	*flyemulator.Emulator
	t     *testing.T
	api   *httptest.Server
	admin *httptest.Server
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return fixtureWith(t, flyemulator.Options{})
}

func fixtureWith(t *testing.T, o flyemulator.Options) *fixture {
	t.Helper()
	e := flyemulator.New(o)
	f := &fixture{Emulator: e, t: t, api: httptest.NewServer(e.API()), admin: httptest.NewServer(e.Admin())}
	t.Cleanup(func() {
		e.Close()
		f.api.Close()
		f.admin.Close()
	})
	e.PutToken(token, flyemulator.Token{Organization: "o"})
	e.PutApp("acme", "o", "")
	e.SetSwitches(func(s *flyemulator.Switches) { s.TransitionMS = 0 })
	return f
}

// reply is an answer, read whole.
type reply struct {
	t      *testing.T
	status int
	body   string
	header http.Header
}

func (r reply) decode(out any) {
	r.t.Helper()
	require.NoError(r.t, json.Unmarshal([]byte(r.body), out), r.body)
}

// try sends a request with a JSON text as body, and headers as "Name: value".
func (f *fixture) try(base, method, path, body string, headers ...string) (reply, error) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, base+path, strings.NewReader(body))
	require.NoError(f.t, err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header.Set(name, value)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return reply{}, err
	}
	defer func() { require.NoError(f.t, response.Body.Close()) }()
	var text bytes.Buffer
	if _, err := io.Copy(&text, response.Body); err != nil {
		return reply{}, err
	}
	return reply{f.t, response.StatusCode, text.String(), response.Header}, nil
}

// call sends an authenticated request to the Fly API and expects a status.
func (f *fixture) call(want int, method, path, body string, headers ...string) reply {
	f.t.Helper()
	r, err := f.try(f.api.URL, method, path, body, append([]string{"Authorization: FlyV1 " + token}, headers...)...)
	require.NoError(f.t, err)
	require.Equal(f.t, want, r.status, "%s %s: %s", method, path, r.body)
	return r
}

// arrange sends a request to the admin API and expects a status.
func (f *fixture) arrange(want int, method, path, body string) reply {
	f.t.Helper()
	r, err := f.try(f.admin.URL, method, path, body)
	require.NoError(f.t, err)
	require.Equal(f.t, want, r.status, "%s %s: %s", method, path, r.body)
	return r
}

func (f *fixture) set(change func(*flyemulator.Switches)) { f.SetSwitches(change) }

// secret sets DATABASE_URL and returns its version.
func (f *fixture) secret(value string) uint64 {
	f.t.Helper()
	var out struct{ Version uint64 }
	f.call(200, "POST", appPath+"/secrets", `{"values":{"DATABASE_URL":"`+value+`"}}`).decode(&out)
	return out.Version
}

// addMachine adds a Machine in a state and returns its path below the API.
func (f *fixture) addMachine(state string) string {
	f.t.Helper()
	id, err := f.AddMachine("acme", flyemulator.NewMachine{State: state})
	require.NoError(f.t, err)
	return appPath + "/machines/" + id
}

// machine is what tests read of a Machine.
type machine struct {
	ID         string `json:"id"`
	State      string
	InstanceID string          `json:"instance_id"`
	Config     json.RawMessage `json:"config"`
	Incomplete json.RawMessage `json:"incomplete_config"`
	HostStatus string          `json:"host_status"`
	Cordoned   bool
	Nonce      string
	Checks     []struct{ Name, Status string }
	Events     []struct {
		Type, Status string
		Request      *struct {
			RestartCount int `json:"restart_count"`
		}
	}
}

func (f *fixture) get(path string) (m machine) {
	f.t.Helper()
	f.call(200, "GET", path, "").decode(&m)
	return m
}

// update sends the Machine's own config back, with more members in the body.
func (f *fixture) update(want int, path, more string, headers ...string) (m machine) {
	f.t.Helper()
	r := f.call(want, "POST", path, `{"config":`+string(f.get(path).Config)+more+`}`, headers...)
	if want == 200 {
		r.decode(&m)
	}
	return m
}

func (f *fixture) waitFor(path, state, version string) {
	f.t.Helper()
	f.call(200, "GET", path+"/wait?timeout=10&state="+state+"&version="+version, "")
}

// env is what the only Machine of acme booted with.
func (f *fixture) env() map[string]string {
	f.t.Helper()
	state, exists := f.Inspect(f.t.Context(), "acme")
	require.True(f.t, exists)
	require.Len(f.t, state.Machines, 1)
	return state.Machines[0].Env
}

func (f *fixture) lease(path string, ttl string) string {
	f.t.Helper()
	var out struct{ Data struct{ Nonce string } }
	f.call(201, "POST", path+"/lease?ttl="+ttl, "").decode(&out)
	return out.Data.Nonce
}

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, 20*time.Second, 10*time.Millisecond, what)
}
