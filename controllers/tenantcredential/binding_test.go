package tenantcredential

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

var verdict = pass.AsObstacle(pass.InKubernetes(failure.Stall, reasons.TenantNotBound, ""))

// An unbound object goes on to finish what the ledger says that this very object has begun, and learns nothing otherwise.
func TestAdmit(t *testing.T) {
	open := func(s *situation) { s.tenant.Open = &postgres.Rotation{Revision: 2, State: postgres.StateOpen} }
	for name, test := range map[string]struct {
		given    func(*situation)
		admitted bool
	}{
		"resting":                            {func(*situation) {}, false},
		"the finalizer alone":                {func(s *situation) { s.object.Finalizers = []string{v1alpha1.Finalizer} }, false},
		"never adopted":                      {func(s *situation) { s.tenant.Claim, s.tenant.Last = nil, nil }, false},
		"an attempt is open":                 {open, true},
		"a rotation is committed":            {func(s *situation) { s.tenant.Last.State = postgres.StateCommitted }, true},
		"another object's attempt":           {func(s *situation) { open(s); s.tenant.Claim.UID = "uid-2" }, false},
		"another cluster's attempt":          {func(s *situation) { open(s); s.tenant.Claim.Cluster = "another" }, false},
		"another object's committed one":     {func(s *situation) { s.tenant.Last.State, s.tenant.Claim.UID = postgres.StateRolled, "uid-2" }, false},
		"a status that is ahead of the rest": {func(s *situation) { s.object.Status.Revision = 9 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := resting()
			test.given(s)
			var r Reconciler
			_, err := r.admit(t.Context(), nil, s.in, s.out)
			require.NoError(t, err, "a bound object")
			s.in.Unbound = verdict
			out, err := r.admit(t.Context(), nil, s.in, s.out)
			require.Equal(t, test.admitted, err == nil)
			require.Equal(t, test.admitted, out.Seen.Tenant != nil, "what is known of the tenant")
			require.Equal(t, !test.admitted, out.Seen.ShutOut)
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
func TestUnbound(t *testing.T) {
	open := func(s *situation) { s.tenant.Open = &postgres.Rotation{Revision: 2, State: postgres.StateOpen} }
	committed := func(s *situation) { s.tenant.Last.State = postgres.StateCommitted }
	for name, test := range map[string]struct {
		given     func(*situation)
		phase     rotation.Phase
		discarded int64
	}{
		"committed":                           {committed, rotation.RollingOut, 0},
		"committed, and another value at Fly": {func(s *situation) { committed(s); s.out.Seen.Fly.Digest = new("another") }, rotation.Resting, 0},
		"committed, and Fly is taken out of the spec": {func(s *situation) {
			s.toSecretAlone()
			committed(s)
			s.tenant.Last.FlyApp = "sp-7dd06cd6"
		}, rotation.Resting, 0},
		"committed, and no process can prove the login": {func(s *situation) {
			committed(s)
			s.tenant.Last.LoginCheckedAt = time.Time{}
		}, rotation.Attempting, 0},
		"committed for the Secret alone, and no process can prove the login": {func(s *situation) {
			s.toSecretAlone()
			committed(s)
			s.tenant.Last.LoginCheckedAt = time.Time{}
		}, rotation.Resting, 0},
		"committed, and asked for another after a compromise": {func(s *situation) {
			committed(s)
			s.object.Spec.RotationRequest = &v1alpha1.RotationRequest{ReplacesRevision: 1, Compromised: true}
		}, rotation.RollingOut, 0},
		"open, to Fly":               {open, rotation.Attempting, 0},
		"open, for the Secret alone": {func(s *situation) { s.toSecretAlone(); open(s) }, rotation.Abandoning, 2},
		"completed, and raised":      {func(s *situation) { *s.object.Spec.RotationGeneration = 9 }, rotation.Resting, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, ledger := resting(), &ledgerThatDiscards{}
			s.in.Unbound = verdict
			test.given(s)
			require.Equal(t, test.phase, pass.Assess(s.in, s.out).Phase)
			if test.phase != rotation.Resting && test.phase != rotation.Abandoning {
				return
			}
			out, err := (&Reconciler{}).act(t.Context(), &Environment{Postgres: ledger}, s.in, s.out)
			require.ErrorIs(t, err, verdict)
			require.Equal(t, test.discarded, ledger.discarded)
			require.Equal(t, test.discarded == 0, out.Seen.Tenant == s.tenant)
		})
	}
}

// What is staged in a namespace that has lost its binding goes, nothing is promoted, and a revision that never arrived is not completed.
func TestWithholdsFromAnUnboundNamespace(t *testing.T) {
	w := newSecretWorld(t)
	before := w.secret("acme-db")
	w.s.in.Unbound = verdict
	w.settle()
	require.Nil(t, w.secret("acme-db-r2"))
	require.Equal(t, before, w.secret("acme-db"))
	require.ErrorIs(t, w.finish(), verdict)

	w.stage(3, w.third)
	require.Nil(t, w.secret("acme-db-r3"), "a password is staged in an unbound namespace")
}

// One that has arrived is completed.
func TestCompletesWhatHasArrivedInAnUnboundNamespace(t *testing.T) {
	w := newSecretWorld(t)
	w.settle()
	w.s.in.Unbound = verdict
	w.settle()
	require.Nil(t, w.trouble())
	require.Equal(t, "2", w.annotation("acme-db"))
}

// The cache may lag: right before a promotion the API server itself is asked.
func TestNothingIsPromotedOnceTheBindingIsGone(t *testing.T) {
	w := newSecretWorld(t)
	var namespace corev1.Namespace
	require.NoError(t, w.r.Client.Get(t.Context(), client.ObjectKey{Name: "tenants"}, &namespace))
	namespace.Labels = nil
	require.NoError(t, w.r.Client.Update(t.Context(), &namespace))
	w.settle()
	require.EqualValues(t, reasons.TenantNotBound, w.trouble().Failure.Reason)
	require.Equal(t, "1", w.annotation("acme-db"))
}
