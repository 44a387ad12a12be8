package tenantcredential_test

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

const (
	tenantID = "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01"
	cluster  = "cluster-1"
)

var (
	key     = client.ObjectKey{Namespace: "tenants", Name: "acme"}
	apiSide = side{"Kubernetes", apierrors.NewServiceUnavailable("refused"), apierrors.NewTimeoutError("lost", 1)}
)

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}()

// newAPI is an API server with the environment and the namespace.
func newAPI() client.WithWatch {
	environment := &v1alpha1.TenantEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "sandbox"}}
	environment.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll
	environment.Spec.TenantBinding = v1alpha1.TenantBindingNamespaceLabel
	environment.Spec.Postgres.External = &v1alpha1.PostgresAddress{Host: "db.example.com", Port: 5432}
	environment.Spec.Postgres.Internal.Host, environment.Spec.Postgres.Internal.Port = "db", 5432
	return fake.NewClientBuilder().WithScheme(scheme).WithGlobalResourceVersionCounter().WithStatusSubresource(&v1alpha1.TenantCredential{}).
		WithObjects(environment, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: key.Namespace, Labels: map[string]string{bindingLabel: v1alpha1.TenantLabelAllowed}}}).Build()
}

const bindingLabel = v1alpha1.TenantLabelPrefix + tenantID

// bound says whether the namespace is bound to the tenant now.
func (w *world) bound() bool {
	return w.namespace().Labels[bindingLabel] == v1alpha1.TenantLabelAllowed
}

func (w *world) namespace() *corev1.Namespace {
	var namespace corev1.Namespace
	w.must(w.api.Get(context.Background(), client.ObjectKey{Name: key.Namespace}, &namespace))
	return &namespace
}

// bind is the platform team's decision. Passes that are under way may have seen the previous one.
func (w *world) bind(bound bool) {
	namespace := w.namespace()
	namespace.Labels = map[string]string{}
	if bound {
		namespace.Labels[bindingLabel] = v1alpha1.TenantLabelAllowed
		for _, p := range w.processes {
			p.unbound = false
		}
	}
	w.must(w.api.Update(context.Background(), namespace))
	w.disturb()
	w.wake()
}

// object is the TenantCredential as the API server has it, nil where there is none.
func (w *world) object() *v1alpha1.TenantCredential {
	var object v1alpha1.TenantCredential
	err := w.api.Get(context.Background(), key, &object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return &object
}

// create makes the object, with the status that the CRD's default gives it.
func (w *world) create(generation int64) {
	w.created++
	w.former = nil
	object := &v1alpha1.TenantCredential{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Generation: 1,
		UID: types.UID(fmt.Sprintf("uid-%d", w.created))}}
	object.Spec = v1alpha1.TenantCredentialSpec{TenantID: tenantID, EnvironmentRef: v1alpha1.EnvironmentReference{Name: "sandbox"},
		RotationGeneration: &generation, Rotation: v1alpha1.RotationPolicy{Strategy: w.strategy}, Delivery: *w.delivery.DeepCopy()}
	w.must(w.api.Create(context.Background(), object))
	object.Status = v1alpha1.TenantCredentialStatus{ObservedGeneration: -1, Conditions: []metav1.Condition{{
		Type: v1alpha1.ReadyCondition, Status: metav1.ConditionUnknown, Reason: reasons.Pending, Message: "Waiting for controller",
		LastTransitionTime: metav1.Unix(0, 0)}}}
	w.must(w.api.Status().Update(context.Background(), object))
	for _, p := range w.processes {
		p.held = false
	}
	w.wake()
}

// edit changes the object's spec as a user does.
func (w *world) edit(change func(*v1alpha1.TenantCredential)) {
	object := w.object()
	w.former = object.DeepCopy()
	change(object)
	object.Generation++
	w.must(w.api.Update(context.Background(), object))
	for _, p := range w.processes {
		p.held = p.held && (object.Spec.Suspend || !object.DeletionTimestamp.IsZero())
	}
	w.wake()
}

// delete may take the only witness away of what a failover has lost.
func (w *world) delete() {
	object, last := w.object(), w.ledger.now.last()
	lostByStatus := last == nil && object.Status.Revision > 0 || last != nil && object.Status.Revision > last.Revision
	lostByFinalizer := len(object.Finalizers) > 0 && w.ledger.now.open() == nil && (last == nil || last.State == postgres.StateCompleted)
	if !w.bound() || lostByStatus || lostByFinalizer {
		w.foreign = true
	}
	w.must(w.api.Delete(context.Background(), w.object()))
	if w.object() != nil {
		w.edit(func(*v1alpha1.TenantCredential) {}) // the API server raises metadata.generation, too
	}
	w.wake()
}

// cacheClient reads the object as it was when the pass began, or before. Writes go to the API server.
func (p *process) cacheClient() client.Client {
	secrets := p.writesOfSecrets()
	return interceptor.NewClient(p.w.api, interceptor.Funcs{
		Create: secrets.Create, Update: secrets.Update, Delete: secrets.Delete,
		Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if namespace, is := o.(*corev1.Namespace); is {
				p.namespace.DeepCopyInto(namespace)
				return nil
			}
			into, is := o.(*v1alpha1.TenantCredential)
			if !is {
				return c.Get(ctx, k, o, opts...)
			}
			if p.cached == nil {
				return apierrors.NewNotFound(schema.GroupResource{}, k.Name)
			}
			p.cached.DeepCopyInto(into)
			return nil
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if environment, is := o.(*v1alpha1.TenantEnvironment); is {
				return p.call(ctx, apiSide, "patch environment", func() error { return c.Patch(ctx, environment, patch, opts...) })
			}
			return p.write(ctx, "patch object", o, func(o client.Object) error { return c.Patch(ctx, o, patch, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, _ string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return p.write(ctx, "patch status", o, func(o client.Object) error { return c.Status().Patch(ctx, o, patch, opts...) })
		},
	})
}

// write is a call whose answer is the object; where it is lost, the caller keeps what it had.
func (p *process) write(ctx context.Context, name string, o client.Object, effect func(client.Object) error) error {
	answer := o.DeepCopyObject().(*v1alpha1.TenantCredential)
	err := p.call(ctx, apiSide, name, func() error { return effect(answer) })
	if err == nil {
		answer.DeepCopyInto(o.(*v1alpha1.TenantCredential))
	}
	return err
}

func (p *process) liveReader() client.Reader {
	return interceptor.NewClient(p.w.api, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return p.call(ctx, apiSide, "get live", func() error { return c.Get(ctx, k, o, opts...) })
		},
	})
}

// recorder keeps the text of events, to search it.
type recorder struct{ w *world }

func (r recorder) Eventf(_, _ runtime.Object, _, _, _, note string, args ...any) {
	r.w.written(fmt.Sprintf(note, args...))
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
