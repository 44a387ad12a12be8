// Package endpoint calls the tenant credential endpoint (cmd/gateway): the requests of its contract, repeated where that is safe, and its answers,
// bounded and checked before anything of them is believed or shown.
package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"
)

// Options name the endpoint and the caller.
type Options struct {
	// Server is the endpoint's URL, such as https://credentials.example.com.
	Server string
	// Token is the caller's bearer token.
	Token string
	// Roots are the authorities that the server's certificate may be from; nil = the system's.
	Roots *x509.CertPool
	// Agent is the User-Agent.
	Agent string
	// Notice is told of each repetition; it may be nil.
	Notice func(string)
}

// Client calls one endpoint with one token.
type Client struct {
	base   *url.URL
	token  string
	agent  string
	http   *http.Client
	notice func(string)
	unit   time.Duration // a second; shorter in tests
}

// New checks the options; it does no I/O.
func New(o Options) (*Client, error) {
	base, err := parseServer(o.Server)
	if err != nil {
		return nil, err
	}
	if err := checkToken(o.Token); err != nil {
		return nil, err
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	sender := &http.Client{
		Transport: &http.Transport{
			Proxy: proxy, ForceAttemptHTTP2: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
		},
		// A redirect is an answer like any other: to follow it would take the token to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{base: base, token: o.Token, agent: o.Agent, http: sender, notice: o.Notice, unit: time.Second}, nil
}

// parseServer accepts https, and http to this computer: over a network the token would be sent in clear.
func parseServer(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#") ||
		(u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("the server must be a URL such as https://credentials.example.com")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("the server's URL is http, which sends the token in clear. To fix: write https")
	}
	return u, nil
}

// maxToken bounds a token; most servers accept no longer header.
const maxToken = 16 << 10

func checkToken(token string) error {
	switch {
	case token == "":
		return errors.New("the token is empty")
	case len(token) > maxToken:
		return errors.New("the token is longer than 16 KiB")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("the token has white space, or characters that no token has")
	}
	return nil
}

// proxy is the one that HTTPS_PROXY names. An http URL, which is of this computer, goes to its host directly.
func proxy(r *http.Request) (*url.URL, error) {
	if r.URL.Scheme != "https" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// Rotate is what is asked for.
type Rotate struct {
	// Key names the call, so that it can be repeated. It must be unique.
	Key         string
	Reason      string // "" = none
	Compromised bool
	Until       client.RotationRequestUntil
	// Wait is how long the endpoint itself waits before it answers "in progress"; 0 = not at all.
	Wait time.Duration
}

// State is how far a rotation is, and where to ask again.
type State struct {
	client.Rotation
	// Reached: the rotation has come as far as Rotate.Until says.
	Reached bool
	// Next is where to ask again.
	Next *url.URL
	// After is when to ask again; 0 = the endpoint did not say.
	After time.Duration
}

// Rotate asks for a rotation.
func (c *Client) Rotate(ctx context.Context, tenant string, r Rotate) (State, error) {
	in := client.RotationRequest{Until: &r.Until}
	if r.Reason != "" {
		in.Reason = &r.Reason
	}
	if r.Compromised {
		in.Compromised = &r.Compromised
	}
	prefer := "respond-async"
	if r.Wait > 0 {
		prefer = "wait=" + strconv.Itoa(int(r.Wait/time.Second))
	}
	a, err := c.call(ctx, request{
		method: http.MethodPost, url: c.tenant(tenant, "rotate-credentials"), body: in,
		header: map[string]string{"Idempotency-Key": r.Key, "Prefer": prefer},
	})
	if err != nil {
		return State{}, err
	}
	s, err := c.state(a)
	s.Reached = err == nil && a.status == http.StatusOK && s.Status == client.Rotated
	if a.header.Get("Location") == "" {
		s.Next = c.rotation(tenant, s.Revision)
	}
	return s, err
}

// Again asks how far a rotation is. Failures of the connection are repeated until ctx is over: it goes on meanwhile.
func (c *Client) Again(ctx context.Context, at *url.URL) (State, error) {
	a, err := c.call(ctx, request{method: http.MethodGet, url: at, patient: true})
	if err != nil {
		return State{}, err
	}
	return c.state(a)
}

// Rotation asks for one rotation of a tenant's.
func (c *Client) Rotation(ctx context.Context, tenant string, revision int64) (State, error) {
	a, err := c.call(ctx, request{method: http.MethodGet, url: c.rotation(tenant, revision)})
	if err != nil {
		return State{}, err
	}
	return c.state(a)
}

// ErrNone says that the tenant's credentials were never rotated.
var ErrNone = errors.New("the tenant has no rotation yet")

// Latest asks for a tenant's newest rotation.
func (c *Client) Latest(ctx context.Context, tenant string) (State, error) {
	a, err := c.call(ctx, request{method: http.MethodGet, url: c.tenant(tenant, "rotations")})
	if err != nil {
		return State{}, err
	}
	var list client.RotationList
	if err := json.Unmarshal(a.body, &list); err != nil || a.status != http.StatusOK {
		return State{}, a.stranger()
	}
	if len(list.Rotations) == 0 {
		return State{}, ErrNone
	}
	newest := list.Rotations[0]
	if !rotationIsWhole(newest) {
		return State{}, a.stranger()
	}
	return State{Rotation: newest, Next: c.rotation(tenant, newest.Revision)}, nil
}

// Access asks whether the tenant's logins are accepted from outside. While a change is followed, failures of the connection are repeated until ctx
// is over.
func (c *Client) Access(ctx context.Context, tenant string, following bool) (client.ExternalAccess, error) {
	return c.access(ctx, request{method: http.MethodGet, url: c.tenant(tenant, "external-db-access"), patient: following})
}

// SetAccess accepts the tenant's logins from outside, or ends that.
func (c *Client) SetAccess(ctx context.Context, tenant string, enabled bool) (client.ExternalAccess, error) {
	return c.access(ctx, request{
		method: http.MethodPost, url: c.tenant(tenant, "external-db-access"), body: client.ExternalAccessRequest{Enabled: enabled},
	})
}

func (c *Client) access(ctx context.Context, r request) (client.ExternalAccess, error) {
	a, err := c.call(ctx, r)
	if err != nil {
		return client.ExternalAccess{}, err
	}
	var out client.ExternalAccess
	if err := json.Unmarshal(a.body, &out); err != nil || !out.Status.Valid() {
		return client.ExternalAccess{}, a.stranger()
	}
	return out, nil
}

func (c *Client) tenant(id string, more ...string) *url.URL {
	return c.base.JoinPath(append([]string{"api/v1/tenants", id}, more...)...)
}

func (c *Client) rotation(tenant string, revision int64) *url.URL {
	return c.tenant(tenant, "rotations", strconv.FormatInt(revision, 10))
}

// state reads an answer that has a rotation, and where it says to ask next.
func (c *Client) state(a answer) (State, error) {
	var s State
	if err := json.Unmarshal(a.body, &s.Rotation); err != nil || !rotationIsWhole(s.Rotation) {
		return State{}, a.stranger()
	}
	s.Next, s.After = a.url, time.Duration(a.retryAfter())*c.unit
	if location := a.header.Get("Location"); location != "" {
		next, err := a.url.Parse(location)
		if err != nil || next.Scheme != c.base.Scheme || next.Host != c.base.Host { // the token goes nowhere else
			return State{}, &Unexpected{fact: "the endpoint says to ask again at another server, which would get the token. To fix: check --server"}
		}
		s.Next = next
	}
	return s, nil
}

// rotationIsWhole says whether the members that are required have been there.
func rotationIsWhole(r client.Rotation) bool {
	return r.Status.Valid() && r.Revision > 0 && r.InternalDatabaseURL != "" && (r.Machines == nil || r.Machines.Total >= 0 && r.Machines.Updated >= 0)
}
