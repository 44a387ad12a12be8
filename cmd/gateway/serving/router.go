// Package serving is what stands between the network and the endpoint: routes, authentication, validation, limits, the access log and the metrics.
package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

// Endpoint answers the calls.
type Endpoint interface {
	openapi.StrictServerInterface
	// Arrived notes a call's arrival in its context.
	Arrived(ctx context.Context, tenantID string) context.Context
}

// Options are what the handler is made of.
type Options struct {
	Endpoint      Endpoint
	Authenticator identity.Authenticator
	// WithCaller adds the caller to a call's context, where Endpoint looks for it.
	WithCaller func(context.Context, identity.Caller) context.Context
	// FailedLogins bounds them by address.
	FailedLogins *FailedLogins
	// Addresses says where a call comes from.
	Addresses Addresses
	// MaxInFlight is how many calls are answered at once; more are told to come again.
	MaxInFlight int
}

// NewHandler is the whole of the endpoint as the network sees it.
func NewHandler(o Options) (http.Handler, error) {
	spec, err := openapi.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	document, err := openapi.GetSpecJSON()
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	r := &router{mux: http.NewServeMux(), spec: spec, guard: guard{o}}
	strict := openapi.NewStrictHandlerWithOptions(o.Endpoint, nil, openapi.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  invalid,
		ResponseErrorHandlerFunc: failed,
	})
	openapi.HandlerWithOptions(strict, openapi.StdHTTPServerOptions{BaseRouter: r, ErrorHandlerFunc: invalid})
	r.refuseOtherMethods()
	r.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, request *http.Request) {
		recordFrom(request.Context()).route = "/openapi.json"
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // the client has gone
	})
	r.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem.New(http.StatusNotFound, openapi.NotFound, "The endpoint has nothing at this path; /openapi.json lists its paths.").Write(w)
	})
	return observe(limit(r.mux, o.MaxInFlight), o.Addresses), nil
}

// router registers the generated handlers, each behind the guard.
type router struct {
	mux   *http.ServeMux
	spec  *openapi3.T
	guard guard
}

// HandleFunc implements openapi.ServeMux; pattern is a method and a path of the OpenAPI document.
func (r *router) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	method, path, _ := strings.Cut(pattern, " ")
	item := r.spec.Paths.Value(path)
	route := &routers.Route{Spec: r.spec, Path: path, PathItem: item, Method: method, Operation: item.GetOperation(method)}
	r.mux.Handle(pattern, r.guard.protect(route, http.HandlerFunc(handler)))
}

// ServeHTTP implements openapi.ServeMux.
func (r *router) ServeHTTP(w http.ResponseWriter, request *http.Request) { r.mux.ServeHTTP(w, request) }

// refuseOtherMethods answers them with a problem, where the mux would with a line of text.
func (r *router) refuseOtherMethods() {
	for path, item := range r.spec.Paths.Map() {
		var allowed []string
		for method := range item.Operations() {
			allowed = append(allowed, method)
		}
		slices.Sort(allowed)
		r.mux.HandleFunc(path, func(w http.ResponseWriter, request *http.Request) {
			recordFrom(request.Context()).route = path
			p := problem.New(http.StatusMethodNotAllowed, openapi.MethodNotAllowed, "This path does not accept the method. Nothing was done.")
			p.Allow = strings.Join(allowed, ", ")
			p.Write(w)
		})
	}
}

// validate checks a request against the OpenAPI document.
func validate(request *http.Request, route *routers.Route) *problem.Problem {
	parameters := map[string]string{}
	for _, parameter := range append(route.PathItem.Parameters, route.Operation.Parameters...) {
		if parameter.Value.In == openapi3.ParameterInPath {
			parameters[parameter.Value.Name] = request.PathValue(parameter.Value.Name)
		}
	}
	err := openapi3filter.ValidateRequest(request.Context(), &openapi3filter.RequestValidationInput{
		Request: request, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true},
	})
	if err == nil {
		return nil
	}
	return problem.New(http.StatusBadRequest, openapi.InvalidRequest, "%s Nothing was done.", explain(err))
}

// explain says what is wrong with a request. The caller alone reads it.
func explain(err error) string {
	subject, reason := "The request does not match /openapi.json", ""
	var request *openapi3filter.RequestError
	if errors.As(err, &request) {
		switch {
		case request.Parameter != nil:
			subject = fmt.Sprintf("The parameter %s does not match /openapi.json", request.Parameter.Name)
		case request.RequestBody != nil:
			subject = "The body does not match /openapi.json"
		}
		var mistake *openapi3.SchemaError
		switch {
		case errors.As(err, &mistake):
			reason = mistakes(mistake.Reason)
		case errors.Is(err, openapi3filter.ErrInvalidRequired):
			reason = "it is missing"
		case strings.HasPrefix(request.Reason, "header Content-Type"):
			reason = "the header Content-Type is not application/json"
		}
	}
	if reason == "" {
		return subject + "."
	}
	const longest = 256
	return fmt.Sprintf("%s: %.*s.", subject, longest, reason)
}

// mistakes are the lines of a schema's validation that name a place and what is wrong there. The first line names the schema.
func mistakes(reason string) string {
	var found []string
	for line := range strings.Lines(reason) {
		if mistake, is := strings.CutPrefix(strings.TrimSpace(line), "- at "); is {
			found = append(found, strings.TrimPrefix(mistake, "'': "))
		}
	}
	if len(found) == 0 {
		return reason
	}
	return strings.Join(found, "; ")
}

// invalid answers what the generated code could not read.
func invalid(w http.ResponseWriter, request *http.Request, err error) {
	ctrllog.FromContext(request.Context()).V(1).Info("a request could not be read", "error", err.Error())
	problem.New(http.StatusBadRequest, openapi.InvalidRequest, "The request does not match /openapi.json. Nothing was done.").Write(w)
}

// failed answers with the endpoint's error.
func failed(w http.ResponseWriter, request *http.Request, err error) {
	var p *problem.Problem
	if !errors.As(err, &p) {
		ctrllog.FromContext(request.Context()).Error(err, "a call failed in a way that the endpoint does not know")
		p = problem.New(http.StatusInternalServerError, openapi.Internal, "The endpoint has failed. The platform's log has the request ID.")
	}
	p.Write(w)
}
