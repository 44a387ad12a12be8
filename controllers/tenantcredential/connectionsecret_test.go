package tenantcredential

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// ledgerOf answers Observe, and nothing else.
type ledgerOf struct {
	Postgres
	observe func() postgres.Tenant
}

func (l ledgerOf) Observe(context.Context, []string) ([]postgres.Tenant, error) {
	return []postgres.Tenant{l.observe()}, nil
}

// secretWorld is a tenant with revision 2 committed and not completed, delivered to Secret acme-db alone, which still has revision 1.
type secretWorld struct {
	t     *testing.T
	r     *Reconciler
	s     *scope
	third password // of an attempt at another revision, or of one that came to nothing
}

func newSecretWorld(t *testing.T) *secretWorld {
	t.Helper()
	s := resting()
	s.object.Spec.Delivery = v1alpha1.Delivery{ConnectionSecret: &v1alpha1.ConnectionSecretDelivery{Name: "acme-db"}}
	s.destination.Variable, s.destination.ConnectionSecret = "", "tenants/acme-db"
	s.flySeen = false
	s.environment.Spec.AllowedNamespaces.From = v1alpha1.NamespacesFromAll
	bound := map[string]string{v1alpha1.TenantLabelPrefix + s.id(): v1alpha1.TenantLabelAllowed}
	api := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tenants", Labels: bound}}).Build()
	w := &secretWorld{t: t, s: s, r: &Reconciler{Client: api, Live: api}}
	s.connection = &Environment{Postgres: ledgerOf{observe: func() postgres.Tenant { return *w.s.tenant }}}

	w.stage(1, w.next())
	w.commit(1, w.s.tenant.Open)
	require.NoError(t, w.r.settleSecret(t.Context(), s))
	require.Equal(t, "1", w.annotation("acme-db"))
	w.stage(2, w.next())
	w.commit(2, w.s.tenant.Open)
	w.third = w.next()
	return w
}

func (w *secretWorld) next() password {
	w.t.Helper()
	next, err := newPassword("tenant_7dd06cd6")
	require.NoError(w.t, err)
	return next
}

// stage opens a revision and stages its Secret.
func (w *secretWorld) stage(revision int64, next password) {
	w.t.Helper()
	w.s.tenant.Open = &postgres.Rotation{Revision: revision, VerifierDigest: credential.VerifierDigest(next.verifier), DeliveryDigest: w.s.destination.Digest()}
	require.NoError(w.t, w.r.stageSecret(w.t.Context(), w.s, next))
}

func (w *secretWorld) commit(revision int64, opened *postgres.Rotation) {
	w.s.tenant.Open = nil
	w.s.tenant.Last = &postgres.Rotation{Revision: revision, State: postgres.StateCommitted, VerifierDigest: opened.VerifierDigest, DeliveryDigest: opened.DeliveryDigest,
		LoginCheckedAt: time.Now()}
	w.s.tenant.VerifierDigest = opened.VerifierDigest
}

func (w *secretWorld) secret(name string) *corev1.Secret {
	w.t.Helper()
	secret, err := w.r.readSecret(w.t.Context(), client.ObjectKey{Namespace: "tenants", Name: name})
	require.NoError(w.t, err)
	return secret
}

func (w *secretWorld) annotation(name string) string {
	w.t.Helper()
	secret := w.secret(name)
	require.NotNil(w.t, secret, name)
	return secret.Annotations[v1alpha1.RevisionAnnotation]
}

// The process died after COMMIT: what it staged is promoted, and nothing staged is left.
func TestPromotesWhatIsCommitted(t *testing.T) {
	w := newSecretWorld(t)
	staged := w.secret("acme-db-r2")
	require.NoError(t, w.r.settleSecret(t.Context(), w.s))
	require.Equal(t, staged.Data, w.secret("acme-db").Data)
	require.Equal(t, "2", w.annotation("acme-db"))
	require.Nil(t, w.secret("acme-db-r2"))
	require.Equal(t, rotation.Finish, rotation.Decide(w.s.facts(w.s.tenant)).Step)
}

// What is staged under the right name and is not what the ledger knows came from an attempt that lost, or was edited: it is never promoted,
// and as nobody else has the password, a new one is due.
func TestNeverPromotesWhatIsNotCommitted(t *testing.T) {
	for name, change := range map[string]func(w *secretWorld, staged *corev1.Secret){
		"another attempt's": func(w *secretWorld, _ *corev1.Secret) {
			last := w.s.tenant.Last
			w.stage(2, w.third)
			w.s.tenant.Open, w.s.tenant.Last = nil, last
		},
		"edited": func(w *secretWorld, staged *corev1.Secret) {
			staged.Data["host"] = []byte("elsewhere")
			require.NoError(w.t, w.r.Client.Update(w.t.Context(), staged))
		},
		"somebody else's": func(w *secretWorld, staged *corev1.Secret) {
			staged.OwnerReferences = nil
			require.NoError(w.t, w.r.Client.Update(w.t.Context(), staged))
		},
		"gone": func(w *secretWorld, staged *corev1.Secret) {
			require.NoError(w.t, w.r.Client.Delete(w.t.Context(), staged))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSecretWorld(t)
			before := w.secret("acme-db")
			change(w, w.secret("acme-db-r2"))
			require.NoError(t, w.r.settleSecret(t.Context(), w.s))
			require.NoError(t, w.s.secret.trouble)
			require.Equal(t, before, w.secret("acme-db"))
			require.Equal(t, rotation.Decision{Step: rotation.Start, Cause: rotation.DeliveryChanged}, rotation.Decide(w.s.facts(w.s.tenant)))
			require.Equal(t, name == "somebody else's", w.secret("acme-db-r2") != nil, "what is the operator's own is removed, and nothing else")
		})
	}
}

// A process that was held up after it had read the ledger does not write an older password over a newer one.
func TestPromotionGivesWayToANewerRevision(t *testing.T) {
	t.Run("which is committed", func(t *testing.T) {
		w := newSecretWorld(t)
		newer := *w.s.tenant
		newer.Last = &postgres.Rotation{Revision: 3, State: postgres.StateCommitted, LoginCheckedAt: time.Now()}
		w.s.connection.Postgres = ledgerOf{observe: func() postgres.Tenant { return newer }}
		requireSuperseded(t, w)
		require.Equal(t, "1", w.annotation("acme-db"))
	})
	t.Run("which is promoted at this moment", func(t *testing.T) {
		w := newSecretWorld(t)
		w.s.connection.Postgres = ledgerOf{observe: func() postgres.Tenant {
			secret := w.secret("acme-db")
			secret.Annotations[v1alpha1.RevisionAnnotation] = "3"
			require.NoError(t, w.r.Client.Update(t.Context(), secret))
			return *w.s.tenant
		}}
		requireSuperseded(t, w)
		require.Equal(t, "3", w.annotation("acme-db"))
	})
}

func requireSuperseded(t *testing.T, w *secretWorld) {
	t.Helper()
	require.NoError(t, w.r.settleSecret(t.Context(), w.s), "Machines do not wait for it")
	require.Equal(t, failure.Superseded, failure.ReasonOf(obstacleOf(w.s.secret.trouble).failure))
	require.ErrorIs(t, w.r.rollOut(t.Context(), finishing(w.s)), w.s.secret.trouble, "but the completion does")
}

func finishing(s *scope) *scope {
	s.decision = rotation.Decision{Step: rotation.Finish}
	s.connection.Slots = &heldSlots{}
	return s
}

// Neither under the final name nor under the staged one is anything written over that the operator has not made, or may not write.
func TestWritesOverNothingOfOthers(t *testing.T) {
	for name, theirs := range map[string]func(*corev1.Secret){
		"no owner":       func(s *corev1.Secret) { s.OwnerReferences = nil },
		"another object": func(s *corev1.Secret) { s.OwnerReferences[0].Name = "beta" },
		"another kind":   func(s *corev1.Secret) { s.OwnerReferences[0].Kind = "Deployment" },
		"another type":   func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque },
		"immutable":      func(s *corev1.Secret) { s.Immutable = new(true) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newSecretWorld(t)
			for _, taken := range []string{"acme-db", "acme-db-r3"} {
				secret := w.secret("acme-db-r2")
				secret.Name, secret.ResourceVersion = taken, ""
				theirs(secret)
				_ = w.r.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: taken}})
				require.NoError(t, w.r.Client.Create(t.Context(), secret))
			}
			before, staged := w.secret("acme-db"), w.secret("acme-db-r3")
			require.NoError(t, w.r.settleSecret(t.Context(), w.s))
			require.Equal(t, failure.SecretNotOwned, obstacleOf(w.s.secret.trouble).failure.Reason)
			w.s.tenant.Open = &postgres.Rotation{Revision: 3}
			require.Equal(t, failure.SecretNotOwned, obstacleOf(w.r.stageSecret(t.Context(), w.s, w.third)).failure.Reason)
			require.Equal(t, before, w.secret("acme-db"))
			require.Equal(t, staged, w.secret("acme-db-r3"))
		})
	}
}

// A Secret that knows of a revision which the ledger has lost, before any status said so, is a witness.
func TestSecretAheadOfTheLedger(t *testing.T) {
	w := newSecretWorld(t)
	require.NoError(t, w.r.settleSecret(t.Context(), w.s))
	w.s.tenant.Last.Revision, w.s.tenant.Last.State = 1, postgres.StateCompleted
	require.NoError(t, w.r.settleSecret(t.Context(), w.s))
	require.False(t, w.s.lost(w.s.tenant), "nothing was begun")
	w.s.object.Finalizers = []string{v1alpha1.Finalizer}
	require.True(t, w.s.lost(w.s.tenant))
}

// Whoever has a say in admission may repeat what was sent: nothing of it is handed on.
func TestRefusalsRepeatNothing(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	echo := errors.New("denied: hunter2-hunter2")
	for err, want := range map[error]failure.Error{
		apierrors.NewForbidden(secrets, "x", echo):                {Class: failure.Stall, Reason: failure.PermissionDenied},
		apierrors.NewConflict(secrets, "x", echo):                 {Class: failure.Retry, Reason: failure.Superseded},
		apierrors.NewAlreadyExists(secrets, "hunter2-hunter2"):    {Class: failure.Retry, Reason: failure.Superseded},
		apierrors.NewBadRequest("hunter2-hunter2"):                {Class: failure.Retry, Reason: failure.Rejected},
		apierrors.NewInvalid(schema.GroupKind{}, "hunter2", nil):  {Class: failure.Retry, Reason: failure.Rejected},
		apierrors.NewInternalError(echo):                          {Class: failure.Retry, Reason: failure.ConnectionFailed},
		apierrors.NewTooManyRequests("hunter2-hunter2", 1):        {Class: failure.Retry, Reason: failure.ConnectionFailed},
		context.DeadlineExceeded:                                  {Class: failure.Retry, Reason: failure.ConnectionFailed},
		&apierrors.StatusError{ErrStatus: namespaceTerminating()}: {Class: failure.Wait, Reason: failure.Rejected},
	} {
		got := obstacleOf(refusedSecret(err, "acme-db"))
		require.Equal(t, v1alpha1.ConnectionSecretSyncedCondition, got.condition)
		require.Equal(t, want.Class, got.failure.Class, err)
		require.Equal(t, want.Reason, got.failure.Reason, err)
		require.NotContains(t, got.Error(), "hunter2")
	}
	require.NoError(t, refusedSecret(nil, "acme-db"))
}

func namespaceTerminating() metav1.Status {
	return metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "hunter2",
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}}}
}
