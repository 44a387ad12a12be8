package pass

import (
	"slices"

	"github.com/systempromptio/tenant-credential-operator/controllers/connectionsecret"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// Observed is what a pass has seen. The zero value has seen nothing.
type Observed struct {
	// Tenant is what the server knows; nil = it was not asked, or the object is not told.
	Tenant *postgres.Tenant
	// ShutOut: the object is unbound, and the ledger has no rotation of it to finish.
	ShutOut bool
	// Begun: the object has the finalizer, so that an attempt may have been begun. ResourceVersion is that of this pass's last write to the object,
	// "" = it has written none.
	Begun           bool
	ResourceVersion string
	// Whole: everything that a decision rests on was seen.
	Whole bool
	// Untried is the digest of the verifier whose password this process still has, because no login has proved it; "" = none.
	Untried string
	// Fly is its answer; nil = it was not asked, or did not answer.
	Fly *FlyAnswer
	// Secret is the connection Secret; nil = it was not looked at.
	Secret *SecretAnswer
	// Machines is how far the rollout has come; nil = not looked at in this pass.
	Machines *fly.Progress
	// Retired: this pass has closed the login that the consumers have left.
	Retired bool
	// SessionsLeft: a session that was opened before the rotation, and is to be ended, may be left.
	SessionsLeft bool
}

// FlyAnswer is what Fly says of an app.
type FlyAnswer struct {
	App fly.App
	// Digest is the secret's, "" = the app has none of that name; nil = it was not asked for, because a rotation is due whatever it is.
	Digest *string
}

// SecretState is what the connection Secret holds.
type SecretState string

const (
	SecretAbsent  SecretState = "Absent"
	SecretCurrent SecretState = "Current" // the ledger's last revision, as it was written
	SecretOther   SecretState = "Other"   // something else
)

// SecretAnswer is what is so of the connection Secret.
type SecretAnswer struct {
	// State is "" where Trouble has kept it from being seen.
	State SecretState
	// Revision is the one that it says it has, 0 where it is absent or says nothing.
	Revision int64
	// Trouble is why it could not be read, or does not have a revision that is committed; nil = nothing. It keeps nothing waiting but the completion.
	Trouble *Obstacle
}

// Seeing is a Secret's answer, for the last rotation of the ledger; nil = there has been none.
func Seeing(secret *connectionsecret.Secret, last *postgres.Rotation) SecretAnswer {
	switch {
	case secret == nil:
		return SecretAnswer{State: SecretAbsent}
	case last != nil && secret.Holds(RevisionOf(last)):
		return SecretAnswer{State: SecretCurrent, Revision: secret.Revision}
	case secret.Controlled:
		return SecretAnswer{State: SecretOther, Revision: secret.Revision}
	default: // it is about to go with a previous object of this name
		return SecretAnswer{State: SecretAbsent, Revision: secret.Revision}
	}
}

// RevisionOf is a rotation as its Secrets know it.
func RevisionOf(r *postgres.Rotation) connectionsecret.Revision {
	return connectionsecret.Revision{Number: r.Revision, VerifierDigest: r.VerifierDigest}
}

// WithTenant replaces what the server knows.
func WithTenant(seen Observed, tenant postgres.Tenant) Observed {
	seen.Tenant = &tenant
	return seen
}

// ShutOut is what is left to an unbound object of what was seen.
func ShutOut(seen Observed) Observed {
	seen.Tenant, seen.ShutOut = nil, true
	return seen
}

// WithFly replaces what Fly says; nil = what was seen proves nothing any more.
func WithFly(seen Observed, answer *FlyAnswer) Observed {
	seen.Fly = answer
	return seen
}

// WithSecret replaces what is so of the connection Secret; nil = nothing is said of it.
func WithSecret(seen Observed, answer *SecretAnswer) Observed {
	seen.Secret = answer
	return seen
}

// WithFlyDigest replaces the digest of the app's secret; the app stays as it was read.
func WithFlyDigest(seen Observed, digest string) Observed {
	return WithFly(seen, &FlyAnswer{App: seen.Fly.App, Digest: &digest})
}

// SawFlySecret says that the pass knows the digest of the app's secret.
func SawFlySecret(seen Observed) bool { return seen.Fly != nil && seen.Fly.Digest != nil }

// WithOpen replaces the open rotation; nil = there is none any more.
func WithOpen(seen Observed, open *postgres.Rotation) Observed {
	tenant := *seen.Tenant
	tenant.Open = open
	return WithTenant(seen, tenant)
}

// WithLast replaces the newest committed rotation.
func WithLast(seen Observed, last postgres.Rotation) Observed {
	tenant := *seen.Tenant
	tenant.Last = &last
	return WithTenant(seen, tenant)
}

// Held says that the pass saw the tenant, and that this object, in this cluster, holds it.
func Held(in Input, seen Observed) bool {
	return seen.Tenant != nil && seen.Tenant.Claim != nil && seen.Tenant.Claim.UID == UID(in) && seen.Tenant.Claim.Cluster == in.Cluster
}

// Regressed says that the ledger does not know the newest revision that the status speaks of: PostgreSQL has lost it, in a failover or by a restored
// backup.
func Regressed(in Input, tenant *postgres.Tenant) bool {
	known := in.Object.Status.Revision
	return tenant.Last == nil && known > 0 || tenant.Last != nil && known > tenant.Last.Revision
}

// NewestRevision is the newest that the status or the ledger knows of.
func NewestRevision(in Input, tenant *postgres.Tenant) int64 {
	if tenant.Last == nil {
		return in.Object.Status.Revision
	}
	return max(in.Object.Status.Revision, tenant.Last.Revision)
}

// Lost says that the ledger knows nothing of an attempt that got as far as Fly, or into the connection Secret: the finalizer is from before
// it was opened.
func Lost(in Input, seen Observed) bool {
	return seen.Begun && !seen.Tenant.Unfinished() && (FlySecretDrifted(seen) || secretAhead(seen))
}

// Warn adds a warning to what was seen of the Machines.
func Warn(seen Observed, warning string) Observed {
	if seen.Machines == nil {
		return seen
	}
	more := *seen.Machines
	more.Warnings = append(slices.Clone(more.Warnings), warning)
	seen.Machines = &more
	return seen
}
