package integration

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// secretOf is the name of the tenant's connection Secret, and deliversTo the line of the spec that asks for it alone, without Fly.
func secretOf(x tenant) string   { return x.Name + "-db" }
func deliversTo(x tenant) string { return "delivery: {connectionSecret: {name: " + secretOf(x) + "}}" }

// secretURL is the url in the tenant's connection Secret.
func secretURL(t *testing.T, x tenant) string {
	t.Helper()
	s := x.Secret(secretOf(x))
	require.NotNil(t, s, "there is no Secret")
	return string(s.Data["url"])
}

// A tenant without any Fly app gets a Secret with everything that an application needs; a rotation replaces its content, and nothing
// staged is left.
func TestConnectionSecret(t *testing.T) {
	t.Parallel()
	x := newTenant(t) // no app
	x.Apply(deliversTo(x))
	x.WaitReason("SecretNotDelivered")
	require.Nil(t, x.Secret(secretOf(x)), "no place has the adopted password")
	require.Equal(t, "SecretNotDelivered", x.Get().Condition("Stalled").Reason)
	require.Equal(t, "False/SecretNotDelivered", x.Get().Condition("ConnectionSecretSynced").Status+"/"+x.Get().Condition("ConnectionSecretSynced").Reason)

	x.Apply(deliversTo(x), "rotationGeneration: 1")
	x.WaitReady()
	s := x.Secret(secretOf(x))
	require.Equal(t, "servicebinding.io/postgresql", s.Type)
	u, err := url.Parse(string(s.Data["url"]))
	require.NoError(t, err)
	password, _ := u.User.Password()
	content := map[string]string{}
	for key, value := range s.Data {
		content[key] = string(value)
	}
	require.Equal(t, map[string]string{"type": "postgresql", "provider": "tenant-credential-operator", "url": "postgresql://" + u.User.String() + "@" + u.Host + "/site_" + x.Short,
		"host": u.Hostname(), "port": u.Port(), "username": x.Role(), "password": password, "database": "site_" + x.Short, "sslmode": "prefer"}, content)
	requireAccepted(t, string(s.Data["url"]))
	require.Equal(t, x.Name, s.Metadata.OwnerReferences[0].Name, "it goes when its object goes")
	require.Equal(t, "1", s.Metadata.Annotations["credentials.systemprompt.io/revision"])

	kubectl(t, "", "-n", "tenants-sandbox", "label", "secret", secretOf(x), "example.com/kept=yes")
	x.Apply(deliversTo(x), "rotationGeneration: 2")
	x.WaitReady()
	requireRefused(t, string(s.Data["url"]))
	requireAccepted(t, secretURL(t, x))
	renewed := x.Secret(secretOf(x))
	require.Equal(t, s.Metadata.UID, renewed.Metadata.UID, "it is written over, so that what mounts it is not left without")
	require.Equal(t, "2", renewed.Metadata.Annotations["credentials.systemprompt.io/revision"])
	require.Contains(t, kubectl(t, "", "-n", "tenants-sandbox", "get", "secret", "-l", "example.com/kept=yes", "-o", "name"), secretOf(x))
	for revision := range 3 {
		require.Nil(t, x.Secret(fmt.Sprintf("%s-r%d", secretOf(x), revision)), "a staged Secret is left")
	}

	o := x.Get()
	for _, kind := range []string{"FlySecretSynced", "FlyMachinesUpdated"} {
		require.Empty(t, o.Condition(kind), "nothing is delivered to Fly")
	}
	require.Equal(t, "True/Verified", o.Condition("ConnectionSecretSynced").Status+"/"+o.Condition("ConnectionSecretSynced").Reason)
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
	require.Empty(t, kubectl(t, "", "-n", "tenants-sandbox", "get", "tcred", x.Name, "-o", "jsonpath={.status.fly}"))
	require.Zero(t, x.Requests(), "Fly was asked")
}

// App and Secret get the same password.
func TestAppAndConnectionSecret(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	both := "delivery: {fly: {}, connectionSecret: {name: " + secretOf(x) + "}}"
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	require.Nil(t, x.Secret(secretOf(x)))
	x.Apply("rotationGeneration: 1", both)
	x.WaitReady()
	require.Equal(t, "DeliveryChanged", x.Get().Status.LastRotation.Cause, "no place could have handed the previous password over")
	require.Equal(t, x.URL(), secretURL(t, x))
	requireAccepted(t, x.URL())
}

// Without a delivery it is Fly's app, and nothing of that is written into the spec: the same manifest means the same, regardless of earlier ones.
func TestNoDeliveryIsFlyAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	asked := func() string {
		return kubectl(t, "", "-n", "tenants-sandbox", "get", "tcred", x.Name, "-o", "jsonpath={.spec.delivery}")
	}
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	require.Empty(t, asked())
	atFly := x.URL()
	requireAccepted(t, atFly)

	x.Apply("rotationGeneration: 1", deliversTo(x))
	x.WaitReady()
	require.JSONEq(t, `{"connectionSecret":{"name":"`+secretOf(x)+`"}}`, asked())
	require.Empty(t, x.Get().Condition("FlySecretSynced"))
	require.Equal(t, atFly, x.URL(), "Fly has the new password")
	requireRefused(t, atFly)
	requireAccepted(t, secretURL(t, x))

	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	require.Empty(t, asked())
	requireAccepted(t, x.URL())
	require.Equal(t, map[string]int{"completed": 3}, x.Rows())

	x.Apply("rotationGeneration: 1", "delivery: {fly: {}}") // the same, in words
	x.Poke()
	require.Equal(t, map[string]int{"completed": 3}, x.Rows())
}

// Another client's Secret is not changed, and nothing is rotated, until there is room.
func TestASecretOfAnotherClient(t *testing.T) {
	t.Parallel()
	x := newTenant(t)
	kubectl(t, "", "-n", "tenants-sandbox", "create", "secret", "generic", secretOf(x), "--from-literal=url=mine")
	before := x.Secret(secretOf(x))
	x.Apply(deliversTo(x), "rotationGeneration: 1")
	x.WaitReason("SecretNotOwned")
	o := x.Get()
	require.Equal(t, "SecretNotOwned", o.Condition("Stalled").Reason)
	require.Contains(t, o.Condition("Ready").Message, "Nothing was changed.")
	require.Contains(t, o.Condition("Ready").Message, "kubectl -n tenants-sandbox delete secret "+secretOf(x))
	require.Equal(t, before, x.Secret(secretOf(x)))
	require.Empty(t, x.Rows())

	x.DeleteSecret(secretOf(x))
	x.Poke()
	x.WaitReady()
	requireAccepted(t, secretURL(t, x))
}

// The Secret alone has the password: lost, it is made anew with another one, whether its object is still the same or not. One that was
// edited is reported, as any other drift is.
func TestLostOrEditedSecret(t *testing.T) {
	t.Parallel()
	x := newTenant(t)
	x.Apply(deliversTo(x), "rotationGeneration: 1")
	x.WaitReady()
	lost := secretURL(t, x)
	x.DeleteSecret(secretOf(x))
	x.Poke()
	require.Eventually(t, func() bool { return x.Rows()["completed"] == 2 }, patience, 100*time.Millisecond, "the Secret was not made anew")
	x.WaitReady()
	require.Equal(t, "DeliveryChanged", x.Get().Status.LastRotation.Cause)
	requireRefused(t, lost)
	requireAccepted(t, secretURL(t, x))

	kubectl(t, "", "-n", "tenants-sandbox", "patch", "secret", secretOf(x), "--type=merge", "-p", `{"stringData":{"host":"elsewhere.example.com"}}`)
	x.Poke()
	x.WaitReason("DriftDetected")
	require.Equal(t, "False", x.Get().Condition("ConnectionSecretSynced").Status)
	require.Contains(t, x.Get().Condition("Ready").Message, "raise spec.rotationGeneration to 2")
	require.Equal(t, "elsewhere.example.com", string(x.Secret(secretOf(x)).Data["host"]), "it is reported, and not written over")
	x.Apply(deliversTo(x), "rotationGeneration: 2")
	x.WaitReady()
	requireAccepted(t, secretURL(t, x))

	x.Delete()
	x.DeleteSecret(secretOf(x)) // as Kubernetes' garbage collector does, which the playground lacks
	x.Apply(deliversTo(x), "rotationGeneration: 2")
	require.Eventually(t, func() bool { return x.Rows()["completed"] == 4 }, patience, 100*time.Millisecond, "the Secret was not made for the new object")
	x.WaitReady()
	requireAccepted(t, secretURL(t, x))

	kept := secretURL(t, x)
	x.Delete() // and the garbage collector has not come by yet
	x.Apply(deliversTo(x), "rotationGeneration: 2")
	x.WaitReady()
	require.Equal(t, kept, secretURL(t, x), "what is still good was rotated")
	require.Equal(t, map[string]int{"completed": 4}, x.Rows())
	requireOwner(t, x)
}

// requireOwner fails the test where the Secret belongs to a previous object: it would go at any moment.
func requireOwner(t *testing.T, x tenant) {
	t.Helper()
	uid := kubectl(t, "", "-n", "tenants-sandbox", "get", "tcred", x.Name, "-o", "jsonpath={.metadata.uid}")
	require.Equal(t, uid, x.Secret(secretOf(x)).Metadata.OwnerReferences[0].UID)
}

// Where the owner of the namespace has not given it the right, the operator may not write Secrets; it says so, and rotates nothing.
func TestWithoutTheRight(t *testing.T) { // not parallel: it takes a right away that other tests need
	x := newTenant(t)
	kubectl(t, "", "-n", "tenants-sandbox", "delete", "rolebinding", "tenant-credential-operator-connection-secret")
	restore := func() {
		kubectl(t, "", "-n", "tenants-sandbox", "apply", "-k", harness.Repository+"/config/components/connection-secret/namespace")
	}
	defer restore()
	require.Eventually(t, func() bool { // the authorizer learns of it a moment later
		output, _ := try("", "auth", "can-i", "create", "secrets", "-n", "tenants-sandbox", "--as=system:serviceaccount:tcred-system:tenant-credential-operator")
		return strings.HasPrefix(output, "no")
	}, patience, 100*time.Millisecond)
	x.Apply(deliversTo(x), "rotationGeneration: 1")
	x.WaitReason("PermissionDenied")
	require.Equal(t, "PermissionDenied", x.Get().Condition("Stalled").Reason)
	require.Contains(t, x.Get().Condition("Ready").Message, "Nothing was changed. To fix: kubectl -n tenants-sandbox create rolebinding tenant-credential-operator-connection-secret ")
	require.Empty(t, x.Rows())
	restore()
	x.Poke()
	x.WaitReady()
	requireAccepted(t, secretURL(t, x))
}

// A policy that refuses the Secret keeps the rotation from being committed. One that refuses it only after COMMIT delays it: the Machines
// move, the password stands staged, and it is promoted as soon as that is possible. The process that committed it is gone by then.
func TestPromotionThatFails(t *testing.T) { // not parallel: it restarts the manager
	x := newTenant(t, "stopped")
	spec := []string{"delivery: {fly: {}, connectionSecret: {name: " + secretOf(x) + "}}"}
	x.Apply(append(spec, "rotationGeneration: 1")...)
	x.WaitReady()
	former := secretURL(t, x)
	lift := refuse(t, x, secretOf(x)+"-r2")
	x.Apply(append(spec, "rotationGeneration: 2")...)
	x.WaitReason("Rejected")
	require.Eventually(t, func() bool { return x.Rows()["discarded"] == 1 }, patience, 100*time.Millisecond, "what was refused for sure is not given up")
	require.Equal(t, former, x.URL(), "something was sent to Fly")
	requireAccepted(t, former)
	lift()
	x.WaitReady()

	former = secretURL(t, x)
	lift = refuse(t, x, secretOf(x))
	x.Apply(append(spec, "rotationGeneration: 3")...)
	x.WaitReason("Rejected")
	require.Equal(t, map[string]int{"completed": 2, "committed": 1}, x.Rows())
	require.Equal(t, 1, x.Get().Status.Fly.Machines.OnNextStart, "the Machine waits for the Secret")
	require.Contains(t, x.Get().Condition("ConnectionSecretSynced").Message, "have the previous password, which PostgreSQL refuses")
	require.Equal(t, former, secretURL(t, x))
	requireRefused(t, former)
	staged := x.Secret(secretOf(x) + "-r3")
	require.NotNil(t, staged)
	requireAccepted(t, string(staged.Data["url"]))

	require.NoError(t, playground("manager-down").Run())
	lift()
	require.NoError(t, playground("manager-up").Run())
	x.WaitReady()
	require.Equal(t, string(staged.Data["url"]), secretURL(t, x), "a committed password was thrown away")
	require.Equal(t, map[string]int{"completed": 3}, x.Rows())
	require.Nil(t, x.Secret(secretOf(x)+"-r3"))
}

// refuse has the API server refuse writes of one Secret until lift is called.
func refuse(t *testing.T, x tenant, secret string) (lift func()) {
	t.Helper()
	name := "refuse-" + secret
	kubectl(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"List","items":[
		{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":%[1]q},
		 "spec":{"failurePolicy":"Fail","matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["secrets"]}]},
		  "matchConditions":[{"name":"this-one","expression":"object.metadata.namespace == 'tenants-sandbox' && object.metadata.name == '%[2]s'"}],
		  "validations":[{"expression":"false","message":"not now"}]}},
		{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding","metadata":{"name":%[1]q},
		 "spec":{"policyName":%[1]q,"validationActions":["Deny"]}}]}`, name, secret), "apply", "-f", "-")
	probe := `{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":"tenants-sandbox","name":"` + secret + `"}}`
	refused := func() bool {
		output, err := try(probe, "create", "--dry-run=server", "-f", "-")
		return err != nil && strings.Contains(output, "not now")
	}
	require.Eventually(t, refused, patience, 100*time.Millisecond, "the policy is not in force")
	return func() {
		kubectl(t, "", "delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)
		require.Eventually(t, func() bool { return !refused() }, patience, 100*time.Millisecond, "the policy is still in force")
	}
}

// The Secret goes with its object, and nothing waits for it: also an attempt that was in progress is given up.
func TestDeletionWithASecretAlone(t *testing.T) {
	t.Parallel()
	x := newTenant(t)
	x.Apply(deliversTo(x), "rotationGeneration: 1")
	x.WaitReady()
	present := secretURL(t, x)
	x.Delete()
	requireAccepted(t, present)
	x.DeleteSecret(secretOf(x))

	x.Apply(deliversTo(x), "rotationGeneration: 1", "suspend: true")
	x.WaitReason("Suspended")
	require.Equal(t, "SecretNotFound", x.Get().Condition("ConnectionSecretSynced").Reason)
	x.SQL("ALTER TABLE management.tenants ADD CONSTRAINT short_" + x.Short + " CHECK (id <> '" + x.ID + "' OR length(password_hash) < 5) NOT VALID")
	x.Apply(deliversTo(x), "rotationGeneration: 1", "suspend: false")
	require.Eventually(t, func() bool { return x.Rows()["open"] == 1 }, patience, 50*time.Millisecond)
	x.Delete()
	requireAccepted(t, present)
	require.Equal(t, map[string]int{"completed": 1, "discarded": 1}, x.Rows())
	x.SQL("ALTER TABLE management.tenants DROP CONSTRAINT short_" + x.Short)
}

// Under Overlap the Secret has the other login, and the previous one works on for pods that have not been restarted yet, although no session
// of it is left: it is closed at the end of the grace period.
func TestConnectionSecretUnderOverlap(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, "pods")
	x := newTenantIn(t, e)
	t.Cleanup(func() {
		x.Delete()                  // first: the operator makes a Secret anew that is lost
		x.DeleteSecret(secretOf(x)) // this cluster collects no garbage
	})
	prepare(x)
	x.Apply(deliversTo(x), overlap, "rotationGeneration: 1")
	require.Eventually(t, func() bool { return x.Rows()["rolled"] == 1 }, patience, 100*time.Millisecond)
	x.Poke()
	require.Equal(t, "Retiring", x.Get().Condition("Reconciling").Reason)
	require.Contains(t, x.Get().Condition("Reconciling").Message, "Restart the workloads that mount this Secret; the previous login is closed within 15m.")
	require.Equal(t, x.Role()+"_b", string(x.Secret(secretOf(x)).Data["username"]))
	requireAccepted(t, secretURL(t, x))
	requireAccepted(t, x.InitialURL())

	kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", `{"spec":{"rotation":{"overlapGracePeriod":"0s"}}}`)
	x.WaitReady()
	requireAccepted(t, secretURL(t, x))
	_, err := platform.Login(x.InitialURL())
	require.Error(t, err, "the previous login is still open")
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
}
