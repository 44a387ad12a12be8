package cluster

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// spec.suspend holds for an object that was made to look as if it had begun a rotation.
func TestIntruderDoesNotPassOverSuspend(t *testing.T) {
	enter(t)
	for _, attack := range []struct {
		name, says string
		forge      func(t *testing.T, x tenant)
	}{
		{"by a revision on the connection Secret", "Nothing was changed.", func(t *testing.T, x tenant) {
			kubectl(t, "", "--as="+insider, "-n", home, "annotate", "--overwrite", "secret", secretOf(x), "credentials.systemprompt.io/revision=99")
		}},
		{"by another value at Fly", "Fly holds another value than that of revision 1", func(t *testing.T, x tenant) {
			platform.Admin(t, http.MethodPut, "/admin/apps/"+x.App()+"/secrets/DATABASE_URL", `{"value":"postgres://other"}`, nil)
		}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, "stopped")
			x.Apply(generation(1), toBoth(x))
			x.WaitReady()
			asObject(t, x).patch(patch(`{"suspend":true}`))
			attack.forge(t, x)
			before := factsOf(t, x)
			asObject(t, x).patch(withFinalizer())
			asObject(t, x).poke()
			x.WaitReason("Suspended")
			require.Contains(t, x.Get().Condition("Ready").Message, "A rotation is due (LedgerRegressed) and spec.suspend is true. "+attack.says)
			asObject(t, x).poke()
			x.WaitReason("Suspended")
			require.Equal(t, before, factsOf(t, x))
			require.Nil(t, x.Secret(secretOf(x)+"-r2"))
			asObject(t, x).patch(patch(`{"suspend":false}`)) // an editor may
			require.Eventually(t, func() bool { return x.Rows()["completed"] == 2 }, waitLong, waitStep)
			x.WaitReady()
		})
	}
}

// A finalizer on an object that has nothing to finish is taken off, and nothing else happens.
func TestIntruderWritesTheFinalizerOnARestingObject(t *testing.T) {
	enter(t)
	x := newTenant(t, "stopped")
	x.Apply(generation(1))
	x.WaitReady()
	before := factsOf(t, x)
	asObject(t, x).patch(withFinalizer())
	require.Eventually(t, func() bool { return len(x.Get().Metadata.Finalizers) == 0 }, waitLong, waitStep)
	require.Equal(t, before, factsOf(t, x))
}

// A claim moves between clusters by the platform team's word alone.
func TestIntruderTakesOverAnotherClustersClaim(t *testing.T) {
	enter(t)
	e := platform.NewEnvironment(t, "moved")
	environment := e.Name
	x := platform.NewTenantIn(t, e, "stopped")
	x.SQL("INSERT INTO tenant_credentials.claims (tenant_id, role, database, fly_app, uid, cluster, environment, namespace, name, generation, verifier_digest, hash_digest, adopted_at)" +
		" SELECT '" + x.ID + "', '" + x.Role() + "', 'site_" + x.Short + "', '" + x.App() + "', 'uid-there', 'cluster-there', '" + environment + "', 'there', 'there', 0," +
		" sha256(convert_to(rolpassword, 'UTF8')), sha256(convert_to(rolpassword, 'UTF8')), now() FROM pg_authid WHERE rolname = '" + x.Role() + "'")
	before := factsOf(t, x)
	o := object{t, insider, home, x.Name}
	o.apply(o.manifest(x.ID, []string{"annotations: {credentials.systemprompt.io/take-over-from: cluster-there}", "finalizers: [" + finalizer + "]"}, generation(1), "environmentRef: {name: "+environment+"}"))
	o.waitReason("OwnershipConflict")
	require.Contains(t, o.get().Condition("Ready").Message, "kubectl annotate tenv "+environment+" credentials.systemprompt.io/take-over-from=<that cluster's kube-system UID>")
	require.Equal(t, before, factsOf(t, x))
	output, err := try("", "--as="+insider, "annotate", "tenv", environment, "credentials.systemprompt.io/take-over-from=cluster-there")
	requireRefusal(t, output, err, `cannot get resource "tenantenvironments"`)

	kubectl(t, "", "annotate", "tenv", environment, "credentials.systemprompt.io/take-over-from=cluster-there")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
}

// A Secret that the operator has not made for this object is neither written over nor deleted, with any owner written on it, and nothing
// is rotated.
func TestIntruderPointsTheOperatorAtAnotherSecret(t *testing.T) {
	enter(t)
	owned := func(x tenant) string {
		return `"ownerReferences":[{"apiVersion":"credentials.systemprompt.io/v1alpha1","kind":"TenantCredential","name":"` + x.Name + `","uid":"00000000-0000-4000-8000-000000000000","controller":true}]`
	}
	secret := func(x tenant, metadata, more string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":%q,"namespace":%q%s},"stringData":{"url":"victim"}%s}`, secretOf(x), home, metadata, more)
	}
	for name, manifest := range map[string]func(tenant) string{
		"no owner, another type":       func(x tenant) string { return secret(x, "", "") },
		"a forged owner, another type": func(x tenant) string { return secret(x, ","+owned(x), "") },
		"a forged owner, a password":   func(x tenant) string { return secret(x, ","+owned(x), `,"type":"example.com/password"`) },
		"the right type, no owner":     func(x tenant) string { return secret(x, "", `,"type":"servicebinding.io/postgresql"`) },
		"the right type, owned, immutable": func(x tenant) string {
			return secret(x, ","+owned(x), `,"type":"servicebinding.io/postgresql","immutable":true`)
		},
		"the right type, the operator's own annotations": func(x tenant) string {
			return secret(x, `,"annotations":{"credentials.systemprompt.io/revision":"1","credentials.systemprompt.io/content-digest":"00"}`, `,"type":"servicebinding.io/postgresql"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, "stopped")
			kubectl(t, manifest(x), "create", "-f", "-")
			before, there := factsOf(t, x), x.Secret(secretOf(x))
			x.Apply(generation(1), toSecret(x))
			x.WaitReason("SecretNotOwned")
			require.Contains(t, x.Get().Condition("Ready").Message, "is not managed by TenantCredential")
			require.Equal(t, before.Verifier, factsOf(t, x).Verifier)
			require.Equal(t, there, x.Secret(secretOf(x)))
			x.Delete()
			require.Equal(t, there, x.Secret(secretOf(x)))
		})
	}
	t.Run("another object's", func(t *testing.T) {
		t.Parallel()
		x, thief := newTenant(t, "stopped"), newTenant(t, "stopped")
		x.Apply(generation(1), toSecret(x))
		x.WaitReady()
		before := x.Secret(secretOf(x))
		thief.Apply(generation(1), toSecret(x))
		thief.WaitReason("SecretNotOwned")
		require.Equal(t, before, x.Secret(secretOf(x)))
		require.Empty(t, thief.Rows())
		thief.Delete()
	})
	t.Run("the staged name of another object", func(t *testing.T) {
		t.Parallel()
		x, thief := newTenant(t, "stopped"), newTenant(t, "stopped")
		x.Apply(generation(1), toSecret(x))
		x.WaitReady()
		before := factsOf(t, x)
		thief.Apply(generation(1), "delivery: {connectionSecret: {name: "+secretOf(x)+"-r2}}")
		thief.WaitReady()
		theirs := x.Secret(secretOf(x) + "-r2")
		x.Apply(generation(2), toSecret(x))
		x.WaitReason("SecretNotOwned")
		require.Equal(t, theirs, x.Secret(secretOf(x)+"-r2"), "it was written over")
		require.Equal(t, before.Verifier, factsOf(t, x).Verifier)
		thief.Apply(generation(1), toSecret(thief))
		thief.WaitReady()
		x.DeleteSecret(secretOf(x) + "-r2")
		asObject(t, x).poke()
		x.WaitReady()
	})
}

// Content that the operator has not made is never promoted, and never taken for current.
func TestIntruderForgesContent(t *testing.T) {
	enter(t)
	t.Run("a staged Secret with the digest of the real one", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, "stopped")
		x.Apply(generation(1), toSecret(x))
		x.WaitReady()
		before := x.Secret(secretOf(x))
		var forged map[string]any
		require.NoError(t, json.Unmarshal([]byte(kubectl(t, "", "--as="+insider, "-n", home, "get", "secret", secretOf(x), "-o", "json")), &forged))
		metadata := forged["metadata"].(map[string]any)
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields"} {
			delete(metadata, field)
		}
		metadata["name"] = secretOf(x) + "-r1"
		forged["data"].(map[string]any)["url"] = base64.StdEncoding.EncodeToString([]byte("postgres://elsewhere"))
		text, err := json.Marshal(forged)
		require.NoError(t, err)
		kubectl(t, string(text), "--as="+insider, "create", "-f", "-")
		asObject(t, x).poke()
		require.Equal(t, before, x.Secret(secretOf(x)))
		require.Nil(t, x.Secret(secretOf(x)+"-r1"), "it is left where it looks like the operator's")
		require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	})
	t.Run("the Secret with its digest kept", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, "stopped")
		x.Apply(generation(1), toSecret(x))
		x.WaitReady()
		before := factsOf(t, x)
		kubectl(t, "", "--as="+insider, "-n", home, "patch", "secret", secretOf(x), "--type=merge", "-p", `{"stringData":{"host":"elsewhere.example.com"}}`)
		asObject(t, x).poke()
		x.WaitReason("DriftDetected")
		require.Equal(t, before, factsOf(t, x))
		x.Apply(generation(2), toSecret(x))
		x.WaitReady()
		require.NotEqual(t, "elsewhere.example.com", string(x.Secret(secretOf(x)).Data["host"]))
	})
}
