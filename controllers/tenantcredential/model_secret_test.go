package tenantcredential_test

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// The connection Secret of the model's tenant. No client but the operator names one with -r and a number.
var secretKey = client.ObjectKey{Namespace: key.Namespace, Name: "acme-db"}

// drawDelivery draws where the credentials of the objects that are created go.
func drawDelivery(rt *rapid.T) v1alpha1.Delivery {
	fly, secret := &v1alpha1.FlyDelivery{}, &v1alpha1.ConnectionSecretDelivery{Name: secretKey.Name}
	return rapid.SampledFrom([]v1alpha1.Delivery{{}, {Fly: fly}, {Fly: fly, ConnectionSecret: secret}, {ConnectionSecret: secret}}).Draw(rt, "delivery")
}

// drawOtherDelivery adds a place, or takes one away.
func (w *world) drawOtherDelivery(rt *rapid.T) {
	w.theObject(rt)
	delivery := drawDelivery(rt)
	w.edit(func(o *v1alpha1.TenantCredential) { o.Spec.Delivery = delivery })
}

// writesOfSecrets are the process's. What is sent, another client has.
func (p *process) writesOfSecrets() interceptor.Funcs {
	write := func(ctx context.Context, name string, o client.Object, effect func(client.Object) error) error {
		secret := o.(*corev1.Secret).DeepCopy()
		p.w.passwords[string(secret.Data["password"])] = true
		if p.unbound {
			p.w.violated("a password is written into a namespace that is not bound")
		}
		p.w.secretSent(secret)
		return p.call(ctx, apiSide, name, func() error {
			err := effect(secret)
			if err == nil {
				p.w.delivered[string(secret.Data["password"])] = true
			}
			return err
		})
	}
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return write(ctx, createSecret, o, func(o client.Object) error { return c.Create(context.Background(), o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return write(ctx, updateSecret, o, func(o client.Object) error { return c.Update(context.Background(), o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return p.call(ctx, apiSide, "delete secret", func() error { return c.Delete(ctx, o, opts...) })
		},
	}
}

const createSecret, updateSecret = "create secret", "update secret"

// secretSent judges a write: until it is committed no password goes into the Secret that is read. A failover may lose the commit while the
// write is under way.
func (w *world) secretSent(secret *corev1.Secret) {
	password := string(secret.Data["password"])
	if secret.Name != secretKey.Name {
		return
	}
	for _, f := range append(w.ledger.past, w.ledger.now) {
		if last := f.last(); last != nil && digest(f.verifier()) == last.VerifierDigest && matches(f.verifier(), password) {
			return
		}
	}
	w.violated("the Secret has a password that was never committed")
}

// connectionSecret is the Secret that is read, nil where there is none.
func (w *world) connectionSecret() *corev1.Secret {
	var secret corev1.Secret
	err := w.api.Get(context.Background(), secretKey, &secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return &secret
}

// disagreementInSecret says in what the Secret is not what a Ready object promises.
func (w *world) disagreementInSecret(o *v1alpha1.TenantCredential, last *postgres.Rotation) string {
	if o.Spec.Delivery.ConnectionSecret == nil {
		return ""
	}
	secret := w.connectionSecret()
	switch {
	case secret == nil:
		return "the Secret is gone"
	case !w.works(string(secret.Data["url"])):
		return "the Secret has a password that does not work"
	case string(secret.Data["host"]) != w.environment().Spec.Postgres.Internal.Host || secret.Annotations[v1alpha1.RevisionAnnotation] != fmt.Sprint(last.Revision):
		return "the Secret is of another revision"
	case !metav1.IsControlledBy(secret, o):
		return "the Secret belongs to another object"
	}
	var secrets corev1.SecretList
	w.must(w.api.List(context.Background(), &secrets))
	for _, staged := range secrets.Items {
		if staged.Name == fmt.Sprintf("%s-r%d", secretKey.Name, last.Revision) {
			return staged.Name + " is left"
		}
	}
	return ""
}

// drawSecret has another client take the Secret away, which heals by itself, or edit it, which does not.
func (w *world) drawSecret(rt *rapid.T) {
	secret := w.connectionSecret()
	if secret == nil {
		rt.SkipNow()
	}
	if rapid.Bool().Draw(rt, "gone") {
		w.must(w.api.Delete(context.Background(), secret))
	} else {
		secret.Data["host"] = []byte("elsewhere")
		w.must(w.api.Update(context.Background(), secret))
		w.foreign = true
	}
	w.disturb()
}

// collect removes what belonged to a deleted object, as Kubernetes does sooner or later.
func (w *world) collect() {
	var secrets corev1.SecretList
	w.must(w.api.List(context.Background(), &secrets))
	for i := range secrets.Items {
		w.must(w.api.Delete(context.Background(), &secrets.Items[i]))
	}
}

// late says that a call may take effect without anybody waiting for it any more.
func late(name string) bool { return name == setSecret || strings.HasSuffix(name, " secret") }
