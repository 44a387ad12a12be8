package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"testing"
	"time"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

// target is what the tests run against: an app at Fly, or one of an emulator.
type target struct {
	*client
	app, image string
	name       string                // for people
	emulator   *flyemulator.Emulator // nil: it runs elsewhere, or is Fly
	close      func()
}

// fly is the target of this run.
var fly *target

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if fly, err = choose(os.Getenv); err == nil {
		err = fly.mayUse(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fly-conformance:", err)
		return 1
	}
	defer fly.close()
	code := m.Run()
	if err := errors.Join(fly.leftNothing(context.Background()), report()); err != nil {
		fmt.Fprintln(os.Stderr, "fly-conformance:", err)
		return 1
	}
	return code
}

// choose takes the emulator, unless the run was asked for (make fly-conformance) and has a token: a token that merely stands in the
// environment of go test must not lead to Fly.
func choose(env func(string) string) (*target, error) {
	token := env("FLY_API_TOKEN")
	if env("FLY_CONFORMANCE") == "" || token == "" {
		return emulate(func(*flyemulator.Switches) {})
	}
	app := env("FLY_APP")
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`).MatchString(app) {
		return nil, errors.New("FLY_APP must name an existing throwaway app, whose Machines and secrets the tests may create and destroy")
	}
	base := "https://api.machines.dev"
	for _, name := range []string{"FLY_API_BASE_URL", "FLY_FLAPS_BASE_URL"} { // the latter is what Fly's own tools read
		if env(name) != "" {
			base = env(name)
		}
	}
	c, err := newClient(base, token, realClock())
	if err != nil {
		return nil, err
	}
	image := "registry-1.docker.io/library/alpine:3"
	if env("FLY_CONFORMANCE_IMAGE") != "" {
		image = env("FLY_CONFORMANCE_IMAGE")
	}
	return &target{client: c, app: app, image: image, name: base, close: func() {}}, nil
}

// emulate starts an emulator of its own that enforces Fly's rates. Its clock goes ahead instead of being waited for.
func emulate(change func(*flyemulator.Switches)) (*target, error) {
	e := flyemulator.New(flyemulator.Options{})
	e.PutToken("fm2_Y29uZm9ybWFuY2U=", flyemulator.Token{Organization: "o"})
	e.PutApp("throwaway", "o", "")
	e.SetSwitches(func(s *flyemulator.Switches) {
		s.RateLimits, s.RetryAfter, s.TransitionMS = true, true, 5
		change(s)
	})
	server := httptest.NewServer(e.API())
	var ahead time.Duration
	c, err := newClient(server.URL, "fm2_Y29uZm9ybWFuY2U=", clock{
		now: func() time.Time { return time.Now().Add(ahead) },
		sleep: func(ctx context.Context, d time.Duration) error {
			ahead += d
			e.AdvanceClock(d)
			return ctx.Err()
		},
	})
	return &target{client: c, app: "throwaway", image: "none", name: "the emulator", emulator: e, close: func() {
		e.Close()
		server.Close()
	}}, err
}

// mayUse refuses an app that is in use: a user who names one by mistake must not lose a Machine or get a secret.
func (g *target) mayUse(ctx context.Context) error {
	ids, counted, err := g.machines(ctx)
	if err != nil {
		return err
	}
	if counted > 0 || len(ids) > 0 {
		return fmt.Errorf("app %s has Machines (%d counted, %v listed) and is left alone. Make an app for this alone (fly apps create), "+
			"or destroy what an earlier run has left (fly machine destroy --force <id> -a %s)", g.app, counted, ids, g.app)
	}
	return nil
}

// leftNothing tells of Machines that the run has left, and whether it has kept to Fly's rates as the emulator counts them.
func (g *target) leftNothing(ctx context.Context) error {
	ids, _, err := g.machines(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("look for Machines that are left in app %s: %w", g.app, err)
	case len(ids) > 0:
		return fmt.Errorf("app %s still has the Machines %v: fly machine destroy --force <id> -a %s", g.app, ids, g.app)
	case g.emulator != nil && len(g.refused) > 0:
		return fmt.Errorf("the emulator has refused %d calls for their rate", len(g.refused))
	}
	return nil
}

// machines are the IDs that Fly lists, and how many it counts.
func (g *target) machines(ctx context.Context) (ids []string, counted int, err error) {
	var list []view
	var app struct {
		Count int `json:"machine_count"`
	}
	if err := g.read(ctx, "/v1/apps/"+g.app, &app); err != nil {
		return nil, 0, err
	}
	err = g.read(ctx, "/v1/apps/"+g.app+"/machines", &list)
	for _, m := range list {
		if m.State != "destroying" && m.State != "destroyed" { // it takes Fly a moment
			ids = append(ids, m.ID)
		}
	}
	return ids, app.Count, err
}

func (g *target) read(ctx context.Context, path string, into any) error {
	a, err := g.send(ctx, request{method: "GET", path: path})
	if err != nil {
		return err
	}
	if !a.ok() {
		return fmt.Errorf("GET %s: %d %s", path, a.status, g.redact(string(a.body)))
	}
	return json.Unmarshal(a.body, into)
}
