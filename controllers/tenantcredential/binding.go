package tenantcredential

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// A namespace is bound to a tenant by what the platform team writes: the environment, and the namespace's labels. An editor of the namespace
// writes everything of a TenantCredential but its UID and status, and every Secret beside it. So no finalizer, annotation or owner reference
// decides who may have a tenant (docs/adr/0010-what-an-object-says-of-itself.md).

// stillBound asks the API server itself, right before an adoption, an attempt or a promotion: the cache may not have seen yet that the
// binding is gone. What an unbound object may finish all the same does not depend on it.
func (r *Reconciler) stillBound(ctx context.Context, in pass.Input) error {
	return r.boundSince(ctx, in, time.Now())
}

// boundLately is stillBound for the start of a rotation, of which there may be hundreds in a namespace. What the API server has answered about the namespace
// serves again if it was asked after the change that the rotation answers had arrived here: a binding that was gone before that change was made is seen to
// be gone.
func (r *Reconciler) boundLately(ctx context.Context, in pass.Input) error {
	return r.boundSince(ctx, in, in.Arrived)
}

// boundSince goes by an answer of the API server to a question that was asked after since.
func (r *Reconciler) boundSince(ctx context.Context, in pass.Input, since time.Time) error {
	var verdict *pass.Obstacle
	if in.Unbound == nil {
		labels, err := r.labelsSince(ctx, in.Object.Namespace, since)
		if err == nil {
			verdict, err = bindingBy(labels, in)
		}
		if err != nil {
			return err
		}
	}
	if verdict != nil {
		return verdict
	}
	return nil
}

// answerStands is how long the API server's answer about a namespace serves the rotations of others in it.
const answerStands = time.Second

// labelled is what a namespace's labels were, or became later, when the API server was asked.
type labelled struct {
	asked  time.Time
	labels map[string]string
}

func (r *Reconciler) labelsSince(ctx context.Context, namespace string, since time.Time) (map[string]string, error) {
	kept, _ := r.namespaces.Load(namespace)
	if answer, is := kept.(labelled); is && answer.asked.After(since) && time.Since(answer.asked) < answerStands {
		return answer.labels, nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	asked := time.Now()
	var live corev1.Namespace
	if err := r.Live.Get(ctx, client.ObjectKey{Name: namespace}, &live); err != nil {
		return nil, fmt.Errorf("reading the namespace: %w", err)
	}
	r.namespaces.Store(namespace, labelled{asked, live.Labels})
	return live.Labels, nil
}

// binding says why the object may not have the tenant in its namespace; nil = it may.
func binding(ctx context.Context, from client.Reader, in pass.Input) (*pass.Obstacle, error) {
	var namespace corev1.Namespace
	if err := from.Get(ctx, client.ObjectKey{Name: in.Object.Namespace}, &namespace); err != nil {
		return nil, fmt.Errorf("reading the namespace: %w", err)
	}
	return bindingBy(namespace.Labels, in)
}

// bindingBy is binding by the namespace's labels.
func bindingBy(namespaceLabels map[string]string, in pass.Input) (*pass.Obstacle, error) {
	allowed, err := namespaceAllowed(in.Environment.Spec.AllowedNamespaces, namespaceLabels)
	if err != nil {
		return nil, err
	}
	if !allowed {
		return pass.AsObstacle(pass.InKubernetes(failure.Stall, reasons.NamespaceNotAllowed, "")), nil
	}
	if in.Environment.Spec.TenantBinding != v1alpha1.TenantBindingNone &&
		namespaceLabels[v1alpha1.TenantLabelPrefix+pass.ID(in)] != v1alpha1.TenantLabelAllowed {
		return pass.AsObstacle(pass.InKubernetes(failure.Stall, reasons.TenantNotBound, "")), nil
	}
	return nil, nil
}

func namespaceAllowed(allowed v1alpha1.AllowedNamespaces, namespaceLabels map[string]string) (bool, error) {
	if allowed.From == v1alpha1.NamespacesFromAll {
		return true, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(allowed.Selector.LabelSelector())
	if err != nil {
		return false, fmt.Errorf("allowedNamespaces.selector of the environment: %w", err)
	}
	return selector.Matches(labels.Set(namespaceLabels)), nil
}

// admit ends the pass of an unbound object before it learns anything of the tenant. One case goes on: the ledger has an unfinished rotation,
// and this very object holds the claim.
func (r *Reconciler) admit(_ context.Context, _ *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if in.Unbound == nil || pass.Held(in, out.Seen) && out.Seen.Tenant.Unfinished() {
		return out, nil
	}
	out.Seen = pass.ShutOut(out.Seen)
	return out, in.Unbound
}
