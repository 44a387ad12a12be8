package conformance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/superfly/fly-go/flaps"
	"github.com/superfly/fly-go/tokens"
	"golang.org/x/time/rate"
)

// callTimeout is above what Fly itself takes for the longest call, a wait of a minute.
const callTimeout = 90 * time.Second

// request is one call of the Machines API, of the GraphQL API, or of releases by REST.
type request struct {
	method, path  string // path comes after the host
	body          any    // sent as JSON; nil sends none
	nonce         string // of a lease
	authorization string // "" is that of the client's token
}

// answer is what came back, whole.
type answer struct {
	status int
	body   []byte
	header http.Header
}

func (a answer) ok() bool { return a.status >= 200 && a.status <= 299 }

// client sends each request once, as the operator does, within the rates that Fly documents, and with Fly's affinity cookie. Only a 429,
// which changes nothing, is sent again. It is for one goroutine.
type client struct {
	base, authorization string
	releases, ofUser    string // base and authorization of the GraphQL API
	bearer              string // authorization of releases by REST
	http                *http.Client
	clock               clock
	limits              map[string]*rate.Limiter
	hidden              []string // hidden in every message: the token, and every value of a secret
	refused             []string // the Retry-After of every 429
	emulated            bool     // the API says that it is the emulator
}

// clock is real time, or the emulator's, which need not be waited for.
type clock struct {
	now   func() time.Time
	sleep func(context.Context, time.Duration) error
}

func realClock() clock {
	return clock{now: time.Now, sleep: func(ctx context.Context, d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}}
}

func newClient(base, token string, c clock) (*client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	parsed := tokens.Parse(token)
	releases := strings.TrimSuffix(base, "/")
	if releases == "https://api.machines.dev" {
		releases = "https://api.fly.io"
	}
	return &client{
		releases: releases, ofUser: parsed.GraphQLHeader(), bearer: "Bearer " + parsed.GraphQL(),
		base: strings.TrimSuffix(base, "/"), authorization: parsed.FlapsHeader(), clock: c, limits: map[string]*rate.Limiter{},
		hidden: append(parsed.GetMacaroonTokens(), parsed.GetUserTokens()...),
		http: &http.Client{Timeout: callTimeout, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a secret must not be carried elsewhere
		}},
	}, nil
}

// send waits for the call's turn and makes it, again after a 429.
func (c *client) send(ctx context.Context, r request) (answer, error) {
	const tries = 5
	for try := 1; ; try++ {
		if err := c.clock.sleep(ctx, c.turn(r)); err != nil {
			return answer{}, err
		}
		a, err := c.once(ctx, r)
		if err != nil {
			return answer{}, fmt.Errorf("%s %s: %s", r.method, r.path, c.redact(err.Error()))
		}
		if a.status != http.StatusTooManyRequests || try == tries {
			return a, nil
		}
		header := a.header.Get("Retry-After")
		c.refused = append(c.refused, header)
		if err := c.clock.sleep(ctx, pause(header)); err != nil {
			return answer{}, err
		}
	}
}

// turn is how long a call has to wait for its turn. Fly allows 1 request a second with bursts of 3, and to get a Machine 5 with bursts of
// 10. The bursts here are smaller, because calls can arrive closer to each other than they were sent.
func (c *client) turn(r request) time.Duration {
	key := action(r)
	limiter, known := c.limits[key]
	if !known {
		limiter = rate.NewLimiter(1, 2)
		if getsMachine.MatchString(key) {
			limiter = rate.NewLimiter(5, 8)
		}
		c.limits[key] = limiter
	}
	now := c.clock.now()
	return limiter.ReserveN(now, 1).DelayFrom(now)
}

var (
	getsMachine = regexp.MustCompile(`^GET /v1/apps/[^/]+/machines/[^/]+$`)
	ofOneKey    = regexp.MustCompile(`/(secrets|metadata)/.*`)
)

// action is what Fly counts by: the action with the app or the Machine. All names of secrets count as one, to be on the safe side.
func action(r request) string {
	path, _, _ := strings.Cut(r.path, "?")
	return r.method + " " + ofOneKey.ReplaceAllString(path, "/$1")
}

// pause is what a Retry-After asks for, but no less than the second that Fly's rates amount to.
func pause(header string) time.Duration {
	seconds, _ := strconv.Atoi(header) // a date, or none, is a second
	return time.Duration(min(max(seconds, 1), 60)) * time.Second
}

func (c *client) once(ctx context.Context, r request) (answer, error) {
	var body io.Reader
	if r.body != nil {
		content, err := json.Marshal(r.body)
		if err != nil {
			return answer{}, err
		}
		body = bytes.NewReader(content)
	}
	base, authorization := c.base, c.authorization
	switch {
	case r.path == "/graphql":
		base, authorization = c.releases, c.ofUser
	case strings.HasPrefix(r.path, restReleases):
		base, authorization = c.releases, c.bearer
	}
	out, err := http.NewRequestWithContext(ctx, r.method, base+r.path, body)
	if err != nil {
		return answer{}, err
	}
	out.Header.Set("Content-Type", "application/json")
	out.Header.Set("User-Agent", "tenant-credential-operator-conformance")
	out.Header.Set("Authorization", cmp.Or(r.authorization, authorization))
	if r.authorization == anonymous {
		out.Header.Del("Authorization")
	}
	if r.nonce != "" {
		out.Header.Set(flaps.NonceHeader, r.nonce)
	}
	in, err := c.http.Do(out)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = in.Body.Close() }()
	c.recognize(in)
	content, err := io.ReadAll(io.LimitReader(in.Body, 16<<20))
	return answer{in.StatusCode, content, in.Header}, err
}

// anonymous in a request sends no token at all.
const anonymous = "none"

// recognize looks at the affinity cookie: Fly's names a host, the emulator's says what it is.
func (c *client) recognize(in *http.Response) {
	for _, cookie := range in.Cookies() {
		if cookie.Name == "fly_flaps_affinity" && cookie.Value == "emulator" {
			c.emulated = true
		}
	}
}

// redact takes every hidden text out of a message.
func (c *client) redact(text string) string {
	for _, value := range c.hidden {
		if value != "" {
			text = strings.ReplaceAll(text, value, "…")
		}
	}
	return text
}
