package fly

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"
	"time"

	"github.com/superfly/fly-go/flaps"
	"github.com/superfly/fly-go/tokens"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

const (
	defaultURL = "https://api.machines.dev"
	userAgent  = "tenant-credential-operator"
)

// Client talks to the Machines API, and for releases to the GraphQL API, with one token. It is safe for concurrent use.
type Client struct {
	requests     *flaps.Client // builds requests; never sends one
	token        *tokens.Tokens
	http         *http.Client
	base         *url.URL
	organization string
	limits       *limits
	now          func() time.Time

	// running holds the Machines that were running when their first update of a roll-out was tried. An update that was cut
	// short may have stopped one, and it must not pass for one that nobody wanted to run.
	mu      sync.Mutex
	running map[attempt]bool
	// unwell holds, per app, the Machines that its last Probe found unwell.
	unwell map[string]map[string]bool
}

// attempt is the first update of one Machine in one roll-out.
type attempt struct {
	app, machine string
	revision     int64
}

// Open checks the token's shape and the URL; it does no I/O. What is wrong with either is failure Stall/AuthenticationFailed.
func Open(config Config) (*Client, error) {
	if problem := tokenProblem(config.Token); problem != "" {
		return nil, failure.New(failure.Stall, failure.AuthenticationFailed, "the Fly token "+problem)
	}
	base, err := baseURL(config.URL)
	if err != nil {
		return nil, err
	}
	token := tokens.Parse(config.Token)
	requests, err := flaps.NewWithOptions(context.Background(), flaps.NewClientOpts{Tokens: token})
	if err != nil { // an unusable FLY_FLAPS_BASE_URL in the environment
		return nil, failure.New(failure.Stall, failure.AuthenticationFailed, "FLY_FLAPS_BASE_URL is not a URL")
	}
	sender, err := newHTTPClient()
	if err != nil {
		return nil, err
	}
	return &Client{
		requests: requests, token: token, http: sender, base: base, organization: config.Organization,
		limits: newLimits(), now: time.Now, running: map[attempt]bool{}, unwell: map[string]map[string]bool{},
	}, nil
}

// baseURL accepts a scheme and a host: fly-go drops any path of a base URL, so one would be ignored in silence.
func baseURL(text string) (*url.URL, error) {
	if text == "" {
		text = defaultURL
	}
	base, err := url.Parse(text)
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") ||
		base.User != nil || base.RawQuery != "" || base.Fragment != "" || (base.Path != "" && base.Path != "/") {
		return nil, failure.New(failure.Stall, failure.AuthenticationFailed,
			"the Fly API URL must be a scheme and a host, such as "+defaultURL)
	}
	return base, nil
}

// newHTTPClient follows no redirect, which would carry a secret elsewhere, and retries nothing. The cookie jar holds Fly's
// affinity cookie, with which a read after a write reaches the same host.
func newHTTPClient() (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, failure.New(failure.Retry, failure.Unexpected, "no cookie jar for the Fly client")
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	return &http.Client{
		Transport:     transport,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
