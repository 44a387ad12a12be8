package conformance

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

// These tests are about the suite itself: the conditions for running it on a user's app.

// answers is a target whose API answers with f, and whose clock notes what it is asked to sleep.
func answers(t *testing.T, f http.HandlerFunc) (g *target, slept *time.Duration) {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	slept = new(time.Duration)
	c, err := newClient(server.URL, "fm2_c2VjcmV0", clock{
		now:   func() time.Time { return time.Time{}.Add(*slept) },
		sleep: func(_ context.Context, d time.Duration) error { *slept += d; return nil },
	})
	require.NoError(t, err)
	return &target{client: c, app: "acme"}, slept
}

func TestAnAppThatHasMachinesIsLeftAlone(t *testing.T) {
	g, err := emulate(func(*flyemulator.Switches) {})
	require.NoError(t, err)
	defer g.close()
	require.NoError(t, g.mayUse(t.Context()))
	id, err := g.emulator.AddMachine(g.app, flyemulator.NewMachine{State: "stopped"})
	require.NoError(t, err)
	require.ErrorContains(t, g.mayUse(t.Context()), id)
	require.ErrorContains(t, g.leftNothing(t.Context()), "fly machine destroy --force")
}

func TestAWronglyEmptyListDoesNotPassForAnEmptyApp(t *testing.T) {
	g, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/machines") {
			_, _ = w.Write([]byte("[]"))
			return
		}
		_, _ = w.Write([]byte(`{"machine_count":3}`))
	})
	require.ErrorContains(t, g.mayUse(t.Context()), "3 counted")
}

func TestATokenAloneDoesNotLeadToFly(t *testing.T) {
	env := func(vars map[string]string) func(string) string {
		return func(name string) string { return vars[name] }
	}
	for _, vars := range []map[string]string{
		{}, {"FLY_API_TOKEN": "fm2_YQ==", "FLY_APP": "acme"}, {"FLY_CONFORMANCE": "1", "FLY_APP": "acme"},
	} {
		g, err := choose(env(vars))
		require.NoError(t, err)
		require.NotNil(t, g.emulator)
		g.close()
	}
	asked := map[string]string{"FLY_CONFORMANCE": "1", "FLY_API_TOKEN": "fm2_YQ=="}
	for _, app := range []string{"", "../other", "a?b"} {
		asked["FLY_APP"] = app
		_, err := choose(env(asked))
		require.ErrorContains(t, err, "FLY_APP")
	}
	asked["FLY_APP"] = "acme"
	g, err := choose(env(asked))
	require.NoError(t, err)
	require.Nil(t, g.emulator)
	require.Equal(t, "https://api.machines.dev", g.base)
	require.Equal(t, "FlyV1 fm2_YQ==", g.authorization)
}

func TestA429IsWaitedOut(t *testing.T) {
	calls := 0
	g, slept := answers(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls == 1 {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	a, err := g.send(t.Context(), request{method: "GET", path: "/v1/apps/acme"})
	require.NoError(t, err)
	require.Equal(t, 200, a.status)
	require.Equal(t, 7*time.Second, *slept)
	require.Equal(t, []string{"7"}, g.refused)
}

func TestTheRatesAreFlys(t *testing.T) {
	g, slept := answers(t, func(http.ResponseWriter, *http.Request) {})
	for _, test := range []struct {
		paths []string
		calls int
		takes time.Duration
	}{
		{[]string{"/v1/apps/acme/machines"}, 12, 10 * time.Second},
		{[]string{"/v1/apps/acme/machines/0123456789abcd"}, 18, 2 * time.Second},
		{[]string{"/v1/apps/acme/secrets/A", "/v1/apps/acme/secrets/B"}, 12, 10 * time.Second},
	} {
		before := *slept
		for i := range test.calls {
			_, err := g.send(t.Context(), request{method: "GET", path: test.paths[i%len(test.paths)]})
			require.NoError(t, err)
		}
		require.InDelta(t, test.takes, *slept-before, float64(time.Millisecond), test.paths)
	}
}

func TestNoMessageShowsATokenOrAValue(t *testing.T) {
	g, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = w.Write([]byte("you sent " + r.Header.Get("Authorization") + " and "))
		_ = http.NewResponseController(w).Flush()
		_, _ = r.Body.Read(make([]byte, 0))
		content := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(content)
		_, _ = w.Write(content)
	})
	var value string
	found := question{ask: func(f *fixture) string {
		value = f.newValue()
		f.call(200, request{method: "POST", path: f.path + "/secrets", body: members{"values": members{first: value}}})
		return "not reached"
	}}.answeredBy(t, g)
	require.Contains(t, found, "not established: POST /v1/apps/acme/secrets was answered with 422, not 200: you sent FlyV1 …")
	require.False(t, strings.Contains(found, value) || strings.Contains(found, "c2VjcmV0"))
}

// TestTheBootNote runs here what Machines run at Fly and the emulator does not: the note, and how it is read.
func TestTheBootNote(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "boot-$(cat /proc/sys/kernel/random/boot_id)")
	shell := func(script string, env ...string) string {
		command := exec.CommandContext(t.Context(), "sh", "-c", script)
		command.Env = append(os.Environ(), env...)
		out, err := command.CombinedOutput()
		require.NoError(t, err, string(out))
		return hashIn(string(out))
	}
	for _, value := range []string{`a b  c$HOME"\`, "again"} { // a second boot replaces the note of the first
		shell(noteBoot(directory), first+"="+value, "OTHER=1")
		require.Equal(t, hashOf(value), shell(readBoot(directory, first)))
		require.Equal(t, notSet, shell(readBoot(directory, second)))
		require.Equal(t, notSet, shell(readBoot(directory, "OTHER")))
	}
	require.Equal(t, hashOf("x"), shell(readExec(first), first+"=x"))
	require.Equal(t, notSet, shell(readExec(second)))
	require.NotContains(t, readBoot(bootDirectory, first)+readExec(first), "'", "exec quotes it with these")
}
