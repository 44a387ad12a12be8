package endpoint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/network"
)

const (
	// maxAnswer bounds an answer; the endpoint's are a few KiB.
	maxAnswer = 1 << 20
	// attemptTimeout bounds one request. The endpoint waits 25 s at most.
	attemptTimeout = 40 * time.Second
	// mostFailures is how often a connection may fail in one call, but for a patient one.
	mostFailures = 5
)

// request is a call that may be repeated: a rotation by its key, the others by their nature.
type request struct {
	method string
	url    *url.URL
	body   any // nil = none
	header map[string]string
	// patient: a connection that fails is tried again until the time is over.
	patient bool
}

// call sends a request until there is an answer to keep, or the time is over.
func (c *Client) call(ctx context.Context, r request) (answer, error) {
	t := tries{patient: r.patient}
	for {
		a, err := c.once(ctx, r)
		seconds, again := t.next(a, err)
		wait := time.Duration(seconds) * c.unit
		if !again || !r.patient && tooLate(ctx, wait) || !c.pause(ctx, wait, err) {
			return a, t.end(err)
		}
	}
}

// tries is what is known of the attempts of one call.
type tries struct {
	patient  bool
	failures int
	// sent: the endpoint may have received an attempt that it has not answered.
	sent bool
}

// next says whether to send the request once more, and after how many seconds.
func (t *tries) next(a answer, err error) (seconds int, again bool) {
	if err == nil {
		return 0, false
	}
	if isBusy(err) {
		const unsaid = 5 // the contract has Retry-After in these answers
		return cmp.Or(a.retryAfter(), unsaid), true
	}
	var lost *Unreachable
	var other *Unexpected
	switch {
	case errors.As(err, &lost):
		t.sent = t.sent || lost.sent
		again = !lost.final
	case errors.As(err, &other):
		again = other.passing
	}
	t.failures++
	return 1 << min(t.failures-1, 3), again && (t.patient || t.failures < mostFailures)
}

// end is the error of the whole call, given that of its last attempt.
func (t *tries) end(err error) error {
	var lost *Unreachable
	var other *Unexpected
	if t.sent && (isBusy(err) || errors.As(err, &lost) || errors.As(err, &other) && other.passing) {
		return &Unknown{err}
	}
	return err
}

// isBusy: the endpoint did nothing, and says when to repeat the call.
func isBusy(err error) bool {
	refused, is := errors.AsType[*Refusal](err)
	return is && (refused.Status == http.StatusTooManyRequests || refused.Status == http.StatusServiceUnavailable)
}

// tooLate: the time will be over before that.
func tooLate(ctx context.Context, wait time.Duration) bool {
	deadline, is := ctx.Deadline()
	return is && time.Until(deadline) < wait
}

// pause waits, unless the time is over.
func (c *Client) pause(ctx context.Context, wait time.Duration, why error) bool {
	if ctx.Err() != nil {
		return false
	}
	c.notice(fmt.Sprintf("%s. Retrying in %v.", strings.TrimSuffix(why.Error(), "."), wait))
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

// once sends a request once and reads its answer to the end. The error says that there is none, or that it is not what was asked for.
func (c *Client) once(ctx context.Context, r request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	connected := false
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	request, err := c.request(ctx, r)
	if err != nil {
		return answer{}, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, c.lost(ctx, err, connected)
	}
	defer func() { _ = response.Body.Close() }()
	a := answer{url: r.url, status: response.StatusCode, header: response.Header}
	if a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1)); err != nil {
		return a, c.lost(ctx, err, true)
	}
	a.body = bytes.ReplaceAll(a.body, []byte(c.token), []byte("[token]")) // an answer that repeats it is not shown with it
	return a, a.check()
}

func (c *Client) request(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), body)
	if err != nil {
		return nil, errors.New("the server's URL cannot be used")
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json, application/problem+json")
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("User-Agent", c.agent)
	for name, value := range r.header {
		request.Header.Set(name, value)
	}
	return request, nil
}

// lost explains an attempt without an answer.
func (c *Client) lost(ctx context.Context, err error, connected bool) *Unreachable {
	reason, clause := network.Explain(err)
	u := &Unreachable{sent: connected}
	switch reason {
	case reasons.CertificateUntrusted:
		u.final = true
		clause += ". To fix: give the authority's certificate with --ca-file"
	case reasons.CertificateMismatch, reasons.CertificateInvalid, reasons.HostNotFound:
		u.final = true
	}
	switch {
	case ctx.Err() != nil:
		clause = "it did not answer in time"
	case connected:
		clause = cmp.Or(clause, "the connection was cut")
	}
	u.fact = fmt.Sprintf("%s cannot be reached: %s", c.base.Host, cmp.Or(clause, "no connection could be made"))
	return u
}
