// Package connectionsecret reads and writes the Secrets that a tenant's credentials are delivered to in the cluster: the connection Secret, and the
// staged one beside it.
//
// A connection Secret changes only after COMMIT. Inside the transaction the new content goes into a staged Secret, <name>-r<revision>; after
// COMMIT it is promoted: copied into <name>, and the staged one removed. Whether a staged Secret holds the committed password, or that of an
// attempt which came to nothing, is told by its content digest together with the verifier's digest in the ledger.
//
// Secrets are read from the API server itself, and written past the cache: the operator may not list those of the tenants, so that it cannot
// watch them either. Every error is a failure.Error; its Detail is the Secret's name or a sentence about it.
package connectionsecret

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Store is where the Secrets are.
type Store struct {
	// Live reads from the API server itself.
	Live client.Reader
	// Client writes.
	Client client.Client
}

// Revision is a rotation as the ledger knows it.
type Revision struct {
	Number int64
	// VerifierDigest is the hexadecimal SHA-256 of the verifier that its password is set with.
	VerifierDigest string
}

// Secret is one that exists.
type Secret struct {
	// Revision is the one that it says it has, 0 = it says nothing.
	Revision int64
	// Owned says that the operator has made it for this object, or for a previous one of this name: there is only one at a time, and what
	// Kubernetes has not removed yet with the previous one is taken over. An immutable one is not the operator's any more: that it cannot be
	// written would show only after COMMIT.
	Owned bool
	// Controlled says that it goes with this very object.
	Controlled bool

	object *corev1.Secret
}

// Holds says that a Secret has the password of a revision, as it was written. A nil Secret holds nothing.
func (s *Secret) Holds(of Revision) bool {
	return s != nil && s.object.Annotations[v1alpha1.ContentDigestAnnotation] == credential.ConnectionDigest(s.object.Data, of.VerifierDigest)
}

// Staged is the key of the Secret that holds a revision until it is promoted.
func Staged(key client.ObjectKey, revision int64) client.ObjectKey {
	key.Name += "-r" + strconv.FormatInt(revision, 10)
	return key
}

// Read returns nil where there is none.
func (s Store) Read(ctx context.Context, owner client.Object, key client.ObjectKey) (*Secret, error) {
	var object corev1.Secret
	err := s.Live.Get(ctx, key, &object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, refused(err, key.Name)
	}
	found := &Secret{object: &object, Owned: owned(owner, &object), Controlled: metav1.IsControlledBy(&object, owner)}
	found.Revision, _ = strconv.ParseInt(object.Annotations[v1alpha1.RevisionAnnotation], 10, 64) // 0 where it is none
	return found, nil
}

// ReadOwn returns nil also where the Secret is not the operator's own.
func (s Store) ReadOwn(ctx context.Context, owner client.Object, key client.ObjectKey) (*Secret, error) {
	found, err := s.Read(ctx, owner, key)
	if err != nil || found == nil || !found.Owned {
		return nil, err
	}
	return found, nil
}

// ReadWritable refuses a Secret that is not the operator's own, which may not be written over; nil = there is none.
func (s Store) ReadWritable(ctx context.Context, owner client.Object, key client.ObjectKey) (*Secret, error) {
	found, err := s.Read(ctx, owner, key)
	if err == nil && found != nil && !found.Owned {
		return nil, failure.New(failure.Stall, reasons.SecretNotOwned, key.Name)
	}
	return found, err
}

func owned(by client.Object, secret *corev1.Secret) bool {
	owner := metav1.GetControllerOf(secret)
	return owner != nil && owner.APIVersion == v1alpha1.GroupVersion.String() && owner.Kind == credentialKind && owner.Name == by.GetName() &&
		secret.Type == credential.ConnectionSecretType && (secret.Immutable == nil || !*secret.Immutable)
}

const credentialKind = "TenantCredential" //nolint:gosec // the name of a kind

// Stage writes a revision where nothing reads it. What a previous attempt at the same revision left is replaced.
func (s Store) Stage(ctx context.Context, owner client.Object, key client.ObjectKey, of Revision, content map[string]credential.Secret) error {
	key = Staged(key, of.Number)
	over, err := s.ReadWritable(ctx, owner, key)
	if err != nil {
		return err
	}
	data := map[string][]byte{}
	for name, value := range content {
		data[name] = []byte(value.Reveal())
	}
	return s.write(ctx, owner, key, over, data, map[string]string{
		v1alpha1.RevisionAnnotation:      strconv.FormatInt(of.Number, 10),
		v1alpha1.ContentDigestAnnotation: credential.ConnectionDigest(data, of.VerifierDigest),
	})
}

// Copy writes the content of one Secret into another, over what has been read there; nil = nothing. It fails where that has changed meanwhile. To copy
// a Secret over itself makes the present object its owner.
func (s Store) Copy(ctx context.Context, owner client.Object, from *Secret, key client.ObjectKey, over *Secret) error {
	return s.write(ctx, owner, key, over, from.object.Data, from.object.Annotations)
}

// write leaves labels and annotations of others as they are.
func (s Store) write(ctx context.Context, owner client.Object, key client.ObjectKey, over *Secret, data map[string][]byte, annotations map[string]string) error {
	written := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Type: credential.ConnectionSecretType}
	if over != nil {
		written = over.object.DeepCopy()
	}
	written.Data = data
	for _, name := range []string{v1alpha1.RevisionAnnotation, v1alpha1.ContentDigestAnnotation} {
		metav1.SetMetaDataAnnotation(&written.ObjectMeta, name, annotations[name])
	}
	controller := true
	written.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: credentialKind, Name: owner.GetName(),
		UID: owner.GetUID(), Controller: &controller}}
	if over != nil {
		return refused(s.Client.Update(ctx, written, client.DisableReadYourWritesConsistency), key.Name)
	}
	return refused(s.Client.Create(ctx, written, client.DisableReadYourWritesConsistency), key.Name)
}

// Remove removes this very Secret, not one that has taken its place.
func (s Store) Remove(ctx context.Context, secret *Secret) error {
	object := secret.object
	this := client.Preconditions{UID: &object.UID, ResourceVersion: &object.ResourceVersion}
	err := s.Client.Delete(ctx, object, this, client.DisableReadYourWritesConsistency)
	return refused(client.IgnoreNotFound(err), object.Name)
}

// refused classes an error of the API server. Its text is left out: whoever has a say in admission may repeat in it what was sent.
func refused(err error, name string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return failure.New(failure.Wait, reasons.Rejected, fmt.Sprintf("Secret %s cannot be created, because its namespace is being deleted", name))
	case apierrors.IsForbidden(err):
		return failure.New(failure.Stall, reasons.PermissionDenied, name)
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return failure.New(failure.Retry, reasons.Superseded, fmt.Sprintf("Another client changed Secret %s at the same moment", name))
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return failure.New(failure.Retry, reasons.Rejected, fmt.Sprintf("The API server refused the content for Secret %s", name))
	default:
		return failure.New(failure.Retry, reasons.ConnectionFailed, fmt.Sprintf("The API server did not answer about Secret %s", name))
	}
}
