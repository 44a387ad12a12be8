package pass

import (
	"cmp"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// Destination is where the password of a tenant goes, and in which form.
func Destination(in Input, tenant *postgres.Tenant) credential.Destination {
	internal, own := in.Environment.Spec.Postgres.Internal, in.Object.Spec.DatabaseURL
	destination := credential.Destination{
		Host:       internal.Host,
		Port:       internal.Port,
		Role:       tenant.Role,
		Database:   tenant.Database,
		Scheme:     string(cmp.Or(own.Scheme, internal.Scheme, v1alpha1.URLSchemePostgreSQL)),
		Parameters: map[string]string{},
	}
	for _, parameters := range []map[string]v1alpha1.URLParameter{internal.Parameters, own.Parameters} {
		for name, value := range parameters {
			destination.Parameters[name] = string(value)
		}
	}
	if ToFly(in) {
		destination.Variable = in.Object.FlyDelivery().Variable
	}
	if in.Object.Spec.Delivery.ConnectionSecret != nil && in.Unbound == nil {
		destination.ConnectionSecret = SecretKey(in).String()
	}
	return destination
}

// Delivered says that the last rotation was for the very places that the spec names now.
func Delivered(in Input, tenant *postgres.Tenant) bool {
	return tenant.Last != nil && tenant.Last.DeliveryDigest == Destination(in, tenant).Digest()
}

// secretGone says that the last rotation's password is nowhere any more: the connection Secret that it was written to is gone. Before that has
// once been promoted it does not matter what stands there instead.
func secretGone(in Input, seen Observed) bool {
	secret := seen.Secret
	return ToSecret(in) && Delivered(in, seen.Tenant) && secret != nil && secret.Trouble == nil &&
		(secret.State == SecretAbsent || secret.State == SecretOther && seen.Tenant.Rolling() && !seen.Tenant.Rolled())
}

// flyDropped says that the spec does not name the app any more whose Machines are being moved. Were the rotation completed without them, and the
// app named again, it would look as if they had moved.
func flyDropped(in Input, tenant *postgres.Tenant) bool {
	return !ToFly(in) && tenant.Rolling() && !tenant.Rolled() && tenant.Last.FlyApp != ""
}

// CommittedForSecret says that the last rotation is committed, for the connection Secret that the spec names among others, and that not all its
// consumers have it.
func CommittedForSecret(in Input, tenant *postgres.Tenant) bool {
	destination := Destination(in, tenant)
	destination.ConnectionSecret = SecretKey(in).String()
	return tenant.Rolling() && !tenant.Rolled() && tenant.Last.DeliveryDigest == destination.Digest()
}

// ConnectionSecretDrifted says that another client has changed the connection Secret since the last rotation was promoted for good.
func ConnectionSecretDrifted(in Input, seen Observed) bool {
	return ToSecret(in) && Delivered(in, seen.Tenant) && seen.Secret != nil && seen.Secret.State == SecretOther && (!seen.Tenant.Rolling() || seen.Tenant.Rolled())
}

// SecretNotDelivered says that the spec asks for a connection Secret which does not exist, and that no rotation is due that would make it.
func SecretNotDelivered(in Input, seen Observed) bool {
	return ToSecret(in) && seen.Tenant.Last == nil && seen.Tenant.Open == nil && seen.Secret != nil && seen.Secret.State == SecretAbsent
}

// AwaitsDeploy says that the Machines take the last rotation's value with the user's next deploy.
func AwaitsDeploy(in Input, tenant *postgres.Tenant) bool {
	return tenant != nil && tenant.Last != nil && tenant.Last.State == postgres.StateCommitted && tenant.Last.FlyInstances != nil && Staged(in)
}

// LeftAtFly says that an attempt which is open may have left its password at Fly. Where Fly shows the last rotation's value it has left none; without
// that, only an attempt that this pass has begun, and that Fly was not told of, is known to have left none.
func LeftAtFly(in Input, seen Observed, attempt Attempt) bool {
	switch {
	case seen.Tenant.Open == nil || !ToFly(in):
		return false
	case SawFlySecret(seen) && seen.Tenant.Last != nil:
		return FlySecretDrifted(seen)
	default:
		return attempt.Told || seen.Tenant.Open.Revision != attempt.Opened
	}
}

// FlySecretDrifted says that Fly holds another value than the last rotation's. What was adopted cannot drift at Fly, because the value that it had is not known.
func FlySecretDrifted(seen Observed) bool {
	return SawFlySecret(seen) && seen.Tenant.Last != nil && *seen.Fly.Digest != seen.Tenant.Last.FlyDigest
}

// secretAhead says that the connection Secret has a revision that the ledger does not know.
func secretAhead(seen Observed) bool {
	return seen.Secret != nil && seen.Secret.Revision > 0 && (seen.Tenant.Last == nil || seen.Secret.Revision > seen.Tenant.Last.Revision)
}
