package serving

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/felixge/httpsnoop"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

// The metrics have no label that a caller could choose: a route is one of the OpenAPI document's.
var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tcred_gateway_http_requests_total", Help: "Calls that were answered, by route, method and status code.",
	}, []string{"route", "method", "code"})
	durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tcred_gateway_http_request_duration_seconds", Help: "How long calls took, the wait for a rotation included.",
		Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30},
	}, []string{"route", "code"})
	inFlight = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tcred_gateway_http_requests_in_flight", Help: "Calls that are being answered now.",
	})
	authentications = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tcred_gateway_authentications_total",
		Help: "Calls by what became of their token: cluster and customer are accepted; refused, unavailable, limited, and none where there was no token.",
	}, []string{"result"})
)

func init() { metrics.Registry.MustRegister(requests, durations, inFlight, authentications) }

// record is what the access log says of a call. It never holds a header, a body, or a path that is not a route.
type record struct {
	id, route, tenant, caller string
	address                   netip.Addr
}

type recordKey struct{}

func recordFrom(ctx context.Context) *record {
	if r, is := ctx.Value(recordKey{}).(*record); is {
		return r
	}
	return &record{}
}

// clientGone is what is logged as the status where the client did not wait for it, as proxies do.
const clientGone = 499

// observe gives every call an ID, a line in the log and a place in the metrics, and keeps a panic from ending more than its own call.
func observe(next http.Handler, addresses Addresses) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r := &record{id: uuid.NewString(), route: "none", address: addresses.of(request)}
		log := ctrl.Log.WithName("gateway").WithValues("request_id", r.id)
		ctx := ctrllog.IntoContext(context.WithValue(request.Context(), recordKey{}, r), log)
		request = request.WithContext(ctx)
		w.Header().Set("X-Request-Id", r.id)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		inFlight.Inc()
		defer inFlight.Dec()
		seen := httpsnoop.CaptureMetrics(recovering(next), w, request)
		status := seen.Code
		if ctx.Err() != nil {
			status = clientGone
		}
		method := knownMethod(request.Method)
		requests.WithLabelValues(r.route, method, strconv.Itoa(status)).Inc()
		durations.WithLabelValues(r.route, strconv.Itoa(status)).Observe(seen.Duration.Seconds())
		log.Info("request", "method", method, "route", r.route, "status", status, "duration_seconds", seen.Duration.Seconds(),
			"caller", r.caller, "tenant_id", r.tenant, "remote_address", r.address.String())
	})
}

// knownMethod keeps what a caller invents out of metrics and log.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "other"
	}
}

func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause == http.ErrAbortHandler { //nolint:errorlint // it is thrown as it is
				panic(cause)
			}
			ctrllog.FromContext(request.Context()).Error(fmt.Errorf("%v", cause), "a call panicked", "stack", string(debug.Stack()), "time", time.Now())
			problem.New(http.StatusInternalServerError, openapi.Internal, "The endpoint has failed. The platform's log has the request ID.").Write(w)
		}()
		next.ServeHTTP(w, request)
	})
}

// limit answers so many calls at once, and no more.
func limit(next http.Handler, most int) http.Handler {
	places := make(chan struct{}, most)
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next.ServeHTTP(w, request)
		default:
			problem.Unavailable("The endpoint already answers as many calls as it can. Nothing was done.").After(time.Second).Write(w)
		}
	})
}
