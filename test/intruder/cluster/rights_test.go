package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// The API server refuses writes that would give an editor of a namespace more rights.
func TestIntruderWritesWhatGivesRights(t *testing.T) {
	enter(t)
	x := newTenant(t, "stopped")
	x.Apply()
	x.WaitReady()
	for _, test := range []struct {
		name, says string
		what       []string
	}{
		{"the status of an object", `cannot get resource "tenantcredentials/status"`, []string{"--as=" + insider, "-n", home, "patch", "tcred", x.Name, "--subresource=status", "--type=merge", "-p", `{"status":{"revision":99}}`}},
		{"a binding label on a namespace", `cannot patch resource "namespaces"`, []string{"label", "namespace", unbound, boundLabel + x.ID + "=allowed"}},
		{"the label that an environment accepts", `cannot patch resource "namespaces"`, []string{"patch", "namespace", evil, "--type=merge", "-p", `{"metadata":{"labels":{"example.com/environment":"sandbox"}}}`}},
		{"an environment", `cannot get resource "tenantenvironments"`, []string{"patch", "tenv", "sandbox", "--type=merge", "-p", `{"spec":{"tenantBinding":"None"}}`}},
		{"a namespace that has the label", `cannot create resource "namespaces"`, []string{"create", "-f", "-", "--validate=false"}},
		{"a role binding for the operator", `cannot create resource "rolebindings"`, []string{"-n", "kube-system", "create", "rolebinding", "b", "--clusterrole=tenant-credential-operator-connection-secret", "--serviceaccount=tcred-system:tenant-credential-operator"}},
		{"the operator's login", `cannot get resource "secrets"`, []string{"-n", "tcred-system", "get", "secret", "postgres-sandbox"}},
		{"a token of the operator", `cannot create resource "serviceaccounts/token"`, []string{"-n", "tcred-system", "create", "token", "tenant-credential-operator"}},
		{"another namespace's object", `cannot get resource "tenantcredentials"`, []string{"-n", "tenants-prod", "get", "tcred", "hooli"}},
		{"the operator's lease", `cannot list resource "leases"`, []string{"-n", "tcred-system", "get", "leases"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			manifest := ""
			if test.what[0] == "create" {
				manifest = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"mine","labels":{"example.com/environment":"sandbox"}}}`
			}
			output, err := try(manifest, append([]string{"--as=" + outsider}, test.what...)...)
			requireRefusal(t, output, err, test.says)
		})
	}
	t.Run("the status in a manifest", func(t *testing.T) {
		o := object{t, insider, home, "status-" + x.Short}
		kubectl(t, "", "label", "namespace", home, boundLabel+"00000000-0000-4000-8000-00000000beef-")
		o.apply(o.manifest("00000000-0000-4000-8000-00000000beef", nil) + "status: {revision: 99, rotationGeneration: 99, observedGeneration: 1}\n")
		o.waitReason("TenantNotBound")
		require.Zero(t, o.get().Status.Revision)
		require.Zero(t, o.get().Status.RotationGeneration)
	})
}

// An object whose text or numbers could not work, or would forge a line in a log, is refused before it exists. It is tried as a user who
// may write any requestedBy.
func TestIntruderWritesWhatTheAPIRefuses(t *testing.T) {
	enter(t)
	const id, plain = "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7aff", "write one line of plain text"
	tests := map[string]struct {
		id, spec, says string
	}{
		"tenantID in upper case":                {"7DD06CD6-54F7-4F8F-A8F1-3D3F4B1C7AFF", "", "write the tenant's ID as a UUID in lower case"},
		"tenantID too short":                    {"7dd06cd6", "", "write the tenant's ID as a UUID in lower case"},
		"tenantID with SQL":                     {`"7dd06cd6'; drop table x; --"`, "", "write the tenant's ID as a UUID in lower case"},
		"tenantID with a line more":             {`"7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7aff\n"`, "", "spec.tenantID"},
		"replacesRevision absurd":               {id, "rotationRequest: {replacesRevision: 9007199254740992}", "write the revision that is to be replaced"},
		"replacesRevision negative":             {id, "rotationRequest: {replacesRevision: -1}", "write the revision that is to be replaced"},
		"replacesRevision no number":            {id, "rotationRequest: {replacesRevision: 1e400}", "replacesRevision"},
		"connectionSecret in another namespace": {id, "delivery: {connectionSecret: {name: tcred-system/postgres-sandbox}}", "write the name of a Secret"},
		"connectionSecret above":                {id, "delivery: {connectionSecret: {name: ../x}}", "write the name of a Secret"},
		"environment above":                     {id, "environmentRef: {name: ../sandbox}", "write the name of a TenantEnvironment"},
		"variable with a value":                 {id, `delivery: {fly: {variable: "A=B"}}`, "write the name of an environment variable"},
	}
	for name, escape := range map[string]string{"NUL": `\u0000`, "line break": `\n`, "carriage return": `\r`, "tab": `\t`, "ESC": `\u001b[31m`, "DEL": `\u007f`, "NEL": `\u0085`, "CSI": `\u009b`,
		"Arabic letter mark": `\u061c`, "left-to-right mark": `\u200e`, "right-to-left mark": `\u200f`, "line separator": `\u2028`, "paragraph separator": `\u2029`,
		"embedding": `\u202a`, "override": `\u202e`, "isolate": `\u2066`, "end of an isolate": `\u2069`} {
		for _, field := range []string{"reason", "requestedBy"} {
			tests[field+" with "+name] = struct{ id, spec, says string }{id, `rotationRequest: {replacesRevision: 1, ` + field + `: "a` + escape + `b"}`, plain}
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := object{t, "", home, "malformed"}
			var spec []string
			if test.spec != "" {
				spec = append(spec, test.spec)
			}
			output, err := try(o.manifest(test.id, nil, spec...), "apply", "--dry-run=server", "-f", "-")
			requireRefusal(t, output, err, test.says)
		})
	}
	t.Run("reason in any language", func(t *testing.T) {
		o := object{t, "", home, "well-formed"}
		kubectl(t, o.manifest(id, nil, `rotationRequest: {replacesRevision: 9007199254740991, reason: "ноутбук утерян, 笔记本丢失 👩‍💻"}`), "apply", "--dry-run=server", "-f", "-")
	})
}

// The fields that name the tenant cannot be changed, no editor asks in another's name, and a request for a revision that does not exist does nothing.
func TestIntruderEditsAnObject(t *testing.T) {
	enter(t)
	x := newTenant(t, "stopped")
	x.Apply(generation(1))
	x.WaitReady()
	before := factsOf(t, x)
	for name, test := range map[string]struct{ patch, says string }{
		"another environment":            {patch(`{"environmentRef":{"name":"prod"}}`), "environmentRef cannot be changed"},
		"another tenant":                 {patch(`{"tenantID":"7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01"}`), "tenantID cannot be changed"},
		"in another's name":              {patch(`{"rotationRequest":{"replacesRevision":1,"requestedBy":"alice"}}`), "write your own name, requestedBy: " + insider},
		"in the operator's name":         {patch(`{"rotationRequest":{"replacesRevision":1,"requestedBy":"` + operator + `"}}`), "write your own name, requestedBy: " + insider},
		"a revision that does not exist": {patch(`{"rotationRequest":{"replacesRevision":9007199254740991}}`), "is above the newest revision, 1"},
		"into nowhere":                   {patch(`{"delivery":{"fly":null}}`), "a rotated password needs a consumer"},
	} {
		t.Run(name, func(t *testing.T) {
			output, err := try("", "--as="+insider, "-n", home, "patch", "tcred", x.Name, "--type=merge", "-p", test.patch)
			requireRefusal(t, output, err, test.says)
		})
	}
	require.Equal(t, before, factsOf(t, x))
	x.Delete()
}

// A stolen token of the operator reads no Secret but its own, and those that a namespace's owner has given it, by name.
func TestIntruderHasTheOperatorsToken(t *testing.T) {
	enter(t)
	for _, what := range []string{
		"list secrets -n " + home, "watch secrets -n " + home, "patch secrets -n " + home, "deletecollection secrets -n " + home,
		"list secrets --all-namespaces", "get secrets -n kube-system", "create secrets -n kube-system", "get secrets -n default", "create secrets -n default",
		"create serviceaccounts/token -n kube-system", "create serviceaccounts/token -n tcred-system", "update secrets -n tcred-system", "create secrets -n tcred-system",
		"create tenantcredentials.credentials.systemprompt.io -n " + home, "delete tenantcredentials.credentials.systemprompt.io -n " + home,
		"update tenantcredentials.credentials.systemprompt.io -n " + home, "create tenantenvironments.credentials.systemprompt.io",
		"update tenantenvironments.credentials.systemprompt.io", "delete tenantenvironments.credentials.systemprompt.io",
		"create rolebindings.rbac.authorization.k8s.io -n " + home, "create clusterrolebindings.rbac.authorization.k8s.io", "impersonate users", "patch namespaces",
		"get pods -n " + home, "create pods -n tcred-system", "create pods/exec -n " + home, "patch validatingadmissionpolicies.admissionregistration.k8s.io",
		"patch customresourcedefinitions.apiextensions.k8s.io", "attribute tenantcredentials.credentials.systemprompt.io -n " + home,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			output, err := try("", append([]string{"--as=" + operator, "auth", "can-i"}, strings.Fields(what)...)...)
			require.Error(t, err, output)
			require.Contains(t, output, "no")
		})
	}
	t.Run("a Secret in kube-system", func(t *testing.T) {
		t.Parallel()
		output, err := try("", "--as="+operator, "-n", "kube-system", "get", "secret", "any")
		requireRefusal(t, output, err, fmt.Sprintf("User %q cannot get resource \"secrets\"", operator))
	})
	t.Run("the cluster-wide form says what it means", func(t *testing.T) {
		t.Parallel()
		text := kubectl(t, "", "kustomize", harness.Repository+"/config/components/connection-secret")
		require.NotContains(t, text, "RoleBinding", "the component alone gives a right")
	})
}
