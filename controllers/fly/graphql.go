package fly

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// platformTimeout bounds a call of GraphQL or of releases by REST, which is never worth a long wait: nothing that a tenant needs depends on it.
const platformTimeout = 5 * time.Second

// platformHost is where Fly's GraphQL and releases are, for both addresses of the Machines API. Every stand-in for Fly serves all
// of them on one host.
const platformHost = "https://api.fly.io"

var machinesHosts = map[string]bool{"api.machines.dev": true, "_api.internal": true}

// platformURL is a scheme and a host.
func platformURL(base *url.URL) string {
	if machinesHosts[base.Hostname()] {
		return platformHost
	}
	return base.Scheme + "://" + base.Host
}

// query is one call of the GraphQL API.
type query struct {
	action, app string
	text        string
	variables   any
	// reads: nothing changes by it.
	reads bool
}

// ask sends q once and decodes the answer's data. Fly's own texts are not read: they may repeat what was sent.
func (c *Client) ask(ctx context.Context, q query, data any) error {
	body, err := json.Marshal(map[string]any{"query": q.text, "variables": q.variables})
	if err != nil {
		return failure.New(failure.Retry, reasons.Unexpected, "the query "+q.action+" of "+q.app+" cannot be built")
	}
	r := request{
		action: q.action, id: q.app, method: http.MethodPost, graphQL: true, path: "/graphql", reads: q.reads, body: body, timeout: platformTimeout,
	}
	var answer struct {
		Data   json.RawMessage `json:"data"`
		Errors firstError      `json:"errors"`
	}
	if err := c.call(ctx, r, &answer); err != nil {
		return err
	}
	if answer.Errors.found {
		return graphQLFailure(r, answer.Errors.code)
	}
	if json.Unmarshal(answer.Data, data) != nil {
		return answerFailure(r)
	}
	return nil
}

// firstError is the code of the first of an answer's errors.
type firstError struct {
	found bool
	code  string
}

// UnmarshalJSON reads any number of errors.
func (e *firstError) UnmarshalJSON(array []byte) error {
	*e = firstError{}
	if bytes.Equal(array, []byte("null")) {
		return nil
	}
	return elements(array, func(value []byte) error {
		if e.found {
			return nil
		}
		var first struct {
			Extensions struct {
				Code string `json:"code"`
			} `json:"extensions"`
		}
		_ = json.Unmarshal(value, &first) // an error in any case
		e.found, e.code = true, first.Extensions.Code
		return nil
	})
}

var (
	graphQLCode = regexp.MustCompile(`^[A-Z_]{1,40}$`)
	forbidden   = map[string]bool{"UNAUTHORIZED": true, "UNAUTHENTICATED": true, "FORBIDDEN": true}
)

// graphQLFailure classes an error in a 200. All of them say that nothing changed.
func graphQLFailure(r request, code string) *failure.Error {
	if !graphQLCode.MatchString(code) {
		code = "no code"
	}
	returned := fmt.Sprintf("Fly returned a GraphQL error (%s) for %s of %s", code, r.action, r.id)
	switch {
	case forbidden[code]:
		return failure.New(failure.Retry, reasons.PermissionDenied, returned+" (the token lacks the permission)")
	case code == "NOT_FOUND":
		return failure.New(failure.Wait, reasons.FlyAppNotFound, returned+" (the token cannot see the app)")
	}
	return failure.New(failure.Retry, reasons.Rejected, returned+" (the request was refused)")
}
