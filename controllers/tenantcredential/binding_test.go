package tenantcredential

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

var verdict = &obstacle{failure: failure.New(failure.Stall, v1alpha1.ReasonTenantNotBound, "")}

// An unbound object goes on to finish what the ledger says that this very object has begun, and learns nothing otherwise.
func TestAdmit(t *testing.T) {
	open := func(s *scope) { s.tenant.Open = &postgres.Rotation{Revision: 2, State: postgres.StateOpen} }
	for name, test := range map[string]struct {
		given    func(*scope)
		admitted bool
	}{
		"resting":                            {func(*scope) {}, false},
		"the finalizer alone":                {func(s *scope) { s.object.Finalizers = []string{v1alpha1.Finalizer} }, false},
		"never adopted":                      {func(s *scope) { s.tenant.Claim, s.tenant.Last = nil, nil }, false},
		"an attempt is open":                 {open, true},
		"a rotation is committed":            {func(s *scope) { s.tenant.Last.State = postgres.StateCommitted }, true},
		"another object's attempt":           {func(s *scope) { open(s); s.tenant.Claim.UID = "uid-2" }, false},
		"another cluster's attempt":          {func(s *scope) { open(s); s.tenant.Claim.Cluster = "another" }, false},
		"another object's committed one":     {func(s *scope) { s.tenant.Last.State, s.tenant.Claim.UID = postgres.StateRolled, "uid-2" }, false},
		"a status that is ahead of the rest": {func(s *scope) { s.before.Status.Revision = 9 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := resting()
			test.given(s)
			var r Reconciler
			require.NoError(t, r.admit(t.Context(), s), "a bound object")
			s.unbound = verdict
			err := r.admit(t.Context(), s)
			require.Equal(t, test.admitted, err == nil)
			require.Equal(t, test.admitted, s.tenant != nil, "what is known of the tenant")
			require.Equal(t, !test.admitted, s.shutOut)
		})
	}
}

// ledgerThatDiscards notes what is given up.
type ledgerThatDiscards struct {
	Postgres
	discarded int64
}

func (l *ledgerThatDiscards) Discard(_ context.Context, _, _ string, revision int64) error {
	l.discarded = revision
	return nil
}

// An unbound object starts nothing, whatever makes a rotation due.
func TestFinishUnbound(t *testing.T) {
	open := func(s *scope) { s.tenant.Open = &postgres.Rotation{Revision: 2, State: postgres.StateOpen} }
	committed := func(s *scope) {
		s.tenant.Last.State, s.tenant.Last.DeliveryDigest = postgres.StateCommitted, s.destination.Digest()
	}
	for name, test := range map[string]struct {
		given     func(*scope)
		step      rotation.Step
		discarded int64
	}{
		"committed":                           {committed, rotation.Finish, 0},
		"committed, and another value at Fly": {func(s *scope) { committed(s); s.flyDigest = "another" }, rotation.Nothing, 0},
		"committed, and Fly is taken out of the spec": {func(s *scope) {
			committed(s)
			s.tenant.Last.FlyApp = "sp-7dd06cd6"
			s.object.Spec.Delivery = v1alpha1.Delivery{ConnectionSecret: &v1alpha1.ConnectionSecretDelivery{Name: "acme-db"}}
		}, rotation.Nothing, 0},
		"committed, and nobody can prove the login": {func(s *scope) {
			committed(s)
			s.tenant.Last.LoginCheckedAt = time.Time{}
		}, rotation.Start, 0},
		"committed for the Secret alone, and nobody can prove the login": {func(s *scope) {
			s.object.Spec.Delivery = v1alpha1.Delivery{ConnectionSecret: &v1alpha1.ConnectionSecretDelivery{Name: "acme-db"}}
			committed(s)
			s.tenant.Last.LoginCheckedAt = time.Time{}
		}, rotation.Nothing, 0},
		"committed, and asked for another after a compromise": {func(s *scope) {
			committed(s)
			s.object.Spec.RotationRequest = &v1alpha1.RotationRequest{ReplacesRevision: 1, Compromised: true}
		}, rotation.Finish, 0},
		"open, to Fly": {open, rotation.Start, 0},
		"open, for the Secret alone": {func(s *scope) {
			open(s)
			s.object.Spec.Delivery = v1alpha1.Delivery{ConnectionSecret: &v1alpha1.ConnectionSecretDelivery{Name: "acme-db"}}
		}, rotation.Nothing, 2},
		"completed, and raised": {func(s *scope) { *s.object.Spec.RotationGeneration = 9 }, rotation.Nothing, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, ledger := resting(), &ledgerThatDiscards{}
			s.unbound, s.connection = verdict, &Environment{Postgres: ledger}
			test.given(s)
			err := (&Reconciler{}).decide(t.Context(), s)
			require.Equal(t, test.step, s.decision.Step)
			require.Equal(t, test.step == rotation.Nothing, err != nil)
			require.Equal(t, test.discarded, ledger.discarded)
		})
	}
}

// What is staged in a namespace that has lost its binding goes, nothing is promoted, and a revision that never arrived is not completed.
func TestWithholdsFromAnUnboundNamespace(t *testing.T) {
	w := newSecretWorld(t)
	before := w.secret("acme-db")
	w.s.unbound, w.s.destination.ConnectionSecret = verdict, ""
	require.NoError(t, w.r.settleSecret(t.Context(), w.s))
	require.Nil(t, w.secret("acme-db-r2"))
	require.Equal(t, before, w.secret("acme-db"))
	require.ErrorIs(t, w.r.rollOut(t.Context(), finishing(w.s)), verdict)

	require.NoError(t, w.r.stageSecret(t.Context(), w.s, w.third))
	require.Nil(t, w.secret("acme-db-r2"), "a password is staged in an unbound namespace")
}

// One that has arrived is completed.
func TestCompletesWhatHasArrivedInAnUnboundNamespace(t *testing.T) {
	w := newSecretWorld(t)
	require.NoError(t, w.r.settleSecret(t.Context(), w.s))
	w.s.unbound, w.s.destination.ConnectionSecret = verdict, ""
	require.NoError(t, w.r.settleSecret(t.Context(), w.s))
	require.NoError(t, w.s.secret.trouble)
	require.Equal(t, "2", w.annotation("acme-db"))
}

// The cache may lag: right before a promotion the API server itself is asked.
func TestNothingIsPromotedOnceTheBindingIsGone(t *testing.T) {
	w := newSecretWorld(t)
	var namespace corev1.Namespace
	require.NoError(t, w.r.Client.Get(t.Context(), client.ObjectKey{Name: "tenants"}, &namespace))
	namespace.Labels = nil
	require.NoError(t, w.r.Client.Update(t.Context(), &namespace))
	require.NoError(t, w.r.settleSecret(t.Context(), w.s))
	require.Equal(t, failure.Reason(v1alpha1.ReasonTenantNotBound), obstacleOf(w.s.secret.trouble).failure.Reason)
	require.Equal(t, "1", w.annotation("acme-db"))
}
