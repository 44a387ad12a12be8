package secrecy

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// secretApps are the apps of tenants whose passwords go into a Secret, too: those may stand in etcd.
var secretApps sync.Map

// rotateIntoSecret is rotate for a tenant with an app and a connection Secret.
func rotateIntoSecret(t *testing.T, provoke func(t *testing.T, x tenant, spec string)) {
	t.Helper()
	x := platform.NewTenant(t, "started")
	secretApps.Store(x.App(), true)
	spec := "delivery: {fly: {}, connectionSecret: {name: " + x.Name + "-db}}"
	x.Apply(spec, "rotationGeneration: 1")
	x.WaitReady()
	provoke(t, x, spec)
	x.Apply(spec, "rotationGeneration: 2")
	x.WaitReady()
	secret := x.Secret(x.Name + "-db")
	require.NotNil(t, secret)
	require.Equal(t, x.URL(), string(secret.Data["url"]))
	platform.RequireAccepted(t, x.URL())
}

// secretFailures are the ways in which delivering to a Secret fails, by what brings each about.
var secretFailures = map[string]func(t *testing.T, x tenant, spec string){
	"none": func(*testing.T, tenant, string) {},
	"a policy refuses the staged Secret, and repeats what it was given": func(t *testing.T, x tenant, spec string) {
		refusedAloud(t, x, x.Name+"-db-r2", spec)
	},
	"a policy refuses the Secret after COMMIT, and repeats what it was given": func(t *testing.T, x tenant, spec string) {
		refusedAloud(t, x, x.Name+"-db", spec)
	},
	"the Secret is lost": func(_ *testing.T, x tenant, _ string) { x.DeleteSecret(x.Name + "-db") },
}

// refusedAloud has the API server refuse one Secret, with its content in the answer, until that was seen.
func refusedAloud(t *testing.T, x tenant, secret, spec string) {
	t.Helper()
	name := "aloud-" + secret
	harness.Kubectl(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"List","items":[
		{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":%[1]q},
		 "spec":{"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["secrets"]}]},
		  "matchConditions":[{"name":"this-one","expression":"object.metadata.name == '%[2]s'"}],
		  "validations":[{"expression":"false","messageExpression":"'refused: ' + object.data['url']"}]}},
		{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding","metadata":{"name":%[1]q},
		 "spec":{"policyName":%[1]q,"validationActions":["Deny"]}}]}`, name, secret), "apply", "-f", "-")
	require.Eventually(t, func() bool {
		output, _ := harness.Try("", "-n", "tenants-sandbox", "create", "secret", "generic", secret, "--from-literal=url=aloud", "--dry-run=server")
		return strings.Contains(output, "refused: YWxvdWQ=") // the content as it is in JSON
	}, time.Minute, 100*time.Millisecond, "the policy does not repeat what it is given")
	x.Apply(spec, "rotationGeneration: 2")
	x.WaitReason("Rejected")
	harness.Kubectl(t, "", "delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)
}
