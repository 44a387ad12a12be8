package fly

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
)

const (
	token     = "FlyV1 fm2_c2VjcmV0LXRva2Vu"
	tokenPart = "c2VjcmV0"
	value     = "postgres://tenant:hunter2secret@db.internal/site"
	valuePart = "hunter2secret"
	variable  = "DATABASE_URL"
	app       = "acme"
	target    = "9007199254740993" // secrets version of the rollout
)

// The routes of Fly that the client calls.
const (
	getApp        = "GET /v1/apps/{app}"
	listMachines  = "GET /v1/apps/{app}/machines"
	getMachine    = "GET /v1/apps/{app}/machines/{id}"
	updateMachine = "POST /v1/apps/{app}/machines/{id}"
	takeLease     = "POST /v1/apps/{app}/machines/{id}/lease"
	giveLease     = "DELETE /v1/apps/{app}/machines/{id}/lease"
	setMetadata   = "PATCH /v1/apps/{app}/machines/{id}/metadata"
	listSecrets   = "GET /v1/apps/{app}/secrets"
	setSecrets    = "POST /v1/apps/{app}/secrets"
	graphQL       = "POST /graphql"
	createRelease = "POST /api/v1/releases"
	finishRelease = "PATCH /api/v1/releases/{id}"
)

// machine is a Machine that runs and has nothing unusual; more are further members.
func machine(id, more string) string {
	return fmt.Sprintf(`{"id":%q,"state":"started","instance_id":"01I%s","host_status":"ok","updated_at":"2026-01-01T00:00:00Z","config":{"metadata":{}}%s}`, id, id, more)
}

// honest are the answers of a Fly that means well.
var honest = map[string]http.HandlerFunc{
	getApp: func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"name":%q,"machine_count":1,"organization":{"slug":"ours"}}`, r.PathValue("app"))
	},
	listMachines:  say("[" + machine("m1", "") + "]"),
	getMachine:    func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, machine(r.PathValue("id"), "")) },
	updateMachine: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, machine(r.PathValue("id"), "")) },
	takeLease:     say(`{"status":"success","data":{"nonce":"n1","expires_at":1}}`),
	giveLease:     say(`{}`),
	setMetadata:   say(`{}`),
	listSecrets:   say(`{"secrets":[{"name":"DATABASE_URL","digest":"d1","updated_at":"2026-01-01T00:00:00Z"}]}`),
	setSecrets:    say(`{"secrets":[{"name":"DATABASE_URL","digest":"d1"}],"version":` + target + `}`),
	graphQL:       say(`{"data":{"app":{"releasesUnprocessed":{"nodes":[]}}}}`),
}

func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// hostile is a server that means well but for some routes.
type hostile struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func routes(bad map[string]http.HandlerFunc) *http.ServeMux {
	mux := http.NewServeMux()
	answers := maps.Clone(honest)
	maps.Copy(answers, bad)
	for route, answer := range answers {
		mux.HandleFunc(route, answer)
	}
	return mux
}

func newHostile(t *testing.T, bad map[string]http.HandlerFunc) *hostile {
	t.Helper()
	h := &hostile{}
	mux := routes(bad)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.requests = append(h.requests, r)
		h.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

// asked are the requests so far, as method and path.
func (h *hostile) asked() (lines []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.requests {
		lines = append(lines, r.Method+" "+r.URL.Path)
	}
	return lines
}

// call is one use of the client. A user can come to read what it returns.
type call func(context.Context, *fly.Client) (any, error)

var (
	rollout = fly.Rollout{App: fly.App{Name: app, MachineCount: 1}, Variable: variable, Revision: 7, SecretVersion: 9007199254740993}

	readApp    call = func(ctx context.Context, c *fly.Client) (any, error) { return c.App(ctx, app) }
	readDigest call = func(ctx context.Context, c *fly.Client) (any, error) { return c.SecretDigest(ctx, app, variable) }
	probe      call = func(ctx context.Context, c *fly.Client) (any, error) { return c.Probe(ctx, rollout.App, variable) }
	advance    call = func(ctx context.Context, c *fly.Client) (any, error) { return c.Advance(ctx, rollout) }
	instances  call = func(ctx context.Context, c *fly.Client) (any, error) { return c.Instances(ctx, rollout.App) }
	record     call = func(ctx context.Context, c *fly.Client) (any, error) {
		return c.RecordRelease(ctx, rollout, "Requested"), nil
	}
	// set gives up soon: while the outcome is unknown it sends again.
	set call = func(ctx context.Context, c *fly.Client) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
		defer cancel()
		return c.SetSecret(ctx, app, variable, credential.SecretOf(value))
	}
)

func open(t *testing.T, url string) *fly.Client {
	t.Helper()
	c, err := fly.Open(fly.Config{Token: credential.SecretOf(token), URL: url, Organization: "ours"})
	require.NoError(t, err)
	return c
}

// requireHarmless says that a text can stand in a condition, for any reader in any terminal.
func requireHarmless(t *testing.T, text string) {
	t.Helper()
	require.NotContains(t, text, tokenPart)
	require.NotContains(t, text, valuePart)
	require.Less(t, len(text), 2048)
	require.Equal(t, -1, strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
}

// refusal is the class and the reason of a failure.
type refusal struct {
	class  failure.Class
	reason failure.Reason
}

var (
	unreadable = refusal{failure.Retry, reasons.Unexpected}
	lost       = refusal{failure.Retry, reasons.ConnectionFailed}
	unknown    = refusal{failure.Unknown, reasons.OutcomeUnknown}
)

// attack is one answer, or several, and how it is refused; says is part of the failure.
type attack struct {
	name string
	bad  map[string]http.HandlerFunc
	call call
	want refusal
	says string
}

func run(t *testing.T, attacks []attack) {
	t.Helper()
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			got, err := a.call(t.Context(), open(t, newHostile(t, a.bad).URL))
			require.Error(t, err)
			require.Equal(t, a.want, refusal{failure.ClassOf(err), failure.ReasonOf(err)}, err.Error())
			require.Contains(t, err.Error(), a.says)
			requireHarmless(t, fmt.Sprintf("%+v %v", got, err))
		})
	}
}

// on is a server whose one route is hostile.
func on(route string, answer http.HandlerFunc) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{route: answer}
}

// briefly is a call that its caller gives up after a while.
func briefly(use call, after time.Duration) call {
	return func(ctx context.Context, c *fly.Client) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, after)
		defer cancel()
		return use(ctx, c)
	}
}
