// Package machines reads a variable out of a running Machine at Fly, with the user's own token.
//
// fly-go makes the requests, so that tokens and FLY_FLAPS_BASE_URL mean what they mean to it. Its client does not send them: it reads answers
// without a bound, follows redirects, and fails on a whole list for one Machine of a kind that it does not know.
package machines

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	flyapi "github.com/superfly/fly-go"
	"github.com/superfly/fly-go/flaps"
	"github.com/superfly/fly-go/tokens"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/network"
)

const (
	// maxList and maxMachines bound the list of an app's Machines, maxExec the answer of a command, maxError what is read of a refusal.
	maxList, maxMachines, maxExec, maxError = 64 << 20, 2000, 64 << 10, 8 << 10
	// mostAsked bounds how many Machines are asked, newest first.
	mostAsked = 5
	// execTimeout is how long the command may take, in seconds; callTimeout bounds a request.
	execTimeout, callTimeout = 10, 30 * time.Second
)

var (
	appName      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
	machineID    = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
)

// Client reads with one token. The zero value cannot be used.
type Client struct {
	requests *flaps.Client // makes requests; never sends one
	http     *http.Client
	// pause stands between two rounds of Machines that could not run a command just then.
	pause time.Duration
}

// New takes the token as FLY_API_TOKEN has it.
func New(token string) (*Client, error) {
	requests, err := flaps.NewWithOptions(context.Background(), flaps.NewClientOpts{Tokens: tokens.Parse(strings.TrimSpace(token))})
	if err != nil {
		return nil, errors.New("FLY_FLAPS_BASE_URL is not a URL")
	}
	sender := &http.Client{
		Timeout:       callTimeout,
		Transport:     &http.Transport{Proxy: proxy, ForceAttemptHTTP2: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{requests: requests, http: sender, pause: 2 * time.Second}, nil
}

// proxy is the one that HTTPS_PROXY names. An http URL goes to its host directly: a proxy would read the token and the answer.
func proxy(r *http.Request) (*url.URL, error) {
	if r.URL.Scheme != "https" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// Command is what a user types to read the variable by hand.
func Command(app, variable string) string {
	return fmt.Sprintf(`fly ssh console -a %s -C "printenv %s"`, app, variable)
}

// Check says why the names cannot be used in a request or a command. They are from the endpoint's answer.
func Check(app, variable string) error {
	if !appName.MatchString(app) || !variableName.MatchString(variable) {
		return errors.New("the endpoint's answer names no valid Fly app and variable")
	}
	return nil
}

// transient is a refusal by one Machine that may be over soon: another client holds its lease, or it is being replaced.
type transient struct{ error }

// Read returns the variable's value in the newest started Machine whose value is accepted.
func (c *Client) Read(ctx context.Context, app, variable string, accept func(string) error) error {
	if err := Check(app, variable); err != nil {
		return err
	}
	for round := 1; ; round++ {
		err := c.readOnce(ctx, app, variable, accept)
		if passing := (transient{}); round == 3 || !errors.As(err, &passing) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(c.pause):
		}
	}
}

func (c *Client) readOnce(ctx context.Context, app, variable string, accept func(string) error) error {
	started, err := c.started(ctx, app)
	if err != nil {
		return err
	}
	if len(started) == 0 {
		return fmt.Errorf("no Machine of the app %s is started. To fix: fly machine start -a %s", app, app)
	}
	for _, m := range started[:min(len(started), mostAsked)] {
		var value string
		if value, err = c.printenv(ctx, app, m.ID, variable); err == nil {
			if err = accept(value); err == nil {
				return nil
			}
			err = fmt.Errorf("%s in Machine %s: %w", variable, m.ID, err)
		}
	}
	return err
}

type machine struct {
	ID         string `json:"id"`
	State      string `json:"state"`
	InstanceID string `json:"instance_id"` // a ULID: a later one sorts after an earlier one
}

// started lists the started Machines, the newest instance first.
func (c *Client) started(ctx context.Context, app string) (list []machine, err error) {
	path := "/apps/" + app + "/machines"
	err = c.call(ctx, http.MethodGet, path, nil, func(body io.Reader) error {
		d := json.NewDecoder(io.LimitReader(body, maxList))
		if open, err := d.Token(); err != nil || open != json.Delim('[') {
			return errors.New("not a list")
		}
		for n := 0; d.More(); n++ {
			var m machine
			if err := d.Decode(&m); err != nil || n == maxMachines {
				return errors.New("not a list of Machines, or too long")
			}
			if m.State == flyapi.MachineStateStarted && machineID.MatchString(m.ID) {
				list = append(list, m)
			}
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b machine) int { return cmp.Compare(b.InstanceID, a.InstanceID) })
	return list, err
}

// printenv runs the command in a Machine. Neither the command nor its output is a secret's place but in this one answer.
func (c *Client) printenv(ctx context.Context, app, id, variable string) (string, error) {
	var out struct {
		ExitCode int    `json:"exit_code"`
		Stdout   string `json:"stdout"`
	}
	path := "/apps/" + app + "/machines/" + id + "/exec"
	in := &flyapi.MachineExecRequest{Cmd: "printenv " + variable, Timeout: execTimeout}
	err := c.call(ctx, http.MethodPost, path, in, func(body io.Reader) error {
		return json.NewDecoder(io.LimitReader(body, maxExec)).Decode(&out)
	})
	value := strings.TrimRight(out.Stdout, "\r\n")
	switch {
	case err != nil:
		return "", err
	case out.ExitCode == 1 || out.ExitCode == 0 && value == "": // printenv(1): 1 = the variable is not set
		return "", fmt.Errorf("%s is not set in Machine %s", variable, id)
	case out.ExitCode != 0:
		return "", fmt.Errorf("printenv cannot run in Machine %s (exit code %d)", id, out.ExitCode)
	}
	return value, nil
}

// call sends one request and has read take its answer. No text of an answer that was read is repeated in an error: it may be the value.
func (c *Client) call(ctx context.Context, method, path string, in any, read func(io.Reader) error) error {
	request, err := c.requests.NewRequest(ctx, method, path, in, nil)
	if err != nil {
		return errors.New("no request to Fly can be made with FLY_FLAPS_BASE_URL")
	}
	if err := crossesNoNetworkInClear(request.URL); err != nil {
		return err
	}
	what := method + " " + request.URL.Path
	response, err := c.http.Do(request)
	if err != nil {
		_, clause := network.Explain(err)
		return fmt.Errorf("Fly cannot be reached at %s: %s", request.URL.Host, cmp.Or(clause, "the connection failed or timed out"))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode/100 != 2 {
		return refusal(what, response)
	}
	if err := read(response.Body); err != nil {
		return fmt.Errorf("Fly sent an unexpected answer for %s", what)
	}
	return nil
}

func crossesNoNetworkInClear(u *url.URL) error {
	host := u.Hostname()
	ip := net.ParseIP(host)
	if u.Scheme == "https" || host == "localhost" || host == "_api.internal" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("FLY_FLAPS_BASE_URL is not https: the token would be sent in clear")
}

func refusal(what string, response *http.Response) error {
	fact := fmt.Sprintf("Fly returned HTTP %d for %s", response.StatusCode, what)
	var answer struct{ Error, Message string }
	_ = json.NewDecoder(io.LimitReader(response.Body, maxError)).Decode(&answer)
	if said := failure.Printable(cmp.Or(answer.Message, answer.Error), 200); said != "" {
		fact += ": " + said
	}
	switch status := response.StatusCode; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return errors.New(fact + ". To fix: set FLY_API_TOKEN to a token that may run commands in the app's Machines (fly tokens create deploy)")
	case status == http.StatusConflict || status == http.StatusPreconditionFailed || status == http.StatusTooManyRequests || status >= 500:
		return transient{errors.New(fact)}
	default:
		return errors.New(fact)
	}
}
