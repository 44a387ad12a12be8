package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// A malformed object is refused before it exists, with a message that says what to write.
func TestMalformedObjectsAreRefused(t *testing.T) {
	t.Parallel()
	const id, environment = "tenantID: 7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7aff", "environmentRef: {name: sandbox}"
	tests := []struct {
		name, says string
		spec       []string
	}{
		{"upper case", "write the tenant's ID as a UUID in lower case, for example 7dd06cd6-", []string{"tenantID: 7DD06CD6-54F7-4F8F-A8F1-3D3F4B1C7AFF", environment}},
		{"broken UUID", "write the tenant's ID as a UUID in lower case", []string{"tenantID: 7dd06cd6", environment}},
		{"no UUID", "spec.tenantID: Required", []string{environment}},
		{"no environment", "spec.environmentRef: Required", []string{id}},
		{"no name of an environment", "write the name of a TenantEnvironment, for example sandbox: small letters, digits, dashes and dots", []string{id, "environmentRef: {name: a..b}"}},
		{"no name of a Secret", "write the name of a Secret, for example acme-database: small letters, digits, dashes and dots", []string{id, environment, "delivery: {connectionSecret: {name: Acme_DB}}"}},
		{"long name of a Secret", "spec.delivery.connectionSecret.name: Too long: may not be more than 230", []string{id, environment, "delivery: {connectionSecret: {name: " + strings.Repeat("a", 231) + "}}"}},
		{"parameter that is the operator's", "the login, the password and the address are the operator's to write", []string{id, environment, "databaseURL: {parameters: {host: a}}"}},
		{"negative generation", "write a whole number from 0 to 1000000; 0, or leaving it out, adopts", []string{id, environment, "rotationGeneration: -1"}},
		{"generation too high", "write a whole number from 0 to 1000000", []string{id, environment, "rotationGeneration: 1000001"}},
		{"no delivery", "a rotated password needs a consumer: write delivery: {fly: {}}", []string{id, environment, "delivery: {}"}},
		{"bad variable", "write the name of an environment variable, for example DATABASE_URL", []string{id, environment, "delivery: {fly: {variable: DATABASE-URL}}"}},
		{"request without a revision", "spec.rotationRequest.replacesRevision: Required", []string{id, environment, "rotationRequest: {reason: lost}"}},
		{"request for no revision", "write the revision that is to be replaced, as status.revision shows it", []string{id, environment, "rotationRequest: {replacesRevision: -1}"}},
		{"request beyond every revision", "write the revision that is to be replaced, as status.revision shows it", []string{id, environment, "rotationRequest: {replacesRevision: 9007199254740992}"}},
		{"line break in a reason", "write one line of plain text", []string{id, environment, `rotationRequest: {replacesRevision: 1, reason: "a\nb"}`}},
		{"long reason", "spec.rotationRequest.reason: Too long: may not be more than 256", []string{id, environment, "rotationRequest: {replacesRevision: 1, reason: " + strings.Repeat("a", 257) + "}"}},
		{"empty reason", "spec.rotationRequest.reason", []string{id, environment, `rotationRequest: {replacesRevision: 1, reason: ""}`}},
		{"unknown session policy", `supported values: "Keep", "Terminate"`, []string{id, environment, "rotation: {sessionPolicy: Kill}"}},
		{"unknown strategy", `supported values: "InPlace", "Overlap"`, []string{id, environment, "rotation: {strategy: Twice}"}},
		{"staged with one login", "write rotation: {strategy: Overlap}, or leave rolloutPolicy out", []string{id, environment, "rotation: {strategy: InPlace}", "delivery: {fly: {rolloutPolicy: Staged}}"}},
		{"unknown field", `unknown field "spec.rotateEvery"`, []string{id, environment, "rotateEvery: 1h"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			manifest := "apiVersion: credentials.systemprompt.io/v1alpha1\nkind: TenantCredential\nmetadata: {name: malformed, namespace: tenants-sandbox}\nspec:\n  " +
				strings.Join(test.spec, "\n  ") + "\n"
			output, err := try(manifest, "apply", "--dry-run=server", "--validate=strict", "-f", "-")
			require.Error(t, err, output)
			require.Contains(t, output, test.says)
		})
	}
}

// The fields that name the tenant cannot be changed, and the message says what to do instead.
func TestImmutableFields(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply()
	other := x
	other.ID = "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7aff"
	output, err := try(other.Manifest(), "apply", "--dry-run=server", "-f", "-")
	require.Error(t, err)
	require.Contains(t, output, "tenantID cannot be changed: create another TenantCredential for the other tenant")
	output, err = try(x.Manifest("environmentRef: {name: prod}"), "apply", "--dry-run=server", "-f", "-")
	require.Error(t, err)
	require.Contains(t, output, "environmentRef cannot be changed")
}

// Lowering the number does nothing, as after a Git revert, and the user is told which number rotates.
func TestLoweredGenerationWarns(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply("rotationGeneration: 3")
	x.WaitReady()
	output := kubectl(t, x.Manifest("rotationGeneration: 2"), "apply", "-f", "-")
	require.Contains(t, output, "Warning")
	require.Contains(t, output, "To rotate: raise rotationGeneration to 4.")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	require.NotContains(t, kubectl(t, x.Manifest("rotationGeneration: 4"), "apply", "-f", "-"), "Warning")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
}

// Nor does a number that is done already, to which a repository that lags behind raises it again. There is no warning about an unchanged number, or
// one that rotates.
func TestGenerationThatIsDoneWarns(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply("rotationGeneration: 3")
	x.WaitReady()
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	for _, done := range []string{"2", "3"} {
		output := kubectl(t, x.Manifest("rotationGeneration: "+done), "apply", "-f", "-")
		require.Contains(t, output, "Warning")
		require.Contains(t, output, "rotationGeneration "+done+" is not above 3, which is already completed; no rotation starts. To rotate: raise rotationGeneration to 4.")
		x.WaitReady()
	}
	require.Contains(t, kubectl(t, x.Manifest(), "apply", "-f", "-"), "rotationGeneration 0 is not above 3, which is already completed", "the number is taken out")
	require.NotContains(t, kubectl(t, x.Manifest("suspend: false"), "apply", "-f", "-"), "Warning", "another field")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	require.NotContains(t, kubectl(t, x.Manifest("rotationGeneration: 4", "suspend: true"), "apply", "-f", "-"), "Warning")
	require.Contains(t, kubectl(t, x.Manifest("rotationGeneration: 3", "suspend: true"), "apply", "-f", "-"), "Warning", "what was asked for is taken back")
	require.NotContains(t, kubectl(t, x.Manifest("rotationGeneration: 4"), "apply", "-f", "-"), "Warning")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
}

func TestExplain(t *testing.T) {
	t.Parallel()
	output := strings.Join(strings.Fields(kubectl(t, "", "explain", "tcred.spec.rotationGeneration")), " ")
	for _, part := range []string{"To rotate, raise it by one", "kubectl patch tcred", "Lowering or removing it does nothing", "adopted as it is"} {
		require.Contains(t, output, part)
	}
	newRow(t).Apply()
	for _, column := range []string{"READY", "REASON", "ASKED", "DONE", "ROTATED", "AGE", "TENANT", "ENV", "REV", "APP", "MESSAGE"} {
		require.Contains(t, kubectl(t, "", "get", "tcred", "-A", "-o", "wide"), column)
	}
}

// The manager's own account can do what it needs and nothing else. In the tenants' namespaces it reads and writes Secrets by name, and only
// because the owners of those have given it the right.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	as := []string{"auth", "can-i", "--as=system:serviceaccount:tcred-system:tenant-credential-operator"}
	for _, test := range []struct {
		may  bool
		what []string
	}{
		{true, []string{"get", "secrets", "-n", "tcred-system"}},
		{true, []string{"get", "secrets", "-n", "tenants-sandbox"}},
		{false, []string{"get", "secrets", "-n", "default"}},
		{false, []string{"list", "secrets", "-n", "tenants-sandbox"}},
		{false, []string{"watch", "secrets", "-n", "tenants-sandbox"}},
		{false, []string{"patch", "secrets", "-n", "tenants-sandbox"}},
		{false, []string{"delete", "tenantcredentials.credentials.systemprompt.io", "-n", "tenants-sandbox"}},
		{true, []string{"patch", "tenantenvironments.credentials.systemprompt.io"}}, // its finalizer
		{false, []string{"delete", "tenantenvironments.credentials.systemprompt.io"}},
		{false, []string{"get", "pods", "-n", "tenants-sandbox"}},
	} {
		output, err := try("", append(as, test.what...)...)
		require.Equal(t, test.may, err == nil, "%v: %s", test.what, output)
	}
	own := kubectl(t, "", "get", "clusterrole", "tenant-credential-operator", "-o", "jsonpath={.rules[*].resources}")
	require.Contains(t, own, "tenantcredentials")
	require.NotContains(t, own, "secrets", "without the component there is no way to a tenant's Secret")
}

// A namespace's people may read the environments where the component is installed, and only then. They may never edit one.
func TestEnvironmentView(t *testing.T) {
	t.Parallel()
	component := harness.Repository + "/config/components/environment-view"
	kubectl(t, "", "-n", "tenants-prod", "create", "rolebinding", "reader", "--clusterrole=tenant-credential-operator-view", "--user=reader")
	kubectl(t, "", "-n", "tenants-prod", "create", "rolebinding", "editor", "--clusterrole=tenant-credential-operator-edit", "--user=editor")
	t.Cleanup(func() { kubectl(t, "", "-n", "tenants-prod", "delete", "rolebinding", "reader", "editor") })
	for _, user := range []string{"reader", "editor"} {
		output, err := try("", "--as="+user, "get", "tenv", "sandbox")
		require.Error(t, err, output)
		require.Contains(t, output, `cannot get resource "tenantenvironments"`)
		kubectl(t, "", "--as="+user, "-n", "tenants-prod", "get", "tcred")
	}
	kubectl(t, "", "apply", "-k", component)
	t.Cleanup(func() { kubectl(t, "", "delete", "-k", component, "--ignore-not-found") })
	for _, user := range []string{"reader", "editor"} {
		require.Eventually(t, func() bool { // the API server has seen the binding
			_, err := try("", "--as="+user, "get", "tenv", "sandbox")
			return err == nil
		}, patience, 100*time.Millisecond)
		require.Contains(t, kubectl(t, "", "--as="+user, "get", "tenv"), "prod")
		for _, edit := range [][]string{
			{"patch", "tenv", "sandbox", "--dry-run=server", "--type=merge", "-p", `{"spec":{"tenantBinding":"None"}}`},
			{"patch", "tenv", "sandbox", "--dry-run=server", "--subresource=status", "--type=merge", "-p", `{"status":{"database":"x"}}`},
			{"delete", "tenv", "sandbox", "--dry-run=server"},
		} {
			output, err := try("", append([]string{"--as=" + user}, edit...)...)
			require.Error(t, err, output)
			require.Contains(t, output, "forbidden")
		}
	}
	kubectl(t, "", "delete", "-k", component)
	require.Eventually(t, func() bool {
		_, err := try("", "--as=reader", "get", "tenv", "sandbox")
		return err != nil
	}, patience, 100*time.Millisecond)
}
