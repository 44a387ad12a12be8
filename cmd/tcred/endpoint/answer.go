package endpoint

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// maxText bounds what is shown of a text of the endpoint's.
const maxText = 1000

type answer struct {
	url    *url.URL
	status int
	header http.Header
	body   []byte
}

// check returns nil for an answer of the contract that says yes, a Refusal for one that says no, and Unexpected for any other.
func (a answer) check() error {
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	switch {
	case len(a.body) > maxAnswer:
		return &Unexpected{fact: "the answer is longer than 1 MiB"}
	case (a.status == http.StatusOK || a.status == http.StatusAccepted) && kind == "application/json":
		return nil
	case a.status >= 400 && kind == "application/problem+json":
		return a.problem()
	default:
		return a.stranger()
	}
}

var errorCode = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

func (a answer) problem() error {
	var p client.Problem
	if json.Unmarshal(a.body, &p) != nil || !errorCode.MatchString(string(p.Error.Code)) || strings.TrimSpace(p.Error.Message) == "" {
		return a.stranger()
	}
	return &Refusal{Status: a.status, Code: p.Error.Code, Message: Printable(p.Error.Message)}
}

// stranger describes an answer that the endpoint does not give.
func (a answer) stranger() *Unexpected {
	u := &Unexpected{}
	switch {
	case a.status/100 == 3:
		u.fact = fmt.Sprintf("HTTP %d: a redirect is not followed, because it would take the token along. To fix: give the right --server", a.status)
	case a.status >= 500:
		u.passing = a.status == http.StatusBadGateway || a.status == http.StatusServiceUnavailable || a.status == http.StatusGatewayTimeout
		u.fact = fmt.Sprintf("HTTP %d, not from the endpoint%s", a.status, a.excerpt())
	default:
		u.fact = fmt.Sprintf("HTTP %d with an answer that the endpoint does not give%s. To fix: check --server", a.status, a.excerpt())
	}
	return u
}

// excerpt is the beginning of a refusal's text. One that says yes may hold anything, and is not repeated.
func (a answer) excerpt() string {
	const most = 200
	text := strings.Join(strings.Fields(string(a.body[:min(len(a.body), 4*most)])), " ")
	if text = failure.Printable(text, most); text == "" || a.status/100 == 2 {
		return ""
	}
	return fmt.Sprintf(" (%q)", text)
}

// retryAfter is in seconds; 0 = not said, or not understood.
func (a answer) retryAfter() int {
	const longest = 24 * 60 * 60
	value := a.header.Get("Retry-After")
	seconds, err := strconv.Atoi(value)
	if at, dateErr := http.ParseTime(value); err != nil && dateErr == nil {
		seconds = int(time.Until(at)/time.Second) + 1
	}
	return min(max(seconds, 0), longest)
}

// Printable is what of a text of the endpoint's is shown: one line, bounded, without control characters.
func Printable(text string) string {
	return failure.Printable(strings.Join(strings.Fields(text), " "), maxText)
}
