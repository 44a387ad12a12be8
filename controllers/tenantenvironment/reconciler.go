// Package tenantenvironment keeps the connections to the environments: it reads the Secrets, connects, checks the ledger, and
// reports. The tenants' controller uses these connections and never connects itself.
package tenantenvironment

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

const (
	// surveyTimeout bounds one look at a server: a hanging one must not be taken for a slow one.
	surveyTimeout = 5 * time.Second
	// healthyPeriod is how often a healthy environment is looked at, brokenPeriod one that is not.
	healthyPeriod = 20 * time.Second
	brokenPeriod  = 3 * time.Second
	// lookTimeout bounds one look, with the count of lost rotations.
	lookTimeout = time.Minute
)

// Reconciler keeps the connection of each TenantEnvironment.
type Reconciler struct {
	Client client.Client
	// Events receives an event when an environment becomes Ready, and when it no longer is.
	Events events.EventRecorder
	// Namespace is the operator's own: the only one whose Secrets it reads.
	Namespace string
	// Connections is filled here and read by the tenants' controller.
	Connections *Connections
	// Changed receives an environment when it became usable or unusable, got other connections, was paused or resumed, or edited.
	Changed chan<- event.GenericEvent
	// Doubted brings the environments that a tenant wants looked at.
	Doubted <-chan event.GenericEvent
}

// +kubebuilder:rbac:groups=credentials.systemprompt.io,resources=tenantenvironments,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=credentials.systemprompt.io,resources=tenantenvironments/status,verbs=get;patch

// Reconcile connects to one environment, looks at it, and says what it saw.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var environment v1alpha1.TenantEnvironment
	if err := r.Client.Get(ctx, req.NamespacedName, &environment); err != nil {
		if apierrors.IsNotFound(err) && r.Connections.drop(req.Name) {
			r.tellTenants(ctx, req.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := environment.DeepCopy()

	seen, changed := r.look(ctx, &environment)
	again := wait.Jitter(healthyPeriod, 0.2)
	if seen.err != nil || deleted(&environment) {
		again = brokenPeriod
	}
	unfinished, letGoErr := r.letGo(ctx, before, &environment)
	report(&environment, r.Namespace, seen, unfinished)
	err := errors.Join(letGoErr, r.patchStatus(ctx, before, &environment))
	if changed || readyOf(before).Reason != readyOf(&environment).Reason { // after the status, which the tenants repeat
		r.tellTenants(ctx, environment.Name)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	r.announce(ctx, before, &environment, seen.err)
	return ctrl.Result{RequeueAfter: again}, nil
}

// look finds out whether the environment can be used. Changed says that the tenants have to be told: of a change between the two, of other
// connections, of a pause that begins or ends, of an edited pg_hba.conf, or of an edited spec.
func (r *Reconciler) look(ctx context.Context, environment *v1alpha1.TenantEnvironment) (seen seen, changed bool) {
	edited := environment.Status.ObservedGeneration != environment.Generation
	connection, remade, err := r.connect(ctx, environment)
	var news bool
	if err == nil {
		seen.survey, news, err = r.inspect(ctx, environment, connection)
	}
	seen.err = err
	turned := r.Connections.setUsable(environment.Name, err == nil)
	if connection != nil { // last, so that a Fly that does not answer keeps no tenant from PostgreSQL
		connection.tryFly(ctx)
		seen.fly = connection.flyTrial
	}
	return seen, turned || remade || news || edited
}

// inspect asks the server. News says that a pause began or ended, or that pg_hba.conf makes the group of external access count, or no longer.
func (r *Reconciler) inspect(ctx context.Context, environment *v1alpha1.TenantEnvironment, connection *Connection) (survey postgres.Survey, news bool, err error) {
	surveyCtx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	if survey, err = connection.Postgres.Survey(surveyCtx); err != nil {
		return survey, false, err
	}
	if err := checkLedger(environment, survey); err != nil {
		return survey, false, err
	}
	if err := checkServer(environment, survey); err != nil {
		return survey, false, err
	}
	if err := r.checkTwins(ctx, environment); err != nil {
		return survey, false, err
	}
	if err := checkTable(survey); err != nil {
		return survey, false, err
	}
	survey.Problem = connection.tryTable(ctx)
	edited := connection.noteExternalProblem(survey.ExternalProblem)
	news, err = r.checkPause(ctx, environment, connection, survey)
	return survey, news || edited, err
}

// connect returns the connection that spec and Secrets ask for, and whether it had to be made.
func (r *Reconciler) connect(ctx context.Context, environment *v1alpha1.TenantEnvironment) (connection *Connection, remade bool, err error) {
	want, err := r.connectionSettings(ctx, environment)
	if err != nil {
		return nil, false, err
	}
	return r.Connections.get(environment.Name, want)
}

func (r *Reconciler) patchStatus(ctx context.Context, before, after *v1alpha1.TenantEnvironment) error {
	if equality.Semantic.DeepEqual(before.Status, after.Status) {
		return nil
	}
	return client.IgnoreNotFound(r.Client.Status().Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}

// tellTenants has every tenant of the environment looked at again.
func (r *Reconciler) tellTenants(ctx context.Context, environment string) {
	changed := event.GenericEvent{Object: &v1alpha1.TenantEnvironment{ObjectMeta: metav1.ObjectMeta{Name: environment}}}
	select {
	case r.Changed <- changed:
	case <-ctx.Done():
	}
}
