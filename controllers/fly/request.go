package fly

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/superfly/fly-go/flaps"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

const readTimeout = 10 * time.Second

// request is one call of the Machines API, or of the platform's APIs.
type request struct {
	// action and id are what Fly counts its rates by, and what an error names; id is an app or a Machine.
	action, id string
	ofMachine  bool
	method     string
	// list: the answer is a list of Machines, and may be long.
	list bool
	// graphQL says with reads whether it changes something.
	graphQL, reads bool
	// rest is a call of releases by REST. Where Fly has no such call, the failure is errNoSuchCall.
	rest bool
	// path comes after /v1; that of graphQL and rest, after the host.
	path string
	// body is sent byte for byte; nil sends none.
	body    []byte
	nonce   string
	timeout time.Duration
}

// call names the request in a message: the method and the path, without a query. A call of GraphQL is named by its action, too.
func (r request) call() string {
	path, _, _ := strings.Cut(r.path, "?")
	switch {
	case r.path == "": // by either API
		return r.action + " of " + r.id
	case r.graphQL:
		return fmt.Sprintf("%s %s, %s of %s", r.method, path, r.action, r.id)
	case r.rest:
		return r.method + " " + path
	default:
		return r.method + " /v1" + path
	}
}

func (r request) mutates() bool { return r.method != http.MethodGet && !r.reads }

// call sends r once and decodes a 2xx answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, r request, out any) error {
	return c.exchange(ctx, r, func(a *answer) error {
		if out == nil {
			_, err := io.Copy(io.Discard, a)
			return err
		}
		return decode(a, out)
	})
}

// exchange sends r once and has the body of a 2xx answer read. It is a failure.Error that comes back.
func (c *Client) exchange(ctx context.Context, r request, read func(*answer) error) error {
	if !c.limits.wait(ctx, r.action, r.id) {
		return failure.New(failure.Retry, reasons.RateLimited, "the rate limit of Fly's API for "+r.call()+" is reached")
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	response, failed := c.send(ctx, r)
	if failed != nil {
		return failed
	}
	defer func() { _ = response.Body.Close() }() // everything that matters has been read
	a := &answer{body: response.Body, whole: maxAnswer, tooLong: errLongAnswer}
	if r.list {
		a.whole, a.tooLong = maxList, errLongList
	}
	if err := read(a); err != nil {
		return readFailure(r, a, err)
	}
	return nil
}

// send returns a 2xx answer that has not been read.
func (c *Client) send(ctx context.Context, r request) (*http.Response, *failure.Error) {
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	httpRequest, err := c.build(httptrace.WithClientTrace(ctx, trace), r)
	if err != nil {
		return nil, failure.New(failure.Retry, reasons.Unexpected, "the request "+r.call()+" cannot be built")
	}
	response, err := c.http.Do(httpRequest)
	if err != nil {
		return nil, transportFailure(r, sent.Load(), err)
	}
	if response.StatusCode == http.StatusTooManyRequests {
		c.limits.refused(r.action, r.id, retryAfter(response.Header.Get("Retry-After"), c.now()))
	}
	failed := statusFailure(r, response.StatusCode)
	if r.rest && lacksCall(response) {
		failed = errNoSuchCall
	}
	if response.StatusCode >= 200 && response.StatusCode <= 299 {
		failed = nil
		if encoded(response) {
			failed = boundFailure(r, errEncoded)
		}
	}
	if failed != nil {
		_ = response.Body.Close() // the error is known
		return nil, failed
	}
	return response, nil
}

// build takes path and authorization from fly-go. The body is set here: fly-go would marshal it anew, and change its bytes.
func (c *Client) build(ctx context.Context, r request) (*http.Request, error) {
	httpRequest, err := c.address(ctx, r)
	if err != nil {
		return nil, err
	}
	httpRequest.Header.Set("User-Agent", userAgent)
	if r.nonce != "" {
		httpRequest.Header.Set(flaps.NonceHeader, r.nonce)
	}
	if r.body != nil {
		httpRequest.Header.Set("Content-Type", "application/json")
		httpRequest.ContentLength = int64(len(r.body))
		// With GetBody net/http repeats a request of which no byte was written, and no other that mutates.
		httpRequest.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
		httpRequest.Body, _ = httpRequest.GetBody() // never fails
	}
	return httpRequest, nil
}

// address builds what a request is but for its body.
func (c *Client) address(ctx context.Context, r request) (*http.Request, error) {
	if r.graphQL || r.rest {
		return c.platformAddress(ctx, r)
	}
	httpRequest, err := c.requests.NewRequest(ctx, r.method, r.path, nil, nil)
	if err != nil {
		return nil, err
	}
	httpRequest.URL.Scheme, httpRequest.URL.Host = c.base.Scheme, c.base.Host
	httpRequest.Host = c.base.Host
	return httpRequest, nil
}

// platformAddress is address for what is not of the Machines API.
func (c *Client) platformAddress(ctx context.Context, r request) (*http.Request, error) {
	httpRequest, err := http.NewRequestWithContext(ctx, r.method, platformURL(c.base)+r.path, nil)
	if err != nil {
		return nil, err
	}
	authorization := c.token.GraphQLHeader()
	if r.rest { // the public CLI sends it in this way, macaroons too; whether FlyV1 will do is not established [?]
		authorization = "Bearer " + c.token.GraphQL()
	}
	httpRequest.Header.Set("Authorization", authorization)
	return httpRequest, nil
}

// retryAfter reads both forms of the header, seconds and an HTTP date; 0 = none.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(header); err == nil {
		return time.Duration(min(max(seconds, 0), 3600)) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(at.Sub(now), 0), time.Hour)
	}
	return 0
}
