package pass

import (
	"cmp"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// SessionPolicy is what a rotation that is about to be committed does about sessions that were opened with the previous password.
func SessionPolicy(in Input, seen Observed) string {
	if Facts(in, seen).Closes() {
		return postgres.SessionsCompromised
	}
	if cmp.Or(in.Object.Spec.Rotation.SessionPolicy, in.Environment.Spec.Rotation.SessionPolicy) == v1alpha1.SessionPolicyTerminate {
		return postgres.SessionsTerminated
	}
	return postgres.SessionsKept
}

// Retirement says how the login that the consumers have left is closed. Machines that the operator has moved itself do not use it any more, and
// whoever still has a session of it has the grace period, unless sessions are to be ended anyway. Of Machines that others have replaced it is not
// known which secrets they started with: Fly may have served an older value, so nothing is hurried, and no session cut off. Nor can the operator see
// whether what mounts a connection Secret has been rolled: that no session is left of the login does not tell. A password that a third party may
// know gets no grace.
func Retirement(in Input, tenant *postgres.Tenant) postgres.Retirement {
	grace := in.Environment.Spec.Rotation.OverlapGracePeriod.Value()
	switch {
	case tenant.Last.FlyInstances != nil:
		return postgres.Retirement{Grace: grace}
	case ToSecret(in) && tenant.Last.SessionPolicy != postgres.SessionsCompromised:
		return postgres.Retirement{Grace: grace, EndSessions: true}
	case tenant.Last.SessionPolicy != postgres.SessionsKept:
		grace = 0
	}
	return postgres.Retirement{Grace: grace, OnceIdle: true, EndSessions: true}
}

// NextGeneration is the number to write for a rotation, also where a halted one has a higher number than an object that was made again.
func NextGeneration(in Input, tenant *postgres.Tenant) int64 {
	highest := max(in.Object.AskedGeneration(), tenant.Claim.Generation)
	if tenant.Last != nil {
		highest = max(highest, tenant.Last.Generation)
	}
	return highest + 1
}

// EndsExternalAccess says that external access is being ended, or is to be.
func EndsExternalAccess(in Input, tenant *postgres.Tenant) bool {
	access := tenant.External
	return access.Unended || access.Unswept || access.Member && !WantsExternalAccess(in)
}

// SweepsOutside says that the next pass has to look for external sessions.
func SweepsOutside(in Input, seen Observed) bool {
	return Held(in, seen) && in.Unbound == nil && seen.Tenant.External.Unswept
}
