package tenantcredential

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
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
	e     *Environment
	s     *situation
	third password // of an attempt at another revision, or of one that came to nothing
}

func newSecretWorld(t *testing.T) *secretWorld {
	t.Helper()
	s := resting()
	s.toSecretAlone()
	bound := map[string]string{v1alpha1.TenantLabelPrefix + s.object.Spec.TenantID: v1alpha1.TenantLabelAllowed}
	api := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tenants", Labels: bound}}).Build()
	w := &secretWorld{t: t, s: s, r: &Reconciler{Client: api, Live: api}, e: &Environment{Slots: &heldSlots{}, Canary: freeAddress{}}}
	w.e.Postgres = ledgerOf{observe: func() postgres.Tenant { return *w.s.tenant }}

	w.commit(w.stage(1, w.next()))
	w.settle()
	require.Equal(t, "1", w.annotation("acme-db"))
	w.commit(w.stage(2, w.next()))
	w.third = w.next()
	return w
}

func (w *secretWorld) next() password {
	w.t.Helper()
	next, err := newPassword("tenant_7dd06cd6")
	require.NoError(w.t, err)
	return next
}

// stage stages the Secret of a revision that has been opened, and returns its row.
func (w *secretWorld) stage(revision int64, next password) *postgres.Rotation {
	w.t.Helper()
	open, err := w.tryToStage(revision, next)
	require.NoError(w.t, err)
	return open
}

func (w *secretWorld) tryToStage(revision int64, next password) (*postgres.Rotation, error) {
	destination := pass.Destination(w.s.in, w.s.tenant)
	open := &postgres.Rotation{Revision: revision, VerifierDigest: credential.VerifierDigest(next.verifier), DeliveryDigest: destination.Digest()}
	return open, w.r.stageSecret(w.t.Context(), w.s.in, open, destination, next)
}

func (w *secretWorld) commit(opened *postgres.Rotation) {
	w.s.tenant.Last = &postgres.Rotation{Revision: opened.Revision, State: postgres.StateCommitted, VerifierDigest: opened.VerifierDigest, DeliveryDigest: opened.DeliveryDigest,
		LoginCheckedAt: time.Now()}
	w.s.tenant.VerifierDigest = opened.VerifierDigest
}

// settle is the step that promotes.
func (w *secretWorld) settle() {
	w.t.Helper()
	out, err := w.r.settleSecret(w.t.Context(), w.e, w.s.in, w.s.out)
	require.NoError(w.t, err)
	w.s.out = out
}

func (w *secretWorld) trouble() *pass.Obstacle {
	if w.s.out.Seen.Secret == nil {
		return nil
	}
	return w.s.out.Seen.Secret.Trouble
}

// finish goes on with the rotation that is committed.
func (w *secretWorld) finish() error {
	_, err := w.r.act(w.t.Context(), w.e, w.s.in, w.s.out)
	return err
}

func (w *secretWorld) state() rotation.State { return pass.Assess(w.s.in, w.s.out) }

// secret is nil where there is none.
func (w *secretWorld) secret(name string) *corev1.Secret {
	w.t.Helper()
	var secret corev1.Secret
	err := w.r.Client.Get(w.t.Context(), client.ObjectKey{Namespace: "tenants", Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(w.t, err)
	return &secret
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
	w.settle()
	require.Equal(t, staged.Data, w.secret("acme-db").Data)
	require.Equal(t, "2", w.annotation("acme-db"))
	require.Nil(t, w.secret("acme-db-r2"))
	require.Equal(t, rotation.Completing, w.state().Phase)
}

// What is staged under the right name and is not what the ledger knows came from an attempt that lost, or was edited: it is never promoted,
// and as no other place has the password, a new one is due.
func TestNeverPromotesWhatIsNotCommitted(t *testing.T) {
	for name, change := range map[string]func(w *secretWorld, staged *corev1.Secret){
		"another attempt's": func(w *secretWorld, _ *corev1.Secret) {
			w.stage(2, w.third)
		},
		"edited": func(w *secretWorld, staged *corev1.Secret) {
			staged.Data["host"] = []byte("elsewhere")
			require.NoError(w.t, w.r.Client.Update(w.t.Context(), staged))
		},
		"another client's": func(w *secretWorld, staged *corev1.Secret) {
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
			w.settle()
			require.Nil(t, w.trouble())
			require.Equal(t, before, w.secret("acme-db"))
			require.Equal(t, rotation.State{Phase: rotation.Attempting, Cause: rotation.DeliveryChanged}, w.state())
			require.Equal(t, name == "another client's", w.secret("acme-db-r2") != nil, "what is the operator's own is removed, and nothing else")
		})
	}
}

// A process that was held up after it had read the ledger does not write an older password over a newer one.
func TestPromotionGivesWayToANewerRevision(t *testing.T) {
	t.Run("which is committed", func(t *testing.T) {
		w := newSecretWorld(t)
		newer := *w.s.tenant
		newer.Last = &postgres.Rotation{Revision: 3, State: postgres.StateCommitted, LoginCheckedAt: time.Now()}
		w.e.Postgres = ledgerOf{observe: func() postgres.Tenant { return newer }}
		requireSuperseded(t, w)
		require.Equal(t, "1", w.annotation("acme-db"))
	})
	t.Run("which is promoted at this moment", func(t *testing.T) {
		w := newSecretWorld(t)
		w.e.Postgres = ledgerOf{observe: func() postgres.Tenant {
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
	w.settle() // Machines do not wait for it
	require.EqualValues(t, reasons.Superseded, w.trouble().Failure.Reason)
	require.ErrorIs(t, w.finish(), w.trouble(), "but the completion does")
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
			w.settle()
			require.EqualValues(t, reasons.SecretNotOwned, w.trouble().Failure.Reason)
			_, err := w.tryToStage(3, w.third)
			require.EqualValues(t, reasons.SecretNotOwned, pass.AsObstacle(err).Failure.Reason)
			require.Equal(t, before, w.secret("acme-db"))
			require.Equal(t, staged, w.secret("acme-db-r3"))
		})
	}
}

// A Secret that knows of a revision which the ledger has lost, before any status said so, is a witness.
func TestSecretAheadOfTheLedger(t *testing.T) {
	w := newSecretWorld(t)
	w.settle()
	w.s.tenant.Last.Revision, w.s.tenant.Last.State = 1, postgres.StateCompleted
	w.settle()
	require.False(t, pass.Lost(w.s.in, w.s.out.Seen), "nothing was begun")
	w.s.out.Seen.Begun = true
	require.True(t, pass.Lost(w.s.in, w.s.out.Seen))
}
