package fly

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// The API server refuses what the client would, with what to write instead.
func TestIntruderAPIURL(t *testing.T) {
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	server := envtest.Environment{ControlPlaneStartTimeout: 3 * time.Minute,
		CRDDirectoryPaths: []string{filepath.Join(root, "config", "crd", "bases")}, ErrorIfCRDPathMissing: true,
		BinaryAssetsDirectory: filepath.Join(root, "bin", "k8s"),
	}
	defer func() { require.NoError(t, server.Stop()) }() // also where only a part of it has started
	config, err := server.Start()
	require.NoError(t, err)
	c, err := client.New(config, client.Options{})
	require.NoError(t, err)
	create := func(fly map[string]any) error {
		fly["tokenSecretRef"] = map[string]any{"name": "token"}
		environment := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "credentials.systemprompt.io/v1alpha1", "kind": "TenantEnvironment", "metadata": map[string]any{"name": "e"},
			"spec": map[string]any{
				"fly": fly, "allowedNamespaces": map[string]any{"from": "All"},
				"postgres": map[string]any{"loginSecretRef": map[string]any{"name": "login"}, "internal": map[string]any{"host": "db.internal"}},
			},
		}}
		return c.Create(t.Context(), environment, client.DryRunAll)
	}
	for _, test := range addresses {
		t.Run(test.name, func(t *testing.T) {
			fly := map[string]any{"apiURL": test.url}
			if test.insecure {
				fly["insecure"] = true
			}
			err := create(fly)
			if test.crd == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.crd)
		})
	}
	require.NoError(t, create(map[string]any{}), "the default is Fly's own")
	require.ErrorContains(t, create(map[string]any{"apiURL": "http://evil.example", "insecure": false}), crdClear)
	require.ErrorContains(t, create(map[string]any{"apiURL": "http://evil.example", "insecure": "true"}), "must be of type boolean")
}
