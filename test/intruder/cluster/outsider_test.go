package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// In a namespace that may not have the tenant, an object gets its namespace's verdict and nothing else, despite its own claims: the
// tenant is as it was, no Secret appears, and the status tells nothing of the tenant.
func TestIntruderInANamespaceThatMayNotHaveTheTenant(t *testing.T) {
	enter(t)
	hold := []string{"finalizers: [" + finalizer + "]"}
	loot := "delivery: {connectionSecret: {name: NAME}}"
	const notAllowed, notBound = "NamespaceNotAllowed", "TenantNotBound"
	tests := []struct {
		name, namespace, reason string
		held                    bool // the tenant, by its rightful object
		metadata, spec          []string
	}{
		{"no finalizer", evil, notAllowed, false, nil, []string{"rotationGeneration: 1", loot}},
		{"finalizer, a tenant without a holder", evil, notAllowed, false, hold, []string{"rotationGeneration: 1", loot}},
		{"finalizer, a tenant that is held", evil, notAllowed, true, hold, []string{"rotationGeneration: 1", loot}},
		{"finalizer and others", evil, notAllowed, false, []string{"finalizers: [example.com/mine, " + finalizer + "]"}, []string{"rotationGeneration: 1000000", loot}},
		{"finalizer, accepted but not bound, without a holder", unbound, notBound, false, hold, []string{"rotationGeneration: 1", loot}},
		{"finalizer, accepted but not bound, held", unbound, notBound, true, hold, []string{"rotationGeneration: 2", loot}},
		{"finalizer, to Fly", evil, notAllowed, false, hold, []string{"rotationGeneration: 1"}},
		{"finalizer, to Fly, another variable", unbound, notBound, true, hold, []string{"rotationGeneration: 2", "delivery: {fly: {variable: PATH}}"}},
		{"finalizer, another environment", unbound, notAllowed, false, hold, []string{"rotationGeneration: 1", "environmentRef: {name: prod}", loot}},
		{"take-over-from another cluster", unbound, notBound, true, []string{"finalizers: [" + finalizer + "]", "annotations: {credentials.systemprompt.io/take-over-from: another-cluster}"}, []string{"rotationGeneration: 1", loot}},
		{"request after a compromise", unbound, notBound, true, hold, []string{"rotationRequest: {replacesRevision: 1, compromised: true}", loot}},
		{"the tenant's label on the object itself", unbound, notBound, false, []string{"labels: {tenant.credentials.systemprompt.io/ID: allowed, example.com/environment: sandbox}"}, []string{"rotationGeneration: 1", loot}},
		{"annotations of the operator's", unbound, notBound, true, []string{"finalizers: [" + finalizer + "]", `annotations: {credentials.systemprompt.io/revision: "9", credentials.systemprompt.io/content-digest: "00", credentials.systemprompt.io/resume-rotations: "1"}`}, []string{"rotationGeneration: 2", loot}},
		{"owned by the rightful object", unbound, notBound, true, []string{"ownerReferences: [{apiVersion: credentials.systemprompt.io/v1alpha1, kind: TenantCredential, name: acme, uid: 00000000-0000-4000-8000-000000000000, controller: true}]"}, []string{"rotationGeneration: 2", loot}},
		{"suspended, with the finalizer", evil, notAllowed, false, hold, []string{"rotationGeneration: 1", "suspend: true", loot}},
		{"two logins", unbound, notBound, true, hold, []string{"rotationGeneration: 2", "rotation: {strategy: Overlap, sessionPolicy: Terminate}", loot}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, "stopped")
			if test.held {
				x.Apply("rotationGeneration: 1")
				x.WaitReady()
			}
			before := factsOf(t, x)
			o := object{t, outsider, test.namespace, "thief-" + x.Short}
			o.apply(replaced(o.manifest(x.ID, test.metadata, test.spec...), "NAME", "loot-"+x.Short, "/ID:", "/"+x.ID+":"))
			o.waitReason(test.reason)
			o.poke()
			o.waitReason(test.reason)
			require.Equal(t, before, factsOf(t, x))
			requireNoSecret(t, test.namespace, "loot-"+x.Short)
			p := o.get()
			require.Equal(t, test.reason, p.Condition("Stalled").Reason)
			require.Contains(t, p.Condition("Ready").Message, "The operator does nothing for this object.")
			require.Equal(t, "Pending", p.Condition("PostgresSynced").Reason)
			require.NotContains(t, o.describe(), x.Role(), "the status tells of the tenant")
			require.Zero(t, p.Status.Revision)
		})
	}
}

// An unbound object does not learn whether there is such a tenant, or such a role.
func TestIntruderLearnsNothing(t *testing.T) {
	enter(t)
	t.Run("whether the tenant exists", func(t *testing.T) {
		t.Parallel()
		o := object{t, outsider, unbound, "nosy-tenant"}
		o.apply(o.manifest("00000000-0000-4000-8000-00000000abcd", []string{"finalizers: [" + finalizer + "]"}))
		o.waitReason("TenantNotBound")
	})
	t.Run("whether the role is allowed", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, "stopped")
		x.SQL("ALTER ROLE " + x.Role() + " CREATEDB")
		o := object{t, outsider, unbound, "nosy-role"}
		o.apply(o.manifest(x.ID, []string{"finalizers: [" + finalizer + "]"}))
		o.waitReason("TenantNotBound")
		x.SQL("ALTER ROLE " + x.Role() + " NOCREATEDB")
	})
	t.Run("who holds the tenant", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, "stopped")
		x.Apply()
		x.WaitReady()
		o := object{t, outsider, unbound, "nosy-holder"}
		o.apply(o.manifest(x.ID, nil))
		o.waitReason("TenantNotBound")
		require.NotContains(t, o.describe(), x.Name)
	})
	t.Run("how the environment is", func(t *testing.T) {
		t.Parallel()
		broken := platform.Sandbox()
		broken.Name = "broken-for-intruders"
		broken.Create(t, broken.Manifest(t)) // its login Secret is missing
		o := object{t, outsider, evil, "nosy-environment"}
		o.apply(o.manifest("00000000-0000-4000-8000-00000000abcd", nil, "environmentRef: {name: broken-for-intruders}"))
		o.waitReason("NamespaceNotAllowed")
	})
}

// An object that is deleted with a finalizer written by hand goes, and neither adopts nor discards anything.
func TestIntruderDeletesWithAFinalizerByHand(t *testing.T) {
	enter(t)
	for name, test := range map[string]struct{ namespace, as string }{
		"in a namespace that is not bound": {unbound, outsider},
		"in a namespace that is bound":     {home, insider},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, "stopped")
			x.Apply("rotationGeneration: 1")
			x.WaitReady()
			mend := x.Fault(`{"route":"POST /v1/apps/{app}/secrets","status":503,"count":-1}`)
			x.Apply("rotationGeneration: 2")
			require.Eventually(t, func() bool { return x.Rows()["open"] == 1 }, waitLong, waitStep)
			o := object{t, test.as, test.namespace, "going-" + x.Short}
			o.apply(o.manifest(x.ID, []string{"finalizers: [" + finalizer + "]"}, "rotationGeneration: 9"))
			kubectl(t, "", "--as="+test.as, "-n", test.namespace, "delete", "tcred", o.name, "--timeout=60s")
			require.Equal(t, map[string]int{"completed": 1, "open": 1}, x.Rows(), "the holder's attempt was discarded")
			mend()
			x.WaitReady()
			require.Equal(t, map[string]int{"completed": 2}, x.Rows())
		})
	}
	t.Run("of a tenant without a holder", func(t *testing.T) {
		t.Parallel()
		x := newTenant(t, "stopped")
		before := factsOf(t, x)
		o := object{t, insider, home, "going-" + x.Short}
		kubectl(t, "", "label", "namespace", home, "tenant.credentials.systemprompt.io/"+x.ID+"-")
		o.apply(o.manifest(x.ID, []string{"finalizers: [" + finalizer + "]"}, "rotationGeneration: 9"))
		o.waitReason("TenantNotBound")
		kubectl(t, "", "-n", home, "delete", "tcred", o.name, "--wait=false")
		kubectl(t, "", "-n", home, "wait", "tcred", o.name, "--for=delete", "--timeout=60s")
		require.Equal(t, before, factsOf(t, x))
	})
}

// While the rightful object is being made again its claim has no living holder, and an object that may not have the tenant gets it no more
// than before.
func TestIntruderRacesTheHolderThatIsMadeAgain(t *testing.T) {
	enter(t)
	x := newTenant(t, "stopped")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	before := factsOf(t, x)
	done := make(chan struct{})
	var racing errgroup.Group
	for _, namespace := range []string{evil, unbound} {
		o := object{t, outsider, namespace, "racer-" + x.Short}
		manifest := o.manifest(x.ID, []string{"finalizers: [" + finalizer + "]"}, "rotationGeneration: 1", "delivery: {connectionSecret: {name: loot-"+x.Short+"}}")
		o.apply(manifest)
		racing.Go(func() error {
			for {
				select {
				case <-done:
					return nil
				default:
				}
				_, _ = try("", "--as="+outsider, "-n", namespace, "delete", "tcred", o.name, "--timeout=30s")
				if _, err := try(manifest, "--as="+outsider, "apply", "-f", "-"); err != nil {
					return err
				}
			}
		})
	}
	for range 5 {
		x.Delete()
		o := object{t, outsider, unbound, "racer2-" + x.Short}
		o.apply(o.manifest(x.ID, []string{"finalizers: [" + finalizer + "]"}, "rotationGeneration: 1"))
		o.waitReason("TenantNotBound")
		x.Apply("rotationGeneration: 1")
		x.WaitReady()
	}
	close(done)
	require.NoError(t, racing.Wait())
	after := factsOf(t, x)
	require.Contains(t, after.Claims, home)
	before.Claims, after.Claims = "", ""
	require.Equal(t, before, after)
	for _, namespace := range []string{evil, unbound} {
		requireNoSecret(t, namespace, "loot-"+x.Short)
	}
}

// Two namespaces that are both bound: the first object holds the tenant.
func TestIntruderInASecondBoundNamespace(t *testing.T) {
	enter(t)
	x := newTenant(t, "stopped")
	kubectl(t, "", "label", "--overwrite", "namespace", other, "tenant.credentials.systemprompt.io/"+x.ID+"=allowed")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	before := factsOf(t, x)
	o := object{t, outsider, other, "second-" + x.Short}
	o.apply(o.manifest(x.ID, []string{"finalizers: [" + finalizer + "]", "annotations: {credentials.systemprompt.io/take-over-from: any}"}, "rotationGeneration: 5",
		"delivery: {connectionSecret: {name: loot-"+x.Short+"}}"))
	o.waitReason("OwnershipConflict")
	require.Contains(t, o.get().Condition("Ready").Message, "The tenant is held by TenantCredential "+home+"/"+x.Name)
	require.Equal(t, before, factsOf(t, x))
	requireNoSecret(t, other, "loot-"+x.Short)
}
