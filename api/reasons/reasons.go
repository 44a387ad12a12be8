// Package reasons is the vocabulary of what conditions say: the reasons of both kinds of object, and so those for which a step can fail. They are part of
// the API: a name stays, and its meaning. The package knows nothing of Kubernetes, so that everything may use it.
package reasons

// Reasons for a condition that is True (or, with Pending, not known yet).
const (
	Pending     = "Pending"     // the operator has not looked yet
	Rotated     = "Rotated"     // Ready: the generation that is asked for is done
	Adopted     = "Adopted"     // the existing password is recorded; no login was tested
	Verified    = "Verified"    // the value that is there is the ledger's
	Staged      = "Staged"      // FlySecretSynced: the value is at Fly, and the user's next deploy moves the Machines onto it
	AllUpdated  = "AllUpdated"  // every Machine has the value
	Suspended   = "Suspended"   // spec.suspend keeps a due rotation from starting
	Progressing = "Progressing" // Ready: in progress
	Connected   = "Connected"   // TenantEnvironment: the server can be used
	Enabled     = "Enabled"     // ExternalAccess: the tenant's logins are accepted from outside
)

// Reasons of Reconciling.
const (
	Rotating             = "Rotating"             // a rotation is due and starts next: it became due during the last one, or waits for its turn
	RollingOut           = "RollingOut"           // the rotation is committed and the Machines are being moved
	Retiring             = "Retiring"             // every Machine has moved, and the previous login is being closed
	RetryingAfterFailure = "RetryingAfterFailure" // the last attempt failed and is retried
)

// Reasons of Stalled: an edit in Kubernetes fixes it.
const (
	InvalidSpec         = "InvalidSpec"
	OwnershipConflict   = "OwnershipConflict"   // another object, or another cluster, holds the tenant
	NamespaceNotAllowed = "NamespaceNotAllowed" // the environment does not accept this namespace
	TenantNotBound      = "TenantNotBound"      // the namespace lacks the tenant's label
	NameConflict        = "NameConflict"        // another tenant has the same role or app
	RoleNotAllowed      = "RoleNotAllowed"      // the role guard refuses the role
	RolloutHalted       = "RolloutHalted"       // a Machine did not come up with the new value
	RotationsPaused     = "RotationsPaused"     // the environment's condition of that name says why, and how to resume
)

// Reasons of RotationsPaused.
const (
	NotPaused       = "NotPaused"
	Acknowledged    = "Acknowledged"    // a platform engineer has acknowledged the pause
	ServerChanged   = "ServerChanged"   // the server's system identifier is another one
	LedgerRegressed = "LedgerRegressed" // PostgreSQL has lost rotations of more tenants than can have been in progress
)

// Reasons of ExternalAccess, where it is not True.
const (
	Disabled    = "Disabled"    // the tenant's logins are not accepted from outside, and no session from there is left
	Disabling   = "Disabling"   // an external login that began before the end of the membership may still succeed
	NotEnforced = "NotEnforced" // pg_hba.conf has no rule that requires the group, so that the membership means nothing
	NotOffered  = "NotOffered"  // the environment has no external address
)

// Reasons for what is missing, broken or not known.
const (
	EnvironmentNotFound  = "EnvironmentNotFound"
	EnvironmentNotReady  = "EnvironmentNotReady"
	TenantNotFound       = "TenantNotFound" // no row in the management table
	RoleNotFound         = "RoleNotFound"
	ConnectionFailed     = "ConnectionFailed"
	ConnectionRefused    = "ConnectionRefused"    // nothing listens at the address
	HostNotFound         = "HostNotFound"         // the host's name does not resolve
	CertificateUntrusted = "CertificateUntrusted" // the server's certificate is from an authority that is not trusted: caSecretRef
	CertificateMismatch  = "CertificateMismatch"  // the server's certificate is for another host
	CertificateInvalid   = "CertificateInvalid"   // the server's certificate has expired, or the Secret of caSecretRef holds none
	MethodNotAccepted    = "MethodNotAccepted"    // the server asks the operator's login for another authentication than SCRAM-SHA-256
	AuthenticationFailed = "AuthenticationFailed"
	PermissionDenied     = "PermissionDenied"
	VerificationFailed   = "VerificationFailed" // a login with the password that was just set fails
	LoginUnproved        = "LoginUnproved"      // no login with the password that was just set has succeeded yet
	DriftDetected        = "DriftDetected"      // another client changed it
	TableNotUsable       = "TableNotUsable"     // the management table cannot be read or written as a rotation needs it
	LedgerConflict       = "LedgerConflict"     // TenantEnvironment: another ledger of the server has the same roles, or another environment this ledger
	LedgerOutdated       = "LedgerOutdated"     // TenantEnvironment: run manager install-sql
	SecretNotFound       = "SecretNotFound"     // the connection Secret is missing; TenantEnvironment: the login or token Secret, or its key
	SecretNotDelivered   = "SecretNotDelivered" // the tenant was adopted, so that no password is known for its connection Secret
	SecretNotOwned       = "SecretNotOwned"     // the connection Secret is not managed by this object, or is immutable
	FlyAppNotFound       = "FlyAppNotFound"
	RateLimited          = "RateLimited"
	OutcomeUnknown       = "OutcomeUnknown" // Fly's answer was lost: do not deploy the app until it is settled
	SecretHidden         = "SecretHidden"   // a Machine's own config keeps the secret from its processes
	MachineUnhealthy     = "MachineUnhealthy"
	LeaseHeld            = "LeaseHeld"
	HostUnreachable      = "HostUnreachable"
	Busy                 = "Busy"       // another session holds a lock in PostgreSQL
	Superseded           = "Superseded" // another process of the operator continued the rotation
	Rejected             = "Rejected"   // the other side refused the request as such
	Unexpected           = "Unexpected" // an error that this operator does not know
)

// EnvironmentTerminating says that the environment is being deleted. It stays until the rotations that were begun are finished, and no other one
// starts. On the TenantEnvironment itself it is a reason of Ready=True: a rotation that is being finished uses the environment.
const EnvironmentTerminating = "EnvironmentTerminating"
