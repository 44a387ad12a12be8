package tenantcredential

import (
	"context"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// A connection Secret changes only after COMMIT. Inside the transaction the new content goes into a staged Secret, <name>-r<revision>;
// after COMMIT it is promoted: copied into <name>, and the staged one removed. Whether a staged Secret holds the committed password, or
// that of an attempt which came to nothing, is told by its content digest together with the verifier's digest in the ledger.
//
// Secrets are read from the API server itself, and written past the cache: the operator may not list those of the tenants, so that it
// can not watch them either.

// stagingTimeout bounds the staging: the tenant is locked meanwhile, and Fly has its own time after it.
const stagingTimeout = 5 * time.Second

// connectionSecret is what a pass knows of the Secret that the credentials are delivered to.
type connectionSecret struct {
	state secretState
	// revision is the one that it says it has, 0 where it is absent or says nothing.
	revision int64
	// trouble is why it could not be seen, or does not have a revision that is committed. It keeps nothing waiting but the completion.
	trouble error
}

type secretState string

const (
	secretUnseen  secretState = ""
	secretAbsent  secretState = "Absent"
	secretCurrent secretState = "Current" // it has the ledger's last revision, as it was written
	secretOther   secretState = "Other"   // it has something else
)

func (s *scope) deliversToFly() bool { return s.object.FlyDelivery() != nil }

// namesSecret says whether there is a Secret to look after. One of an object that is being deleted goes with it.
func (s *scope) namesSecret() bool {
	return s.object.Spec.Delivery.ConnectionSecret != nil && !s.deleted()
}

// deliversToSecret says whether passwords go into it: none do in a namespace that has lost its binding.
func (s *scope) deliversToSecret() bool { return s.namesSecret() && s.unbound == nil }

// intoNowhere says that an attempt was begun that nobody is left to receive the password of. Nothing outside PostgreSQL was changed by it.
func (s *scope) intoNowhere() bool {
	return s.decision.Step == rotation.Start && !s.deliversToFly() && !s.deliversToSecret()
}

func (s *scope) secretKey() client.ObjectKey {
	return client.ObjectKey{Namespace: s.object.Namespace, Name: s.object.Spec.Delivery.ConnectionSecret.Name}
}

// stagedKey is of the Secret that holds a revision until it is promoted.
func (s *scope) stagedKey(revision int64) client.ObjectKey {
	key := s.secretKey()
	key.Name += "-r" + strconv.FormatInt(revision, 10)
	return key
}

// delivered says that the last rotation was for the very places that the spec names now.
func (s *scope) delivered(tenant *postgres.Tenant) bool {
	return tenant.Last != nil && tenant.Last.DeliveryDigest == s.destination.Digest()
}

// secretGone says that the last rotation's password is nowhere any more: the Secret that it was written to is gone. Before that has once
// been promoted it does not matter what stands there instead.
func (s *scope) secretGone(tenant *postgres.Tenant) bool {
	return s.deliversToSecret() && s.delivered(tenant) && s.secret.trouble == nil &&
		(s.secret.state == secretAbsent || s.secret.state == secretOther && rolling(tenant) && !rolled(tenant))
}

// flyDropped says that the spec does not name the app any more whose Machines are being moved. Were the rotation completed without them, and
// the app named again, it would look as if they had moved.
func (s *scope) flyDropped(tenant *postgres.Tenant) bool {
	return !s.deliversToFly() && rolling(tenant) && !rolled(tenant) && tenant.Last.FlyApp != ""
}

// connectionSecretDrifted says that somebody else has changed the Secret since the last rotation was promoted for good.
func (s *scope) connectionSecretDrifted() bool {
	return s.deliversToSecret() && s.delivered(s.tenant) && s.secret.state == secretOther && (!rolling(s.tenant) || rolled(s.tenant))
}

// secretNotDelivered says that the spec asks for a Secret which does not exist, and that no rotation is due that would make it.
func (s *scope) secretNotDelivered() bool {
	return s.deliversToSecret() && s.tenant.Last == nil && s.tenant.Open == nil && s.secret.state == secretAbsent
}

// secretAhead says that the Secret has a revision that the ledger does not know.
func (s *scope) secretAhead(tenant *postgres.Tenant) bool {
	return s.secret.revision > 0 && (tenant.Last == nil || s.secret.revision > tenant.Last.Revision)
}

// settleSecret looks at the connection Secret and promotes what is committed. Trouble with it must not keep the Machines waiting that the
// same password was sent to: where a rotation is committed, it comes up again once they have moved.
func (r *Reconciler) settleSecret(ctx context.Context, s *scope) error {
	if !s.namesSecret() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	s.secret = connectionSecret{}
	if s.unbound != nil {
		r.withholdSecret(ctx, s)
		return nil
	}
	err := r.settle(ctx, s)
	if err != nil && rolling(s.tenant) {
		s.secret.trouble = err
		return nil
	}
	return err
}

func (r *Reconciler) settle(ctx context.Context, s *scope) error {
	present, err := r.readSecret(ctx, s.secretKey())
	if err != nil {
		return err
	}
	if present != nil && !s.owns(present) {
		return secretObstacle(failure.New(failure.Stall, failure.SecretNotOwned, present.Name))
	}
	s.seeSecret(present)
	if s.tenant.Last == nil || s.behind(s.tenant) {
		return nil
	}
	staged, err := r.readOwnSecret(ctx, s, s.stagedKey(s.tenant.Last.Revision))
	if err != nil {
		return err
	}
	switch {
	case s.secret.state != secretCurrent && staged != nil && contentOf(staged, s.tenant.Last):
		err = r.promote(ctx, s, present, staged)
	case s.secret.state == secretCurrent && !metav1.IsControlledBy(present, s.object):
		err = r.writeSecret(ctx, s, present, present)
	}
	if err != nil || staged == nil {
		return err
	}
	return r.removeSecret(ctx, staged) // it is promoted, or of an attempt that came to nothing
}

// seeSecret notes what there is.
func (s *scope) seeSecret(present *corev1.Secret) {
	s.secret = connectionSecret{state: secretAbsent}
	if present == nil {
		return
	}
	switch {
	case s.tenant.Last != nil && contentOf(present, s.tenant.Last):
		s.secret.state = secretCurrent
	case metav1.IsControlledBy(present, s.object):
		s.secret.state = secretOther
	} // or else it is about to go with a former object of this name
	s.secret.revision, _ = strconv.ParseInt(present.Annotations[v1alpha1.RevisionAnnotation], 10, 64) // 0 where it is none
}

// promote copies the staged content. Between the look at the Secret and the write, which fails where the Secret has changed meanwhile, the
// ledger is asked again: whoever commits a newer revision writes the Secret after that, so that his never gives way to this one.
func (r *Reconciler) promote(ctx context.Context, s *scope, present, staged *corev1.Secret) error {
	tenants, err := s.connection.Postgres.Observe(ctx, []string{s.id()})
	if err != nil {
		return postgresObstacle(err)
	}
	if last := tenants[0].Last; last == nil || last.Revision != s.tenant.Last.Revision {
		return secretObstacle(failure.New(failure.Retry, failure.Superseded, "another process went on with this rotation"))
	}
	if err := r.stillBound(ctx, s); err != nil {
		return err
	}
	if err := r.writeSecret(ctx, s, present, staged); err != nil {
		return err
	}
	s.secret = connectionSecret{state: secretCurrent, revision: s.tenant.Last.Revision}
	return nil
}

// stageSecret writes the password of the attempt where nobody reads it. What a former attempt at the same revision left is replaced.
func (r *Reconciler) stageSecret(ctx context.Context, s *scope, next password) error {
	if !s.deliversToSecret() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stagingTimeout)
	defer cancel()
	revision := s.tenant.Open.Revision
	key := s.stagedKey(revision)
	present, err := r.readSecret(ctx, key)
	if err != nil {
		return err
	}
	if present != nil && !s.owns(present) {
		return secretObstacle(failure.New(failure.Stall, failure.SecretNotOwned, key.Name))
	}
	content := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Data: map[string][]byte{}}
	for name, value := range s.destination.Connection(next.login, next.value) {
		content.Data[name] = []byte(value.Reveal())
	}
	content.Annotations = map[string]string{
		v1alpha1.RevisionAnnotation:      strconv.FormatInt(revision, 10),
		v1alpha1.ContentDigestAnnotation: credential.ConnectionDigest(content.Data, credential.VerifierDigest(next.verifier)),
	}
	return r.writeSecretAs(ctx, s, key, present, content)
}

// removeStaged removes what the open attempt has staged.
func (r *Reconciler) removeStaged(ctx context.Context, s *scope) error {
	if !s.deliversToSecret() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stagingTimeout)
	defer cancel()
	staged, err := r.readOwnSecret(ctx, s, s.stagedKey(s.tenant.Open.Revision))
	if err != nil || staged == nil {
		return err
	}
	return r.removeSecret(ctx, staged)
}

// contentOf says whether a Secret has the password of that rotation, as it was written.
func contentOf(secret *corev1.Secret, of *postgres.Rotation) bool {
	return secret.Annotations[v1alpha1.ContentDigestAnnotation] == credential.ConnectionDigest(secret.Data, of.VerifierDigest)
}

// owns says whether the operator has made the Secret for this object, or for a former one of this name: there is only one at a time, and
// what Kubernetes has not removed yet with the former is taken over. What somebody has made immutable is not the operator's any more: that
// it can not be written would show only after COMMIT.
func (s *scope) owns(secret *corev1.Secret) bool {
	owner := metav1.GetControllerOf(secret)
	return owner != nil && owner.APIVersion == v1alpha1.GroupVersion.String() && owner.Kind == credentialKind && owner.Name == s.object.Name &&
		secret.Type == credential.ConnectionSecretType && (secret.Immutable == nil || !*secret.Immutable)
}

const credentialKind = "TenantCredential" //nolint:gosec // the name of a kind

// readSecret returns nil where there is none.
func (r *Reconciler) readSecret(ctx context.Context, key client.ObjectKey) (*corev1.Secret, error) {
	var secret corev1.Secret
	err := r.Live.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, refusedSecret(err, key.Name)
	}
	return &secret, nil
}

// readOwnSecret returns nil also where the Secret is not the operator's own.
func (r *Reconciler) readOwnSecret(ctx context.Context, s *scope, key client.ObjectKey) (*corev1.Secret, error) {
	secret, err := r.readSecret(ctx, key)
	if err != nil || secret == nil || !s.owns(secret) {
		return nil, err
	}
	return secret, nil
}

func (r *Reconciler) writeSecret(ctx context.Context, s *scope, present, content *corev1.Secret) error {
	return r.writeSecretAs(ctx, s, s.secretKey(), present, content)
}

// writeSecretAs writes content into a Secret, over what is present. It fails where that has changed meanwhile. Labels and annotations of
// others stay.
func (r *Reconciler) writeSecretAs(ctx context.Context, s *scope, key client.ObjectKey, present, content *corev1.Secret) error {
	written := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Type: credential.ConnectionSecretType}
	if present != nil {
		written = present.DeepCopy()
	}
	written.Data = content.Data
	for _, name := range []string{v1alpha1.RevisionAnnotation, v1alpha1.ContentDigestAnnotation} {
		metav1.SetMetaDataAnnotation(&written.ObjectMeta, name, content.Annotations[name])
	}
	controller := true
	written.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: credentialKind, Name: s.object.Name,
		UID: s.object.UID, Controller: &controller}}
	if present != nil {
		return refusedSecret(r.Client.Update(ctx, written, client.DisableReadYourWritesConsistency), key.Name)
	}
	return refusedSecret(r.Client.Create(ctx, written, client.DisableReadYourWritesConsistency), key.Name)
}

// removeSecret removes this very Secret, not one that has taken its place.
func (r *Reconciler) removeSecret(ctx context.Context, secret *corev1.Secret) error {
	this := client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion}
	err := r.Client.Delete(ctx, secret, this, client.DisableReadYourWritesConsistency)
	return refusedSecret(client.IgnoreNotFound(err), secret.Name)
}

// refusedSecret classes an error of the API server. Its text is left out: whoever has a say in admission may repeat in it what was sent.
func refusedSecret(err error, name string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return secretObstacle(failure.New(failure.Wait, failure.Rejected, fmt.Sprintf("Secret %s can not be made, because its namespace is being deleted", name)))
	case apierrors.IsForbidden(err):
		return secretObstacle(failure.New(failure.Stall, failure.PermissionDenied, name))
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return secretObstacle(failure.New(failure.Retry, failure.Superseded, fmt.Sprintf("Secret %s was changed by somebody else at the same moment", name)))
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return secretObstacle(failure.New(failure.Retry, failure.Rejected, fmt.Sprintf("The API server refuses what is to be written into Secret %s", name)))
	default:
		return secretObstacle(failure.New(failure.Retry, failure.ConnectionFailed, fmt.Sprintf("The API server did not answer about Secret %s", name)))
	}
}

func secretObstacle(f *failure.Error) error {
	o := &obstacle{condition: v1alpha1.ConnectionSecretSyncedCondition, status: metav1.ConditionFalse, failure: f}
	if f.Class == failure.Retry {
		o.status = metav1.ConditionUnknown
	}
	return o
}
