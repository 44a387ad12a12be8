package endpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// A gateway that is taken over reads no Secret, no password and no other table.
func TestGatewayMayReadNoSecret(t *testing.T) {
	t.Parallel()
	x := newOwned(t, "stopped")
	kubeconfig := "--kubeconfig=" + filepath.Join(os.Getenv("PLAYGROUND_DIR"), "gateway.kubeconfig")
	for _, arguments := range []string{
		"-n tcred-system get secrets", "-n tcred-system get secret postgres-sandbox", "-n tcred-system get secret fly-sandbox", "get secrets -A",
		"-n tenants-sandbox get secrets", "-n tcred-system get configmaps", "get nodes", "get namespaces", "-n tcred-system get pods",
		"-n tenants-sandbox delete tcred acme", "-n tenants-sandbox create -f -", "delete tenv sandbox", "-n tenants-sandbox patch tcred acme --subresource=status --type=merge -p {}",
		"patch tenv sandbox --type=merge -p {\"spec\":{\"maxConcurrent\":1}}", "-n tcred-system create token tenant-credential-operator",
	} {
		manifest := ""
		if strings.HasSuffix(arguments, "-f -") {
			manifest = "apiVersion: credentials.systemprompt.io/v1alpha1\nkind: TenantCredential\nmetadata: {name: stolen}\nspec: {tenantID: 7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01, environmentRef: {name: sandbox}}\n"
		}
		output, err := harness.Try(manifest, append([]string{kubeconfig}, strings.Fields(arguments)...)...)
		require.Error(t, err, "kubectl %s: %s", arguments, output)
		require.Contains(t, output, "orbidden", "kubectl %s", arguments)
	}

	// It writes its own two fields, and no other: those of the spec are all tried.
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema struct {
						Properties struct {
							Spec struct{ Properties map[string]any }
						}
					}
				}
			}
		}
	}
	definition := harness.Kubectl(t, "", "get", "crd", "tenantcredentials.credentials.systemprompt.io", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(definition), &crd))
	fields := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties.Spec.Properties
	for _, field := range []string{"rotationRequest", "externalAccess", "tenantID", "environmentRef"} { // the last two can be changed by no one
		require.Contains(t, fields, field)
		delete(fields, field)
	}
	values := map[string]string{
		"rotationGeneration": "9", "rotation": `{"strategy":"Overlap"}`, "delivery": `{"connectionSecret":{"name":"stolen"}}`,
		"databaseURL": `{"scheme":"postgres"}`, "suspend": "true",
	}
	for field := range fields {
		require.Contains(t, values, field, "a new field: the policy has to keep the gateway from it")
		output, err := harness.Try("", kubeconfig, "-n", "tenants-sandbox", "patch", "tcred", x.Name, "--type=merge", "-p", `{"spec":{"`+field+`":`+values[field]+`}}`)
		require.Error(t, err, field)
		require.Contains(t, output, "the gateway writes spec.rotationRequest and spec.externalAccess, and nothing else", field)
	}
	for _, metadata := range []string{`{"labels":{"a":"b"}}`, `{"annotations":{"a":"b"}}`, `{"finalizers":["example.com/a"]}`} {
		output, err := harness.Try("", kubeconfig, "-n", "tenants-sandbox", "patch", "tcred", x.Name, "--type=merge", "-p", `{"metadata":`+metadata+`}`)
		require.Error(t, err, metadata)
		require.Contains(t, output, "and nothing else")
	}

	login, err := os.ReadFile(filepath.Join(os.Getenv("PLAYGROUND_DIR"), "gateway", "logins", "sandbox"))
	require.NoError(t, err)
	gateway, err := pgx.Connect(t.Context(), strings.TrimSpace(string(login)))
	require.NoError(t, err)
	defer func() { _ = gateway.Close(t.Context()) }()
	for _, statement := range []string{
		"SELECT rolpassword FROM pg_authid", "SELECT password_hash FROM management.tenants", "SELECT * FROM tenant_credentials.rotations",
		"SELECT * FROM tenant_credentials.observe('{}')", "SELECT * FROM tenant_credentials.survey()", "SET ROLE tenant_credentials_owner",
		"SELECT pg_read_file('/etc/passwd')", "CREATE TABLE management.mine ()", "ALTER ROLE tenant_7dd06cd6 PASSWORD 'mine'",
	} {
		_, err := gateway.Exec(t.Context(), statement)
		require.ErrorContains(t, err, "permission denied", statement)
	}
}
