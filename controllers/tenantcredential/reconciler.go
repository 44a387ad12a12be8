// Package tenantcredential brings a tenant's credentials to what its TenantCredential asks for: read, observe, assess, act, report.
package tenantcredential

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/controllers/connectionsecret"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// Reconciler brings TenantCredentials to what they ask for.
type Reconciler struct {
	// Client reads from the manager's cache and writes to the API server.
	Client client.Client
	// Live reads from the API server itself, where a stale answer would do harm.
	Live client.Reader
	// Events receives an event at each transition.
	Events events.EventRecorder
	// Environment returns how to reach an environment, or nil while it cannot be used.
	Environment func(name string) *Environment
	// Namespace is the operator's own, for messages that name a Secret.
	Namespace string
	// Cluster is the UID of this cluster's kube-system namespace.
	Cluster string

	// Wake has an object looked at, at once.
	Wake func(types.NamespacedName)

	// transactions are in progress: they run on, and are waited for, when the process has to stop.
	transactions sync.WaitGroup
	// slots holds, per object, the slot that it has or waits for: the object may vanish meanwhile.
	slots sync.Map
	// waiting holds, per object, the version of it that has found no free slot.
	waiting sync.Map
	// trying holds, per object, the trial of an address that it is in: the object may vanish meanwhile.
	trying sync.Map
	// environments holds, per environment, when the API server was last asked whether it has the finalizer, and it had.
	environments sync.Map
	// namespaces holds, per namespace, what the API server has answered last. It is small, and one per namespace with tenants.
	namespaces sync.Map
	// arrived holds, per object, when its spec arrived, until a pass has read it.
	arrived sync.Map
	// untried holds, per object, the password that is committed, or may be, until a login with it has succeeded.
	untried sync.Map
}

// +kubebuilder:rbac:groups=credentials.systemprompt.io,resources=tenantcredentials,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=credentials.systemprompt.io,resources=tenantcredentials/status,verbs=get;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// apiTimeout bounds a call of the API server.
const apiTimeout = 15 * time.Second

// Reconcile makes one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	in, err := r.read(ctx, req)
	if in == nil || err != nil {
		return ctrl.Result{}, err
	}
	environment := r.Environment(in.Object.Spec.EnvironmentRef.Name)
	begun := begin(*in, environment)

	out, err := r.observe(ctx, environment, begun)
	if err == nil {
		out, err = r.act(ctx, environment, begun, out)
	}
	return r.conclude(ctx, environment, begun, out, err)
}

// step makes the outcome of a pass so far into another one. With an error it still returns what it has seen. An error is an *pass.Obstacle, a later,
// or one of the API server's, which ends the pass without a report.
type step func(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error)

func (r *Reconciler) secrets() connectionsecret.Store {
	return connectionsecret.Store{Live: r.Live, Client: r.Client}
}

// WaitForTransactions returns when no transaction is in progress. Call it before the process ends: the stretch from the Fly call to
// COMMIT runs on when the lease is lost or a stop is asked for.
func (r *Reconciler) WaitForTransactions() { r.transactions.Wait() }
