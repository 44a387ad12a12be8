package fly

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/superfly/fly-go/flaps"
	"github.com/superfly/fly-go/tokens"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/network"
)

const (
	defaultURL = "https://api.machines.dev"
	userAgent  = "tenant-credential-operator"
)

// Client talks to the Machines API, and for releases to the platform's REST and GraphQL APIs, with one token. It is safe for concurrent use.
type Client struct {
	requests     *flaps.Client // builds requests; never sends one
	token        *tokens.Tokens
	http         *http.Client
	base         *url.URL
	organization string
	limits       *limits
	now          func() time.Time

	// running holds the Machines that were running when their first update of a rollout was tried. An update that was cut
	// short may have stopped one, and it must not pass for one that the user did not want to run.
	mu      sync.Mutex
	running map[string]map[attempt]bool // by app
	// unwell holds, per app, the Machines that its last Probe found unwell.
	unwell map[string]map[string]bool

	// changes has room for the Machines that are changed at once: each is held with its config.
	changes chan struct{}
}

// maxChanges bounds how many Machines a client changes at once, of all apps together. flyctl's bound is 8 for one app
// (https://fly.io/docs/flyctl/deploy/, --max-concurrent).
const maxChanges = 16

// attempt is the first update of one Machine in one rollout.
type attempt struct {
	machine  string
	revision int64
}

// Open checks the token's shape and the URL; it does no I/O. A fault of either is failure Stall/AuthenticationFailed.
func Open(config Config) (*Client, error) {
	if problem := tokenProblem(config.Token.Reveal()); problem != "" {
		return nil, failure.New(failure.Stall, reasons.AuthenticationFailed, "the Fly token "+problem)
	}
	base, err := baseURL(config.URL, config.Insecure)
	if err != nil {
		return nil, err
	}
	token := tokens.Parse(config.Token.Reveal())
	requests, err := flaps.NewWithOptions(context.Background(), flaps.NewClientOpts{Tokens: token})
	if err != nil { // an unusable FLY_FLAPS_BASE_URL in the environment
		return nil, failure.New(failure.Stall, reasons.AuthenticationFailed, "FLY_FLAPS_BASE_URL is not a URL")
	}
	roots, err := network.Roots(config.CA)
	if err != nil {
		return nil, err
	}
	sender, err := newHTTPClient(roots)
	if err != nil {
		return nil, err
	}
	return &Client{
		requests: requests, token: token, http: sender, base: base, organization: config.Organization,
		limits: newLimits(), now: time.Now,
		running: map[string]map[attempt]bool{}, unwell: map[string]map[string]bool{}, changes: make(chan struct{}, maxChanges),
	}, nil
}

// baseURL accepts a scheme and a host: fly-go drops any path of a base URL, so one would be ignored in silence. With http the
// token and every secret cross the network in clear.
func baseURL(text string, insecure bool) (*url.URL, error) {
	if text == "" {
		text = defaultURL
	}
	base, err := url.Parse(text)
	if err != nil || base.Hostname() == "" || base.Opaque != "" || (base.Scheme != "https" && base.Scheme != "http") ||
		base.User != nil || base.RawQuery != "" || base.ForceQuery || strings.Contains(text, "#") || (base.Path != "" && base.Path != "/") {
		return nil, failure.New(failure.Stall, reasons.AuthenticationFailed,
			"the Fly API URL must be a scheme and a host, such as "+defaultURL)
	}
	base.Host = strings.TrimSuffix(base.Host, ":") // an empty port is none
	if base.Scheme == "http" && !insecure && !private(base.Hostname()) {
		return nil, failure.New(failure.Stall, reasons.AuthenticationFailed,
			"the Fly API URL is http, which sends the token and every secret in clear. To fix: write https, or allow it with insecure")
	}
	return base, nil
}

// privateHost is Fly's own address of the Machines API within an organization's private network, which is encrypted (WireGuard).
const privateHost = "_api.internal"

// private says whether a host is reached without crossing a network in clear.
func private(host string) bool {
	if host = strings.ToLower(host); host == "localhost" || host == privateHost {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
