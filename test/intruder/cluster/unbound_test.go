package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

const boundLabel = "tenant.credentials.systemprompt.io/"

// unbind takes the namespace's binding away, as the platform team does.
func unbind(t *testing.T, x tenant) {
	t.Helper()
	kubectl(t, "", "label", "namespace", home, boundLabel+x.ID+"-")
}

// asObject is the tenant's object, edited by the insider.
func asObject(t *testing.T, x tenant) object { return object{t, insider, home, x.Name} }

func secretOf(x tenant) string { return x.Name + "-db" }

func toSecret(x tenant) string { return "delivery: {connectionSecret: {name: " + secretOf(x) + "}}" }
func toBoth(x tenant) string {
	return "delivery: {fly: {}, connectionSecret: {name: " + secretOf(x) + "}}"
}
func generation(n int) string  { return fmt.Sprintf("rotationGeneration: %d", n) }
func patch(spec string) string { return `{"spec":` + spec + `}` }

// forged writes the finalizer at the same moment as the spec, before the operator can take it off.
func forged(spec string) string {
	return `{"metadata":{"finalizers":["` + finalizer + `"]},"spec":` + spec + `}`
}
func withFinalizer() string        { return `{"metadata":{"finalizers":["` + finalizer + `"]}}` }
func openRow(x tenant) func() bool { return func() bool { return x.Rows()["open"] == 1 } }

func (o object) patch(text string) {
	o.t.Helper()
	kubectl(o.t, "", "--as="+o.as, "-n", o.namespace, "patch", "tcred", o.name, "--type=merge", "-p", text)
}

// A namespace that has lost its binding rotates nothing more, with any writes of its editors.
func TestIntruderAfterTheBindingIsGone(t *testing.T) {
	enter(t)
	for name, edits := range map[string][]string{
		"raises the generation":            {patch(`{"rotationGeneration":2}`)},
		"with the finalizer":               {forged(`{"rotationGeneration":2}`)},
		"asks after a compromise":          {forged(`{"rotationRequest":{"replacesRevision":1,"compromised":true}}`)},
		"asks for a Secret":                {forged(`{"delivery":{"connectionSecret":{"name":"NAME"}}}`)},
		"asks for a Secret instead":        {forged(`{"delivery":{"fly":null,"connectionSecret":{"name":"NAME"}}}`)},
		"asks for another variable":        {forged(`{"delivery":{"fly":{"variable":"PATH"}}}`)},
		"annotates a take-over":            {`{"metadata":{"annotations":{"credentials.systemprompt.io/take-over-from":"x"},"finalizers":["` + finalizer + `"]},"spec":{"rotationGeneration":2}}`},
		"has two logins":                   {forged(`{"rotation":{"strategy":"Overlap"},"rotationGeneration":2}`)},
		"is suspended, with the finalizer": {forged(`{"suspend":true,"rotationGeneration":2}`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, "stopped")
			x.Apply(generation(1))
			x.WaitReady()
			before := factsOf(t, x)
			unbind(t, x)
			x.WaitReason("TenantNotBound")
			for _, edit := range edits {
				asObject(t, x).patch(strings.ReplaceAll(edit, "NAME", secretOf(x)))
			}
			asObject(t, x).poke()
			x.WaitReason("TenantNotBound")
			require.Equal(t, before, factsOf(t, x))
			requireNoSecret(t, home, secretOf(x))
			x.Delete() // the finalizer does not hold it
			require.Equal(t, before, factsOf(t, x))
		})
	}
	t.Run("the environment accepts it no more", func(t *testing.T) {
		t.Parallel()
		e := platform.NewEnvironment(t, "narrowed")
		x := platform.NewTenantIn(t, e, "stopped")
		x.Apply(generation(1))
		x.WaitReady()
		before := factsOf(t, x)
		kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", `{"spec":{"allowedNamespaces":{"selector":{"matchLabels":{"example.com/environment":"nowhere"}}}}}`)
		x.WaitReason("NamespaceNotAllowed")
		asObject(t, x).patch(forged(`{"rotationGeneration":2}`))
		asObject(t, x).poke()
		x.WaitReason("NamespaceNotAllowed")
		require.Equal(t, before, factsOf(t, x))
		x.Delete()
	})
}

// A rotation that the ledger has begun is finished at Fly, so that the app is not locked out; then nothing more happens.
func TestIntruderIsUnboundDuringARotation(t *testing.T) {
	enter(t)
	t.Run("Machines are moved, and a raise meanwhile does nothing", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, "stopped")
		x.Apply()
		x.WaitReady()
		mend := x.Fault(`{"route":"POST /v1/apps/{app}/machines/{id}","status":503,"count":-1}`)
		x.Apply(generation(1))
		x.WaitReason("ConnectionFailed")
		unbind(t, x)
		asObject(t, x).patch(patch(`{"rotationGeneration":7,"rotationRequest":{"replacesRevision":0,"compromised":true}}`))
		mend()
		x.WaitReason("TenantNotBound")
		require.Eventually(t, func() bool { return x.Rows()["completed"] == 1 }, waitLong, waitStep)
		asObject(t, x).poke()
		x.WaitReason("TenantNotBound")
		require.Equal(t, map[string]int{"completed": 1}, x.Rows())
		platform.RequireAccepted(t, x.URL())
		x.Delete()
	})
	t.Run("another variable during the rollout starts no new one", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, "stopped")
		x.Apply()
		x.WaitReady()
		mend := x.Fault(`{"route":"POST /v1/apps/{app}/machines/{id}","status":503,"count":-1}`)
		x.Apply(generation(1))
		x.WaitReason("ConnectionFailed")
		unbind(t, x)
		asObject(t, x).patch(patch(`{"delivery":{"fly":{"variable":"DB_URL"}}}`))
		x.WaitReason("TenantNotBound")
		require.Equal(t, map[string]int{"committed": 1}, x.Rows())
		require.Contains(t, x.Get().Condition("Ready").Message, "The rotation in progress delivers nothing to this namespace.")
		require.Len(t, x.Look().Secrets, 1, "a password went into another variable")
		asObject(t, x).patch(patch(`{"delivery":{"fly":{"variable":"DATABASE_URL"}}}`))
		mend()
		require.Eventually(t, func() bool { return x.Rows()["completed"] == 1 }, waitLong, waitStep)
		x.Delete()
	})
	t.Run("an open attempt goes on to Fly alone", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, "stopped")
		x.Apply()
		x.WaitReady()
		mend := x.Fault(`{"route":"POST /v1/apps/{app}/secrets","status":503,"count":-1}`)
		x.Apply(generation(1), toBoth(x))
		require.Eventually(t, openRow(x), waitLong, waitStep)
		x.WaitReason("OutcomeUnknown")
		unbind(t, x)
		asObject(t, x).poke() // ends, it may be, an attempt that began before
		asObject(t, x).poke()
		requireNoSecret(t, home, secretOf(x))
		mend()
		require.Eventually(t, func() bool { return x.Rows()["completed"] == 1 }, waitLong, waitStep) // an attempt that saw the end of the binding says so before
		x.WaitReason("TenantNotBound")
		require.Equal(t, map[string]int{"completed": 1}, x.Rows())
		requireNoSecret(t, home, secretOf(x))
		platform.RequireAccepted(t, x.URL())

		x.Bind() // and now the Secret is made, with a password of its own
		require.Eventually(t, func() bool { return x.Rows()["completed"] == 2 }, waitLong, waitStep)
		x.WaitReady()
		require.Equal(t, "DeliveryChanged", x.Get().Status.LastRotation.Cause)
		require.Equal(t, x.URL(), string(x.Secret(secretOf(x)).Data["url"]))
	})
	t.Run("an attempt for the Secret alone that was refused is not made again", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, "stopped")
		x.Apply(toSecret(x))
		x.WaitReason("SecretNotDelivered")
		before := factsOf(t, x)
		lift := refuse(t, secretOf(x)+"-r1")
		x.Apply(generation(1), toSecret(x))
		x.WaitReason("Rejected")
		require.Eventually(t, func() bool { return x.Rows()["discarded"] == 1 }, waitLong, waitStep)
		unbind(t, x)
		x.WaitReason("TenantNotBound")
		lift()
		asObject(t, x).poke()
		before.Rows = map[string]int{"discarded": 1}
		require.Equal(t, before, factsOf(t, x))
		require.Empty(t, x.Get().Metadata.Finalizers)
		requireNoSecret(t, home, secretOf(x))
		x.Delete()
	})
	t.Run("a committed password that is staged is removed, and is made again once the namespace is bound", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, "stopped")
		x.Apply(generation(1), toSecret(x))
		x.WaitReady()
		former := x.Secret(secretOf(x)).Data
		lift := refuse(t, secretOf(x))
		x.Apply(generation(2), toSecret(x))
		x.WaitReason("Rejected")
		require.NotNil(t, x.Secret(secretOf(x)+"-r2"))
		unbind(t, x)
		x.WaitReason("TenantNotBound")
		lift()
		asObject(t, x).poke()
		require.Nil(t, x.Secret(secretOf(x)+"-r2"), "the password in force is left in the namespace")
		require.Equal(t, former, x.Secret(secretOf(x)).Data)
		require.Equal(t, map[string]int{"completed": 1, "committed": 1}, x.Rows())

		x.Bind()
		require.Eventually(t, func() bool { return x.Rows()["completed"] == 2 }, waitLong, waitStep)
		x.WaitReady()
		platform.RequireAccepted(t, string(x.Secret(secretOf(x)).Data["url"]))
	})
}

// refuse has the API server refuse writes of one Secret until lift is called.
func refuse(t *testing.T, secret string) (lift func()) {
	t.Helper()
	name := "refuse-" + secret
	kubectl(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"List","items":[
		{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":%[1]q},
		 "spec":{"failurePolicy":"Fail","matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["secrets"]}]},
		  "matchConditions":[{"name":"this-one","expression":"object.metadata.namespace == '%[3]s' && object.metadata.name == '%[2]s'"}],
		  "validations":[{"expression":"false","message":"not now"}]}},
		{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding","metadata":{"name":%[1]q},
		 "spec":{"policyName":%[1]q,"validationActions":["Deny"]}}]}`, name, secret, home), "apply", "-f", "-")
	probe := `{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":"` + home + `","name":"` + secret + `"}}`
	refused := func() bool {
		output, err := try(probe, "apply", "--dry-run=server", "--server-side", "--force-conflicts", "-f", "-")
		return err != nil && strings.Contains(output, "not now")
	}
	require.Eventually(t, refused, waitLong, waitStep, "the policy is not in force")
	return func() {
		kubectl(t, "", "delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)
		require.Eventually(t, func() bool { return !refused() }, waitLong, waitStep, "the policy is still in force")
	}
}
