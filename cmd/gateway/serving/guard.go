package serving

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

const (
	// longestBody is in bytes. The longest request that is valid has less.
	longestBody = 4 << 10
	// bodyTimeout is how long a body may take to arrive.
	bodyTimeout = 10 * time.Second
)

// guard lets an authenticated caller through with a request that is valid.
type guard struct{ Options }

func (g guard) protect(route *routers.Route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		record := recordFrom(request.Context())
		record.route = route.Path
		ctx := request.Context()
		if id, err := uuid.Parse(request.PathValue("tenant_id")); err == nil {
			record.tenant = id.String()
			ctx = ctrllog.IntoContext(ctx, ctrllog.FromContext(ctx).WithValues("tenant_id", record.tenant))
		}
		ctx = g.Endpoint.Arrived(ctx, record.tenant)
		caller, refusal := g.authenticate(ctx, request, record)
		if refusal == nil {
			record.caller = fmt.Sprintf("%.253s", caller.Name())
			request = request.WithContext(g.WithCaller(ctx, caller))
			refusal = g.check(w, request, route)
		}
		if refusal != nil {
			refusal.Write(w)
			return
		}
		next.ServeHTTP(w, request)
	})
}

// authenticate establishes the caller.
func (g guard) authenticate(ctx context.Context, request *http.Request, record *record) (identity.Caller, *problem.Problem) {
	token, refusal := bearer(request.Header)
	if refusal != nil {
		authentications.WithLabelValues("none").Inc()
		return identity.Caller{}, refusal
	}
	if wait := g.FailedLogins.blocked(record.address, token); wait > 0 {
		authentications.WithLabelValues("limited").Inc()
		return identity.Caller{}, problem.New(http.StatusTooManyRequests, openapi.RateLimited,
			"Too many calls from your address had a token that is not accepted. Nothing was done.").After(wait)
	}
	caller, err := g.Authenticator.Authenticate(ctx, token)
	switch {
	case err == nil:
		g.FailedLogins.succeeded(token)
		authentications.WithLabelValues(string(caller.Kind)).Inc()
		return caller, nil
	case errors.Is(err, identity.ErrUnavailable):
		authentications.WithLabelValues("unavailable").Inc()
		return identity.Caller{}, problem.Unavailable("The endpoint cannot check the owner of the token now. Nothing was done.")
	default:
		g.FailedLogins.failed(record.address)
		authentications.WithLabelValues("refused").Inc()
		return identity.Caller{}, unauthenticated("The token is not accepted. Nothing was done.", "invalid_token")
	}
}

// bearer is the request's token (RFC 6750).
func bearer(header http.Header) (string, *problem.Problem) {
	values := header.Values("Authorization")
	if len(values) == 0 {
		return "", unauthenticated("The header Authorization is missing: Bearer, and a token. Nothing was done.", "")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if token = strings.TrimSpace(token); len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t") {
		return "", unauthenticated("The header Authorization is not Bearer, and a token. Nothing was done.", "")
	}
	return token, nil
}

// unauthenticated has the challenge that RFC 6750 wants: no error where there was no token.
func unauthenticated(detail, code string) *problem.Problem {
	p := problem.New(http.StatusUnauthorized, openapi.Unauthenticated, "%s", detail)
	p.Challenge = `Bearer realm="tenant-credential-gateway"`
	if code != "" {
		p.Challenge += `, error="` + code + `"`
	}
	return p
}

// check reads the body, within its limits, and has the whole request as the OpenAPI document wants it.
func (g guard) check(w http.ResponseWriter, request *http.Request, route *routers.Route) *problem.Problem {
	body, refusal := read(w, request)
	if refusal != nil {
		return refusal
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.ContentLength = int64(len(body))
	if preferences := request.Header.Values("Prefer"); len(preferences) > 1 { // one list, however many lines (RFC 7240)
		request.Header.Set("Prefer", strings.Join(preferences, ", "))
	}
	if len(body) > 0 && !json.Valid(body) { // data after the first document would be left out
		return problem.New(http.StatusBadRequest, openapi.InvalidRequest, "The body is not one JSON document. Nothing was done.")
	}
	return validate(request, route)
}

// read reads a body. Its deadline is lifted afterwards: the server would end the wait for a rotation with it.
func read(w http.ResponseWriter, request *http.Request) ([]byte, *problem.Problem) {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTimeout)); err == nil {
		defer func() { _ = control.SetReadDeadline(time.Time{}) }() // setting it has worked, so lifting it does
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, longestBody))
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, problem.New(http.StatusRequestEntityTooLarge, openapi.RequestTooLarge, "The body has more than %d bytes. Nothing was done.", longestBody)
	default:
		return nil, problem.New(http.StatusBadRequest, openapi.InvalidRequest, "The body did not arrive. Nothing was done.")
	}
}
