// Package cluster attacks the operator through the Kubernetes API, as an editor of a namespace does: with kubectl against a real
// kube-apiserver, real PostgreSQL, the Fly emulator, and the manager as it is shipped. Each attack names the reason with which it is refused.
package cluster

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // the tests wait most of the time
		panic(err)
	}
	os.Exit(harness.Run(m))
}

var (
	try       = harness.Try
	kubectl   = harness.Kubectl
	newTenant = platform.NewTenant
)

type tenant = platform.Tenant

const (
	home = "tenants-sandbox" // accepted by environment sandbox, and bound to the tenants

	evil    = "evil"    // accepted by no environment
	unbound = "unbound" // accepted by environment sandbox, and bound to no tenant
	other   = "other"   // accepted by environment sandbox; a test binds it

	outsider = "mallory" // edits evil, unbound and other
	insider  = "trudy"   // edits tenants-sandbox

	operator  = "system:serviceaccount:tcred-system:tenant-credential-operator"
	finalizer = "credentials.systemprompt.io/finish-rotation"
)

// arena makes the attackers and their namespaces, once. The operator may write Secrets there, so a missing right does not keep passwords
// out. The roles are those that edit aggregates: no controller does that here.
var arena = sync.OnceValue(func() error {
	manifest := ""
	for _, namespace := range []string{evil, unbound, other} {
		labels := "{}"
		if namespace != evil {
			labels = "{example.com/environment: sandbox}"
		}
		manifest += fmt.Sprintf("---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: %s}\n", namespace, labels)
		manifest += binding(namespace, "connection-secret", "tenant-credential-operator-connection-secret",
			"{kind: ServiceAccount, name: tenant-credential-operator, namespace: tcred-system}")
	}
	for namespace, user := range map[string]string{evil: outsider, unbound: outsider, other: outsider, home: insider} {
		for _, role := range []string{"system:aggregate-to-edit", "system:aggregate-to-view", "tenant-credential-operator-edit"} {
			manifest += binding(namespace, user+"-"+role, role, "{kind: User, apiGroup: rbac.authorization.k8s.io, name: "+user+"}")
		}
	}
	if output, err := try(manifest, "apply", "-f", "-"); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	for deadline := time.Now().Add(time.Minute); ; { // the authorizer learns of the roles a moment later
		output, err := try("", "--as="+outsider, "-n", other, "auth", "can-i", "create", "tenantcredentials.credentials.systemprompt.io")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the attacker has no role: %s", output)
		}
	}
})

func binding(namespace, name, role, subject string) string {
	return fmt.Sprintf(`---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: %q, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %q}
subjects: [%s]
`, name, namespace, role, subject)
}

func enter(t *testing.T) {
	t.Helper()
	t.Parallel()
	require.NoError(t, arena())
}

// facts are what an attack on a tenant is after.
type facts struct {
	Verifier, Hash, URL string
	Rows                map[string]int
	Claims              string
}

func factsOf(t *testing.T, x tenant) facts {
	t.Helper()
	f := facts{URL: x.URL(), Rows: x.Rows()}
	f.Verifier, f.Hash = x.Hashes()
	require.NoError(t, x.Pool().QueryRow(context.Background(),
		"SELECT coalesce(string_agg(uid || ' ' || namespace, ','), '') FROM tenant_credentials.claims WHERE tenant_id = $1", x.ID).Scan(&f.Claims))
	return f
}

// object is a TenantCredential in a namespace of the attacker's choice.
type object struct {
	t               *testing.T
	as              string
	namespace, name string
}

// manifest is its YAML; metadata and spec are further lines of those.
func (o object) manifest(tenantID string, metadata []string, spec ...string) string {
	if !strings.Contains(strings.Join(spec, ""), "environmentRef") {
		spec = append(spec, "environmentRef: {name: sandbox}")
	}
	lines := append([]string{"apiVersion: credentials.systemprompt.io/v1alpha1", "kind: TenantCredential", "metadata:", "  name: " + o.name, "  namespace: " + o.namespace}, indented(metadata)...)
	lines = append(lines, "spec:", "  tenantID: "+tenantID)
	return strings.Join(append(lines, indented(spec)...), "\n") + "\n"
}

func indented(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = "  " + line
	}
	return out
}

// apply applies a manifest as the attacker. The object goes when the test ends.
func (o object) apply(manifest string) {
	o.t.Helper()
	o.t.Cleanup(func() {
		_, _ = try("", "-n", o.namespace, "patch", "tcred", o.name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
		_, _ = try("", "-n", o.namespace, "delete", "tcred", o.name, "--ignore-not-found", "--timeout=60s")
	})
	kubectl(o.t, manifest, "--as="+o.as, "apply", "-f", "-")
}

func (o object) waitReason(reason string) {
	o.t.Helper()
	output, err := try("", "-n", o.namespace, "wait", "tcred", o.name, "--timeout=60s", `--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=`+reason)
	if err != nil {
		o.t.Fatalf("not refused with %s: %s\n%s", reason, output, o.describe())
	}
}

func (o object) describe() string {
	output, _ := try("", "-n", o.namespace, "get", "tcred", o.name, "-o", "jsonpath={.status}")
	return output
}

func (o object) get() platform.Object {
	o.t.Helper()
	var p platform.Object
	require.NoError(o.t, json.Unmarshal([]byte(kubectl(o.t, "", "-n", o.namespace, "get", "tcred", o.name, "-o", "json")), &p))
	return p
}

// poke edits the object as the attacker, and returns when the operator has looked at it after that.
func (o object) poke() { o.looked(func() { o.annotate("example.com/poke=" + time.Now().String()) }) }

func (o object) annotate(pair string) {
	o.t.Helper()
	kubectl(o.t, "", "--as="+o.as, "-n", o.namespace, "annotate", "--overwrite", "tcred", o.name, pair)
}

// looked returns when the operator has looked at the object after an act.
func (o object) looked(act func()) {
	o.t.Helper()
	before := o.looks()
	act()
	require.Eventually(o.t, func() bool { return o.looks() > before }, time.Minute, 50*time.Millisecond, "the operator did not look")
}

// looks counts the passes over the object in the manager's debug log.
func (o object) looks() int {
	log, err := os.ReadFile(os.Getenv("MANAGER_LOG"))
	require.NoError(o.t, err)
	count := 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, `"msg":"Looked"`) && strings.Contains(line, `"namespace":"`+o.namespace+`"`) && strings.Contains(line, `"name":"`+o.name+`"`) {
			count++
		}
	}
	return count
}

// requireNoSecret fails the test where a Secret of that name, or one that a rotation stages for it, is in the namespace.
func requireNoSecret(t *testing.T, namespace, name string) {
	t.Helper()
	for line := range strings.Lines(kubectl(t, "", "-n", namespace, "get", "secrets", "-o", "name")) {
		require.False(t, strings.HasPrefix(strings.TrimSpace(line), "secret/"+name), "%s in namespace %s", line, namespace)
	}
}

func requireRefusal(t *testing.T, output string, err error, says string) {
	t.Helper()
	require.Error(t, err, "it was accepted: %s", output)
	require.Contains(t, output, says)
}

const (
	waitLong = time.Minute
	waitStep = 50 * time.Millisecond
)

func replaced(text string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(text)
}
