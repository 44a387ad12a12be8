package install

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
)

// emptyNamespaces deletes what is in a namespace that is deleted, and lets the namespace go, as Kubernetes' namespace controller does.
func (c *standIns) emptyNamespaces(ctx context.Context) error {
	namespaces, err := c.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range namespaces.Items {
		if n.DeletionTimestamp.IsZero() {
			continue
		}
		if err := c.deleteContent(ctx, n.Name); err != nil {
			return err
		}
		n.Spec.Finalizers = nil
		if _, err := c.client.CoreV1().Namespaces().Finalize(ctx, &n, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (c *standIns) deleteContent(ctx context.Context, namespace string) error {
	client, err := dynamic.NewForConfig(c.config)
	if err != nil {
		return err
	}
	lists, err := c.client.Discovery().ServerPreferredNamespacedResources()
	if err != nil {
		return err
	}
	deletable := discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"deletecollection"}}, lists)
	kinds, err := discovery.GroupVersionResources(deletable)
	if err != nil {
		return err
	}
	for kind := range kinds {
		err := client.Resource(kind).Namespace(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) {
			return err
		}
	}
	return nil
}

var tenantCredentials = schema.GroupVersionResource{Group: "credentials.systemprompt.io", Version: "v1alpha1", Resource: "tenantcredentials"}

// orphan takes the Secrets of a TenantCredential out of its ownership and lets it go, as Kubernetes' garbage collector does after a deletion with
// --cascade=orphan.
func (c *standIns) orphan(ctx context.Context) error {
	client, err := dynamic.NewForConfig(c.config)
	if err != nil {
		return err
	}
	objects, err := client.Resource(tenantCredentials).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range objects.Items {
		o := &objects.Items[i]
		if o.GetDeletionTimestamp() == nil || !slices.Contains(o.GetFinalizers(), metav1.FinalizerOrphanDependents) {
			continue
		}
		err := errors.Join(c.disown(ctx, o), c.letGo(ctx, client, o))
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *standIns) disown(ctx context.Context, owner *unstructured.Unstructured) error {
	secrets, err := c.client.CoreV1().Secrets(owner.GetNamespace()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, secret := range secrets.Items {
		kept := slices.DeleteFunc(slices.Clone(secret.OwnerReferences), func(r metav1.OwnerReference) bool { return r.UID == owner.GetUID() })
		if len(kept) == len(secret.OwnerReferences) {
			continue
		}
		secret.OwnerReferences = kept
		if _, err := c.client.CoreV1().Secrets(secret.Namespace).Update(ctx, &secret, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (c *standIns) letGo(ctx context.Context, client dynamic.Interface, o *unstructured.Unstructured) error {
	kept := slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(f string) bool { return f == metav1.FinalizerOrphanDependents })
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": kept, "resourceVersion": o.GetResourceVersion()}})
	if err != nil {
		return err
	}
	_, err = client.Resource(tenantCredentials).Namespace(o.GetNamespace()).Patch(ctx, o.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
