// Package versions tries on a real API server what docs/reference/versions.md says of versions, and of a downgrade.
package versions

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

const group = "credentials.systemprompt.io"

var name = types.NamespacedName{Namespace: "default", Name: "acme"}

// One schema is served under two names: an object that was made by the one is the same object by the other, and nothing of it is lost.
func TestTwoVersionsWithOneSchema(t *testing.T) {
	api := start(t)
	definition := shipped(t)
	beta := runtime.DeepCopyJSON(versionsOf(t, definition)[0].(map[string]any))
	beta["name"] = "v1beta1"
	beta["storage"] = false
	setVersions(t, definition, append(versionsOf(t, definition), beta))
	api.install(definition, "v1beta1")

	api.create("v1alpha1", map[string]any{"rotationRequest": map[string]any{"replacesRevision": int64(0), "reason": "laptop lost"}})
	alpha := api.get("v1alpha1")
	seen := api.get("v1beta1")
	require.Equal(t, alpha.Object["spec"], seen.Object["spec"])
	require.Equal(t, alpha.Object["status"], seen.Object["status"])
	require.Equal(t, alpha.GetUID(), seen.GetUID())

	require.NoError(t, unstructured.SetNestedField(seen.Object, int64(3), "spec", "rotationGeneration"))
	require.NoError(t, api.Update(t.Context(), seen))
	alpha = api.get("v1alpha1")
	require.Equal(t, seen.Object["spec"], alpha.Object["spec"])

	stored, _, err := unstructured.NestedStringSlice(api.definition().Object, "status", "storedVersions")
	require.NoError(t, err)
	require.Equal(t, []string{"v1alpha1"}, stored)

	definition = api.definition() // a version that objects may be stored in is not given up
	setVersions(t, definition, versionsOf(t, definition)[1:])
	require.NoError(t, unstructured.SetNestedField(versionsOf(t, definition)[0].(map[string]any), true, "storage"))
	require.ErrorContains(t, api.Update(t.Context(), definition), "status.storedVersions[0]: Invalid value: \"v1alpha1\"")
}

// An older CRD hides a field that it does not know. The field is lost with the next write of the object, the
// status included, and not before.
func TestOlderDefinition(t *testing.T) {
	api := start(t)
	newer := shipped(t)
	properties, _, err := unstructured.NestedMap(versionsOf(t, newer)[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties")
	require.NoError(t, err)
	properties["future"] = map[string]any{"type": "string", "maxLength": int64(8)}
	require.NoError(t, unstructured.SetNestedMap(versionsOf(t, newer)[0].(map[string]any), properties, "schema", "openAPIV3Schema", "properties", "spec", "properties"))
	api.install(newer, "v1alpha1")
	api.create("v1alpha1", map[string]any{"future": "kept"})
	future := func() string {
		value, _, err := unstructured.NestedString(api.get("v1alpha1").Object, "spec", "future")
		require.NoError(t, err)
		return value
	}
	require.Equal(t, "kept", future())

	api.replace(shipped(t))
	require.Eventually(t, func() bool { return future() == "" }, patience, 50*time.Millisecond)
	api.replace(newer)
	require.Eventually(t, func() bool { return future() == "kept" }, patience, 50*time.Millisecond)

	api.replace(shipped(t))
	require.Eventually(t, func() bool { return future() == "" }, patience, 50*time.Millisecond)
	object := api.get("v1alpha1")
	require.NoError(t, unstructured.SetNestedField(object.Object, int64(1), "status", "revision"))
	require.NoError(t, api.Status().Update(t.Context(), object)) // as the operator does
	api.replace(newer)
	require.NoError(t, unstructured.SetNestedField(object.Object, "again", "spec", "future")) // the newer definition is in force once it takes this
	require.Eventually(t, func() bool {
		trial := object.DeepCopy()
		if err := api.Update(t.Context(), trial, client.DryRunAll); err != nil {
			return false
		}
		value, _, _ := unstructured.NestedString(trial.Object, "spec", "future")
		return value == "again"
	}, patience, 50*time.Millisecond)
	require.Empty(t, future())
}

// A text that an older CRD finds too long stays, and the object can be written; only another text has to be short enough.
func TestOlderDefinitionWithATighterBound(t *testing.T) {
	api := start(t)
	newer := shipped(t)
	field := []string{"schema", "openAPIV3Schema", "properties", "spec", "properties", "rotationRequest", "properties", "reason", "maxLength"}
	require.NoError(t, unstructured.SetNestedField(versionsOf(t, newer)[0].(map[string]any), int64(512), field...))
	api.install(newer, "v1alpha1")
	long := strings.Repeat("a", 300)
	api.create("v1alpha1", map[string]any{"rotationRequest": map[string]any{"replacesRevision": int64(0), "reason": long}})
	reason := []string{"spec", "rotationRequest", "reason"}

	api.replace(shipped(t))
	object := api.get("v1alpha1")
	require.NoError(t, unstructured.SetNestedField(object.Object, long+"b", reason...))
	require.Eventually(t, func() bool {
		err := api.Update(t.Context(), object.DeepCopy(), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "Too long: may not be more than 256")
	}, patience, 50*time.Millisecond)

	object = api.get("v1alpha1")
	require.NoError(t, unstructured.SetNestedField(object.Object, int64(1), "status", "revision"))
	require.NoError(t, api.Status().Update(t.Context(), object))
	require.NoError(t, unstructured.SetNestedField(object.Object, true, "spec", "suspend"))
	require.NoError(t, api.Update(t.Context(), object))
	kept, _, err := unstructured.NestedString(api.get("v1alpha1").Object, reason...)
	require.NoError(t, err)
	require.Equal(t, long, kept)
}

const patience = time.Minute

// apiServer is a real one without anything of the operator.
type apiServer struct {
	client.Client
	t *testing.T
}

func start(t *testing.T) apiServer {
	t.Helper()
	server := envtest.Environment{ControlPlaneStartTimeout: 3 * time.Minute, BinaryAssetsDirectory: filepath.Join(harness.Repository, "bin", "k8s")}
	t.Cleanup(func() { require.NoError(t, server.Stop()) }) // also where only a part of it has started
	config, err := server.Start()
	require.NoError(t, err)
	c, err := client.New(config, client.Options{})
	require.NoError(t, err)
	return apiServer{c, t}
}

// shipped is the definition of TenantCredentials in config/crd.
func shipped(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(harness.Repository, "config", "crd", "bases", group+"_tenantcredentials.yaml"))
	require.NoError(t, err)
	var definition unstructured.Unstructured
	require.NoError(t, yaml.Unmarshal(content, &definition))
	return &definition
}

func versionsOf(t *testing.T, definition *unstructured.Unstructured) []any {
	t.Helper()
	versions, _, err := unstructured.NestedFieldNoCopy(definition.Object, "spec", "versions")
	require.NoError(t, err)
	return versions.([]any)
}

func setVersions(t *testing.T, definition *unstructured.Unstructured, versions []any) {
	t.Helper()
	definition.Object["spec"].(map[string]any)["versions"] = versions
}

// install creates a definition and waits until a version of it is served.
func (a apiServer) install(definition *unstructured.Unstructured, version string) {
	a.t.Helper()
	require.NoError(a.t, a.Create(a.t.Context(), definition.DeepCopy()))
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: version, Kind: "TenantCredentialList"})
	require.Eventually(a.t, func() bool { return a.List(a.t.Context(), list) == nil }, patience, 50*time.Millisecond)
}

// replace puts another definition in the place of the one that is installed.
func (a apiServer) replace(definition *unstructured.Unstructured) {
	a.t.Helper()
	next := definition.DeepCopy()
	next.SetResourceVersion(a.definition().GetResourceVersion())
	require.NoError(a.t, a.Update(a.t.Context(), next))
}

func (a apiServer) definition() *unstructured.Unstructured {
	a.t.Helper()
	definition := &unstructured.Unstructured{}
	definition.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	require.NoError(a.t, a.Get(a.t.Context(), types.NamespacedName{Name: "tenantcredentials." + group}, definition))
	return definition
}

// create makes an object with these fields of the spec besides the required ones.
func (a apiServer) create(version string, spec map[string]any) {
	a.t.Helper()
	spec["tenantID"] = "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01"
	spec["environmentRef"] = map[string]any{"name": "sandbox"}
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetGroupVersionKind(kind(version))
	object.SetNamespace(name.Namespace)
	object.SetName(name.Name)
	require.NoError(a.t, a.Create(a.t.Context(), object))
}

func (a apiServer) get(version string) *unstructured.Unstructured {
	a.t.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind(version))
	require.NoError(a.t, a.Get(a.t.Context(), name, object))
	return object
}

func kind(version string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: group, Version: version, Kind: "TenantCredential"}
}
