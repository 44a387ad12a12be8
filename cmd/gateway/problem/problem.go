// Package problem holds the endpoint's refusals: a problem of RFC 9457, with the member error that the endpoint's callers parse.
package problem

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
)

// Problem is a refusal. It is an error, so that a handler can return it from anywhere.
type Problem struct {
	Status int
	Code   openapi.ProblemErrorCode
	Detail string
	// RetryAfter is when the call may be repeated; 0 = the answer does not say.
	RetryAfter time.Duration
	// Challenge is the header WWW-Authenticate; "" = none.
	Challenge string
	// Allow is the header Allow; "" = none.
	Allow string
}

// New is a refusal with a status, a code and a sentence for people.
func New(status int, code openapi.ProblemErrorCode, format string, arguments ...any) *Problem {
	return &Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, arguments...)}
}

// Unavailable is a refusal because something that the endpoint needs does not answer.
func Unavailable(format string, arguments ...any) *Problem {
	return New(http.StatusServiceUnavailable, openapi.Unavailable, format, arguments...).After(5 * time.Second)
}

// After says when the call may be repeated.
func (p *Problem) After(wait time.Duration) *Problem {
	p.RetryAfter = wait
	return p
}

func (p *Problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Detail) }

// Write answers with the problem.
func (p *Problem) Write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	if p.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(Seconds(p.RetryAfter)))
	}
	if p.Challenge != "" {
		header.Set("WWW-Authenticate", p.Challenge)
	}
	if p.Allow != "" {
		header.Set("Allow", p.Allow)
	}
	body := openapi.Problem{Type: "about:blank", Title: http.StatusText(p.Status), Status: p.Status, Detail: p.Detail}
	body.Error.Code, body.Error.Message = p.Code, p.Detail
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}

// Seconds is a header's whole seconds, rounded up: 1 at least.
func Seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }
