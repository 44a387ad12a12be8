package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/endpoint"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/ownership"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/serving"
)

// +kubebuilder:rbac:groups=credentials.systemprompt.io,resources=tenantcredentials,verbs=get;list;watch;patch;attribute
// +kubebuilder:rbac:groups=credentials.systemprompt.io,resources=tenantenvironments,verbs=get;list;watch
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// answersKept is how long the API server's answers about tokens and rights are kept.
const answersKept = 10 * time.Second

// run serves until ctx ends, and returns when the calls in flight are answered.
func run(ctx context.Context, config *rest.Config, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.address)
	if err != nil {
		return err
	}
	return serve(ctx, config, o, listener)
}

// serve takes its calls from a listener, and closes it.
func serve(ctx context.Context, config *rest.Config, o options, listener net.Listener) error {
	defer listener.Close()
	config = rest.CopyConfig(config)
	config.QPS = -1 // the API server's own priorities and fairness bound it; a limit here would hold calls up
	stop := newStop()
	mgr, err := newManager(config, o, stop)
	if err != nil {
		return err
	}
	logins := ownership.New(o.ownerLogins)
	defer logins.Close()
	// The caches, which the last calls need, end after the server.
	inner, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	handler, err := newHandler(inner, config, mgr, logins, stop.begun, o)
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return mgr.Start(inner) })
	group.Go(func() error {
		defer end()
		if !mgr.GetCache().WaitForCacheSync(groupCtx) {
			return nil
		}
		stop.ready(true)
		server := serving.Server{Handler: handler, Listener: listener, CertFile: o.certFile, KeyFile: o.keyFile, Stopping: stop.begin, Linger: o.linger}
		return server.Serve(groupCtx)
	})
	return group.Wait()
}

func newManager(config *rest.Config, o options, stop *stop) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		Metrics: metricsserver.Options{
			BindAddress: o.metricsAddress, SecureServing: true, FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress: o.probeAddress,
	})
	if err != nil {
		return nil, err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("serving", stop.check)
}

func newHandler(ctx context.Context, config *rest.Config, mgr ctrl.Manager, logins *ownership.Logins, stopping <-chan struct{}, o options) (http.Handler, error) {
	addresses, err := serving.TrustProxies(o.trustedProxies)
	if err != nil {
		return nil, err
	}
	issuers, err := identity.LoadIssuers(ctx, o.issuers)
	if err != nil {
		return nil, fmt.Errorf("--authentication-config: %w", err)
	}
	changes, err := watchTenants(ctx, mgr)
	if err != nil {
		return nil, err
	}
	reviews := rest.CopyConfig(config)
	reviews.Timeout = 5 * time.Second
	cluster, err := kubernetes.NewForConfig(reviews)
	if err != nil {
		return nil, err
	}
	authorizer, err := identity.NewAuthorizer(cluster.AuthorizationV1(), answersKept)
	if err != nil {
		return nil, err
	}
	return serving.NewHandler(serving.Options{
		Endpoint: &endpoint.Endpoint{
			Cached: mgr.GetClient(), Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Changes: changes, Authorizer: authorizer, Owners: logins,
			MinInterval: o.minInterval, Stopping: stopping, Clock: clock.RealClock{},
		},
		Authenticator: identity.Union{Issuers: issuers, Cluster: identity.NewTokenReviewer(cluster.AuthenticationV1().TokenReviews(), o.audience, answersKept)},
		WithCaller:    endpoint.WithCaller,
		FailedLogins:  serving.NewFailedLogins(o.failedRate, o.failedBurst),
		Addresses:     addresses,
		MaxInFlight:   o.maxInFlight,
	})
}

// watchTenants has the cache hold what the calls look up.
func watchTenants(ctx context.Context, mgr ctrl.Manager) (*endpoint.Changes, error) {
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.TenantCredential{}, endpoint.TenantIndex, func(object client.Object) []string {
		if c, is := object.(*v1alpha1.TenantCredential); is {
			return []string{c.Spec.TenantID}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.TenantEnvironment{}); err != nil {
		return nil, err
	}
	return endpoint.Watch(ctx, mgr.GetCache())
}

// stop says whether the process takes calls, and whether it is about to end.
type stop struct {
	begun  chan struct{}
	mu     sync.Mutex
	serves bool
}

func newStop() *stop { return &stop{begun: make(chan struct{})} }

func (s *stop) ready(serves bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serves = serves
}

func (s *stop) begin() {
	s.ready(false)
	close(s.begun)
}

// check is the readiness probe.
func (s *stop) check(*http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.serves {
		return errors.New("the caches are not filled, or the process is about to end")
	}
	return nil
}
