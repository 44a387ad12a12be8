package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantenvironment"
	"github.com/systempromptio/tenant-credential-operator/controllers/timing"
)

// options are the manager's flags.
type options struct {
	namespace      string
	probeAddress   string
	metricsAddress string
	leaderElect    bool
}

func (o *options) bind(flags *flag.FlagSet) {
	flags.StringVar(&o.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "The operator's own namespace: where the Secrets are that environments name, and the lease. Default: $POD_NAMESPACE.")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "Where /healthz and /readyz are served.")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8443", "Where /metrics is served, over TLS and to authorized clients alone; 0 turns it off.")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "Run the controllers only while this process holds the lease, so that several replicas can stand by.")
}

// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=tcred-system,resources=leases,verbs=get;create;update;patch
// +kubebuilder:rbac:groups="",namespace=tcred-system,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// run serves until ctx ends or the lease is lost, and returns when no transaction is in progress any more.
func run(ctx context.Context, o options) error {
	if o.namespace == "" {
		return errors.New("write --namespace, the operator's own namespace, or set POD_NAMESPACE")
	}
	mgr, err := newManager(o)
	if err != nil {
		return err
	}
	tenants, err := addControllers(ctx, mgr, o.namespace)
	if err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	err = mgr.Start(ctx)
	tenants.WaitForTransactions()
	return err
}

func newManager(o options) (ctrl.Manager, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("no configuration for the API server: run in a pod, or write --kubeconfig: %w", err)
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	stop := timing.Stop
	return ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		// A pass that comes right after another one must see the status that the other one wrote: compared with an older one, its
		// own would look unchanged and stay unwritten.
		Client: client.Options{FieldOwner: "tenant-credential-operator", Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)}},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{o.namespace: {}}},
		}},
		Metrics: metricsserver.Options{
			BindAddress:    o.metricsAddress,
			SecureServing:  true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "tenant-credential-operator",
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &stop,
	})
}

// addControllers wires the two controllers together: the environments' one holds the connections, the tenants' one uses them.
func addControllers(ctx context.Context, mgr ctrl.Manager, namespace string) (*tenantcredential.Reconciler, error) {
	cluster, err := clusterUID(ctx, mgr.GetAPIReader())
	if err != nil {
		return nil, err
	}
	recorder := mgr.GetEventRecorder("tenant-credential-operator")
	connections := &tenantenvironment.Connections{}
	changed := make(chan event.GenericEvent, 16)
	doubted := make(chan event.GenericEvent, 16)
	environments := &tenantenvironment.Reconciler{Client: mgr.GetClient(), Events: recorder, Namespace: namespace, Connections: connections, Changed: changed, Doubted: doubted}
	if err := environments.AddToManager(mgr); err != nil {
		return nil, err
	}
	tenants := &tenantcredential.Reconciler{
		Client:      mgr.GetClient(),
		Live:        mgr.GetAPIReader(),
		Events:      recorder,
		Environment: lookup(connections, doubted),
		Namespace:   namespace,
		Cluster:     cluster,
	}
	return tenants, tenants.AddToManager(ctx, mgr, changed)
}

func lookup(connections *tenantenvironment.Connections, doubted chan<- event.GenericEvent) func(string) *tenantcredential.Environment {
	return func(name string) *tenantcredential.Environment {
		connection := connections.Usable(name)
		if connection == nil {
			return nil
		}
		return &tenantcredential.Environment{
			Postgres: connection.Postgres, Fly: connection.Fly, Slots: connection.Slots, Pause: connection.Pause, Canary: connection.Canary, Changed: connection.Changed,
			ExternalProblem: connection.ExternalProblem(),
			Doubt: func() {
				select {
				case doubted <- event.GenericEvent{Object: &v1alpha1.TenantEnvironment{ObjectMeta: metav1.ObjectMeta{Name: name}}}:
				default: // it is being emptied; a tenant that still doubts then says so again
				}
			},
		}
	}
}

// clusterUID names this cluster for ever: there is no UID of a cluster in Kubernetes, and by convention the one of kube-system is it.
func clusterUID(ctx context.Context, reader client.Reader) (string, error) {
	var system metav1.PartialObjectMetadata
	system.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := reader.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
		return "", fmt.Errorf("reading the UID of namespace %s: %w", metav1.NamespaceSystem, err)
	}
	return string(system.UID), nil
}
