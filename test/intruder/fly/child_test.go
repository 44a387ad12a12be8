package fly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
)

// The child is the client in a process of its own, so that its memory and environment are its own.
const (
	childKey    = "INTRUDER_FLY_CHILD" // which of the uses below
	urlKey      = "INTRUDER_FLY_URL"
	insecureKey = "INTRUDER_FLY_INSECURE"
)

// childTime is enough for the peak of what is still sent then.
const childTime = 4 * time.Second

// workers are as many as the manager has.
const workers = 16

// uses are what a child does, in each of its workers, with an app of the worker's own.
var uses = map[string]func(context.Context, *fly.Client, string) error{
	"app": func(ctx context.Context, c *fly.Client, app string) error {
		_, err := c.App(ctx, app)
		return err
	},
	"digest": func(ctx context.Context, c *fly.Client, app string) error {
		_, err := c.SecretDigest(ctx, app, variable)
		return err
	},
	"set": func(ctx context.Context, c *fly.Client, app string) error {
		_, err := c.SetSecret(ctx, app, variable, credential.SecretOf(value))
		return err
	},
	"probe": func(ctx context.Context, c *fly.Client, app string) error {
		_, err := c.Probe(ctx, fly.App{Name: app}, variable)
		return err
	},
	"advance": func(ctx context.Context, c *fly.Client, app string) error {
		for ctx.Err() == nil {
			_, err := c.Advance(ctx, fly.Rollout{App: fly.App{Name: app}, Variable: variable, Revision: 7, SecretVersion: 9007199254740993})
			if err != nil && failure.ReasonOf(err) != reasons.RateLimited {
				return err
			}
		}
		return nil
	},
	"record": func(ctx context.Context, c *fly.Client, app string) error {
		return errors.New(c.RecordRelease(ctx, fly.Rollout{App: fly.App{Name: app}, Variable: variable, Revision: 7}, "Requested"))
	},
}

// report is what a child says of itself.
type report struct {
	PeakKiB int
	Errors  []string
	Classes []failure.Class
}

func child() int {
	use := uses[os.Getenv(childKey)]
	c, err := fly.Open(fly.Config{Token: credential.SecretOf(token), URL: os.Getenv(urlKey), Insecure: os.Getenv(insecureKey) != ""})
	if err != nil || use == nil {
		fmt.Println(err)
		return 1
	}
	r := report{Errors: make([]string, workers), Classes: make([]failure.Class, workers)}
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), childTime)
			defer cancel()
			if err := use(ctx, c, fmt.Sprint("app-", i)); err != nil {
				r.Errors[i], r.Classes[i] = err.Error(), failure.ClassOf(err)
			}
		})
	}
	all.Wait()
	status, _ := os.ReadFile("/proc/self/status")
	if peak := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status); peak != nil {
		r.PeakKiB, _ = strconv.Atoi(string(peak[1]))
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 1
	}
	return 0
}

// startChild runs a child to its end. It inherits nothing that would bound its memory or name a proxy.
func startChild(t *testing.T, use, url string, environment ...string) report {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append([]string{childKey + "=" + use, urlKey + "=" + url}, environment...)
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%.2000s", output)
	var r report
	require.NoError(t, json.Unmarshal(output, &r), "%.2000s", output)
	require.NotZero(t, r.PeakKiB)
	for _, text := range r.Errors {
		requireHarmless(t, text)
	}
	return r
}
