package soak

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/test/jsonhttp"
)

const (
	namespace   = "tenants-sandbox"
	environment = "sandbox"
	patience    = 5 * time.Minute // of a single call that is made until it works: the API server comes back slowly on a busy machine
)

// system is how the tests reach the playground.
type system struct {
	client client.WithWatch
	admin  string // the emulator's admin API
	api    string // the emulator's Fly API
	token  string
	url    string // the superuser's
}

func newSystem(t *testing.T) *system {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	require.NoError(t, err)
	config.QPS = -1 // a test's requests are not held back
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	require.NoError(t, err)
	return &system{client: c, admin: os.Getenv("FLY_EMULATOR_ADMIN_URL"), api: os.Getenv("FLY_API_BASE_URL"), token: os.Getenv("FLY_API_TOKEN"),
		url: os.Getenv("PLAYGROUND_SANDBOX_URL")}
}

// connect connects to PostgreSQL as its superuser.
func (s *system) connect(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, s.url) }

// login tries a DATABASE_URL; refused says that the server refused the password. An error that is no refusal proves nothing.
func login(ctx context.Context, url string) (refused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	connection, err := pgx.Connect(ctx, url)
	if err != nil {
		var p *pgconn.PgError
		return errors.As(err, &p) && p.Code == "28P01", errors.New("the login failed") // the error itself may hold the URL
	}
	return false, connection.Close(ctx)
}

// adminCall calls the emulator's admin API; into may be nil.
func (s *system) adminCall(ctx context.Context, method, path string, body, into any) error {
	return call(ctx, method, s.admin+path, "", body, into)
}

// flyCall calls the Fly API as flyctl would.
func (s *system) flyCall(ctx context.Context, method, path string, body, into any) error {
	return call(ctx, method, s.api+"/v1"+path, s.token, body, into)
}

func call(ctx context.Context, method, address, token string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return jsonhttp.Call(ctx, method, address, token, body, into)
}

// app is a Fly app as the emulator shows it.
type app struct {
	Secrets []struct{ Name, Value, Digest, Version string }
	History []struct {
		Version, Name string
		Value         *string
	}
	Machines []machine
}

type machine struct {
	ID, State string
	Leased    bool
	Env       map[string]string
}

const variable = "DATABASE_URL"

func (s *system) app(ctx context.Context, name string) (a app, err error) {
	return a, s.adminCall(ctx, http.MethodGet, "/admin/apps/"+name, nil, &a)
}

// value is what the variable was at a version; "" = Fly never had it.
func (a app) value(version string) string {
	for _, change := range a.History {
		if change.Name == variable && change.Version == version && change.Value != nil {
			return *change.Value
		}
	}
	return ""
}

// until calls f until it works, ctx ends, or patience does: the API server may be down.
func until(ctx context.Context, f func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// object is what the platform's engineers write for a tenant.
func object(name, id string, generation int64) *v1alpha1.TenantCredential {
	return &v1alpha1.TenantCredential{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.TenantCredentialSpec{
			TenantID: id, EnvironmentRef: v1alpha1.EnvironmentReference{Name: environment}, RotationGeneration: &generation,
			Rotation: v1alpha1.RotationPolicy{Strategy: strategy(id)},
		},
	}
}

// strategy is Overlap for every other tenant.
func strategy(id string) v1alpha1.RotationStrategy {
	if id[0]%2 == 0 {
		return v1alpha1.RotationStrategyOverlap
	}
	return v1alpha1.RotationStrategyInPlace
}

// settled says that the object is Ready, and that it says so of what is asked for now.
func settled(o *v1alpha1.TenantCredential) bool {
	for _, c := range o.Status.Conditions {
		if c.Type == v1alpha1.ReadyCondition {
			return c.Status == metav1.ConditionTrue && c.ObservedGeneration == o.Generation && o.Status.ObservedGeneration == o.Generation &&
				o.Status.RotationGeneration >= o.AskedGeneration()
		}
	}
	return false
}

// view is what the API server last said of every TenantCredential. It is fed by a watch, which costs the server little.
type view struct {
	mu      sync.Mutex
	objects map[string]*v1alpha1.TenantCredential
}

func (v *view) replace(list []v1alpha1.TenantCredential) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.objects = map[string]*v1alpha1.TenantCredential{}
	for i := range list {
		v.objects[list[i].Name] = &list[i]
	}
}

func (v *view) see(o *v1alpha1.TenantCredential, present bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.objects[o.Name] = o
	if !present {
		delete(v.objects, o.Name)
	}
}

// unsettled describes the objects that are not Ready, and counts all.
func (v *view) unsettled() (described []string, count int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(v.objects)) {
		if o := v.objects[name]; !settled(o) {
			described = append(described, describe(o))
		}
	}
	return described, len(v.objects)
}

// awaitSettled waits until so many objects are there and all of them are Ready, and returns how long that took.
func (v *view) awaitSettled(t *testing.T, count int, bound time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		unsettled, seen := v.unsettled()
		if seen == count && len(unsettled) == 0 {
			return time.Since(began)
		}
		if time.Since(began) > bound {
			require.Fail(t, "not all are Ready", "%d of %d objects are there; %d not Ready after %s:\n%s", seen, count, len(unsettled), bound,
				strings.Join(unsettled[:min(len(unsettled), 20)], "\n"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// follow keeps the view of a namespace, "" = all, until ctx ends, and tells of every version of every object. It comes back whenever the API server does;
// present is false for an object that was deleted.
func (s *system) follow(ctx context.Context, v *view, in string, tell func(o *v1alpha1.TenantCredential, present bool)) {
	for ctx.Err() == nil {
		_ = s.watch(ctx, v, in, tell) // it ends with the API server, and begins anew
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *system) watch(ctx context.Context, v *view, in string, tell func(*v1alpha1.TenantCredential, bool)) error {
	var list v1alpha1.TenantCredentialList
	if err := s.client.List(ctx, &list, client.InNamespace(in)); err != nil {
		return err
	}
	v.replace(list.Items)
	for i := range list.Items {
		tell(&list.Items[i], true)
	}
	changes, err := s.client.Watch(ctx, &list, client.InNamespace(in), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		return err
	}
	defer changes.Stop()
	for change := range changes.ResultChan() {
		o, is := change.Object.(*v1alpha1.TenantCredential)
		if !is {
			return apierrors.FromObject(change.Object)
		}
		v.see(o, change.Type != apiwatch.Deleted)
		tell(o, change.Type != apiwatch.Deleted)
	}
	return nil
}
