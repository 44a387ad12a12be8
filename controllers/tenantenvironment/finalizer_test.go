package tenantenvironment

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// No rotation begins while the finalizer is taken off, and it is not taken off while one may be about to begin.
func TestNoSlotWhileTheFinalizerIsTakenOff(t *testing.T) {
	s, woken := newSlots(2), &line{}
	require.True(t, s.closeIdle())
	require.False(t, s.Acquire("early", false, woken.wake("early")))
	require.False(t, s.Acquire("urgent", true, woken.wake("urgent")))
	s.Occupy("begun before") // the ledger has it
	require.False(t, s.Acquire("begun before", false, asleep(t)), "its next one does not begin either")
	s.GiveBack("begun before")
	require.Empty(t, *woken)
	s.reopen()

	require.Equal(t, line{"urgent", "early"}, *woken)
	require.False(t, s.closeIdle())
	require.False(t, s.Acquire("another", false, asleep(t)))
}

// Without a connection the status decides, and a finalizer that an editor has written holds nothing.
func TestLettingGoWithoutALedger(t *testing.T) {
	begun, done := &v1alpha1.RotationStatus{Revision: 1}, &v1alpha1.RotationStatus{Revision: 1, CompletionTime: new(metav1.Now())}
	for name, test := range map[string]struct {
		finalizers []string
		status     v1alpha1.TenantCredentialStatus
		elsewhere  string
		unfinished int
	}{
		"completed":                {status: v1alpha1.TenantCredentialStatus{LastRotation: done, Postgres: &v1alpha1.PostgresStatus{}}},
		"committed":                {status: v1alpha1.TenantCredentialStatus{LastRotation: begun}, unfinished: 1},
		"begun, and not committed": {finalizers: []string{v1alpha1.Finalizer}, status: v1alpha1.TenantCredentialStatus{Postgres: &v1alpha1.PostgresStatus{}}, unfinished: 1},
		"an editor's finalizer":    {finalizers: []string{v1alpha1.Finalizer}},
		"of another environment":   {status: v1alpha1.TenantCredentialStatus{LastRotation: begun}, elsewhere: "-2"},
	} {
		t.Run(name, func(t *testing.T) {
			credential := &v1alpha1.TenantCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: "acme", Finalizers: test.finalizers}, Status: test.status}
			credential.Spec.EnvironmentRef.Name = "sandbox" + test.elsewhere
			r := reconcilerOf(t, credential)
			environment := r.environment(t)
			unfinished, err := r.letGo(t.Context(), environment.DeepCopy(), environment)
			require.NoError(t, err)
			require.Equal(t, test.unfinished, unfinished)
			require.NotEmpty(t, r.environment(t).Finalizers, "one that is not being deleted waits for the ledger")

			require.NoError(t, r.Client.Delete(t.Context(), environment))
			environment = r.environment(t)
			_, err = r.letGo(t.Context(), environment.DeepCopy(), environment)
			require.NoError(t, err)
			gone := client.IgnoreNotFound(r.Client.Get(t.Context(), client.ObjectKey{Name: "sandbox"}, environment)) == nil && len(environment.Finalizers) == 0
			require.Equal(t, test.unfinished == 0, gone)
		})
	}
}

type letting struct{ *Reconciler }

// reconcilerOf has a connection to no environment, and one environment that its finalizer holds.
func reconcilerOf(t *testing.T, objects ...client.Object) letting {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	environment := &v1alpha1.TenantEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "sandbox", Finalizers: []string{v1alpha1.Finalizer}}}
	return letting{&Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(objects, environment)...).Build(), Connections: &Connections{}}}
}

func (l letting) environment(t *testing.T) *v1alpha1.TenantEnvironment {
	t.Helper()
	var environment v1alpha1.TenantEnvironment
	require.NoError(t, l.Client.Get(t.Context(), client.ObjectKey{Name: "sandbox"}, &environment))
	return &environment
}

// Only what the object itself has begun holds its environment.
func TestUnfinishedInTheLedger(t *testing.T) {
	claim := &postgres.Claim{UID: "uid-1"}
	for name, test := range map[string]struct {
		tenant     postgres.Tenant
		unfinished bool
	}{
		"no claim":   {postgres.Tenant{Open: &postgres.Rotation{}}, false},
		"another's":  {postgres.Tenant{Claim: &postgres.Claim{UID: "uid-2"}, Open: &postgres.Rotation{}}, false},
		"at rest":    {postgres.Tenant{Claim: claim}, false},
		"completed":  {postgres.Tenant{Claim: claim, Last: &postgres.Rotation{State: postgres.StateCompleted}}, false},
		"open":       {postgres.Tenant{Claim: claim, Open: &postgres.Rotation{}}, true},
		"committed":  {postgres.Tenant{Claim: claim, Last: &postgres.Rotation{State: postgres.StateCommitted}}, true},
		"rolled":     {postgres.Tenant{Claim: claim, Last: &postgres.Rotation{State: postgres.StateRolled}}, true},
		"once again": {postgres.Tenant{Claim: claim, Open: &postgres.Rotation{}, Last: &postgres.Rotation{State: postgres.StateCompleted}}, true},
	} {
		object := &v1alpha1.TenantCredential{ObjectMeta: metav1.ObjectMeta{UID: "uid-1"}}
		require.Equal(t, test.unfinished, member{object, test.tenant}.unfinished(), name)
	}
}

// An environment that is being deleted says so, with the number of rotations that hold it and both ways out, and can be used all the same.
func TestReportOfAnEnvironmentThatIsBeingDeleted(t *testing.T) {
	at := metav1.Now()
	environment := &v1alpha1.TenantEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "sandbox", DeletionTimestamp: &at, Finalizers: []string{v1alpha1.Finalizer}}}
	report(environment, "tcred-system", seen{survey: postgres.Survey{ServerVersion: "15.18", LedgerVersion: 9}}, 2)
	ready := environment.Status.Conditions[0]
	require.Equal(t, metav1.ConditionTrue, ready.Status)
	require.Equal(t, reasons.EnvironmentTerminating, ready.Reason)
	require.Contains(t, ready.Message, "stays until the operator has completed its unfinished rotations (2)")
	require.Contains(t, ready.Message, `kubectl patch tenv sandbox --type merge -p '{"metadata":{"finalizers":null}}'`)

	report(environment, "tcred-system", seen{err: errLedgerOld}, 1)
	ready = environment.Status.Conditions[0]
	require.Equal(t, metav1.ConditionFalse, ready.Status)
	require.Equal(t, reasons.LedgerOutdated, ready.Reason)
	require.Contains(t, ready.Message, "stays until the operator has completed its unfinished rotations (1)")
	require.NotContains(t, ready.Message, "keep their present passwords")
}
