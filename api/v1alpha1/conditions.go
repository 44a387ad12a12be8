package v1alpha1

// The conditions of a TenantCredential; a TenantEnvironment has Ready, Reconciling, Stalled, FlyReachable and
// RotationsPaused.
const (
	// ReadyCondition sums up: True when everything that spec asks for is done.
	ReadyCondition = "Ready"
	// ReconcilingCondition is present, and True, only while the operator works on it or waits for something outside.
	ReconcilingCondition = "Reconciling"
	// StalledCondition is present, and True, only while an edit in Kubernetes is needed. Never together with Reconciling.
	StalledCondition = "Stalled"
	// PostgresSyncedCondition: the role has the password of the ledger's last revision.
	PostgresSyncedCondition = "PostgresSynced"
	// HashSyncedCondition: the management table has the hash of that password.
	HashSyncedCondition = "HashSynced"
	// FlySecretSyncedCondition: the digest at Fly is the one of the operator's own write. Like FlyMachinesUpdatedCondition it is present only where
	// the spec delivers to Fly.
	FlySecretSyncedCondition = "FlySecretSynced"
	// FlyMachinesUpdatedCondition: every Machine runs with the value, or takes it at its next start.
	FlyMachinesUpdatedCondition = "FlyMachinesUpdated"
	// ConnectionSecretSyncedCondition: the Secret that spec.delivery.connectionSecret names has the password of the ledger's last revision.
	// Present only where the spec names one.
	ConnectionSecretSyncedCondition = "ConnectionSecretSynced"
	// ExternalAccessCondition: the tenant's logins are let in from outside the platform's network. Present where spec.externalAccess is, and where
	// the tenant has had it.
	ExternalAccessCondition = "ExternalAccess"
	// FlyReachableCondition of a TenantEnvironment: Fly accepts the token, and it is of the organization that the spec names. Absent while the
	// environment's settings cannot be used.
	FlyReachableCondition = "FlyReachable"
	// RotationsPausedCondition of a TenantEnvironment: no rotation starts until a platform engineer acknowledges what happened to the server.
	RotationsPausedCondition = "RotationsPaused"
)

// Reasons for a condition that is True (or, with Pending, not known yet).
const (
	ReasonPending     = "Pending"     // the operator has not looked yet
	ReasonRotated     = "Rotated"     // Ready: the generation that is asked for is done
	ReasonAdopted     = "Adopted"     // the present password is recorded as it was found; nothing is proved
	ReasonVerified    = "Verified"    // the value that is there is the ledger's
	ReasonStaged      = "Staged"      // FlySecretSynced: the value is at Fly, and the user's next deploy moves the Machines onto it
	ReasonAllUpdated  = "AllUpdated"  // every Machine has the value
	ReasonSuspended   = "Suspended"   // spec.suspend keeps a due rotation from starting
	ReasonProgressing = "Progressing" // Ready: in progress
	ReasonConnected   = "Connected"   // TenantEnvironment: the server can be used
	ReasonEnabled     = "Enabled"     // ExternalAccess: the tenant's logins are let in from outside
)

// Reasons of Reconciling.
const (
	ReasonRotating             = "Rotating"             // a rotation is due and starts next: it became due during the last one, or waits for its turn
	ReasonRollingOut           = "RollingOut"           // the rotation is committed and the Machines are being moved
	ReasonRetiring             = "Retiring"             // every Machine has moved, and the previous login is being closed
	ReasonRetryingAfterFailure = "RetryingAfterFailure" // the last attempt failed and is retried
)

// Reasons of Stalled: an edit in Kubernetes fixes it.
const (
	ReasonInvalidSpec         = "InvalidSpec"
	ReasonOwnershipConflict   = "OwnershipConflict"   // another object, or another cluster, holds the tenant
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed" // the environment does not accept this namespace
	ReasonTenantNotBound      = "TenantNotBound"      // the namespace lacks the tenant's label
	ReasonNameConflict        = "NameConflict"        // another tenant has the same role or app
	ReasonRoleNotAllowed      = "RoleNotAllowed"      // the role guard refuses the role
	ReasonRolloutHalted       = "RolloutHalted"       // a Machine did not come up with the new value
	ReasonRotationsPaused     = "RotationsPaused"     // the environment's condition of that name says why, and how to go on
)

// Reasons of RotationsPaused.
const (
	ReasonNotPaused       = "NotPaused"
	ReasonAcknowledged    = "Acknowledged"    // a platform engineer has said that rotations shall go on
	ReasonServerChanged   = "ServerChanged"   // the server's system identifier is another one
	ReasonLedgerRegressed = "LedgerRegressed" // PostgreSQL has lost rotations of more tenants than can have been in progress
)

// Reasons of ExternalAccess, where it is not True.
const (
	ReasonDisabled    = "Disabled"    // the tenant's logins are not let in from outside, and no session from there is left
	ReasonDisabling   = "Disabling"   // a login from outside that began before the end of the membership may still succeed
	ReasonNotEnforced = "NotEnforced" // pg_hba.conf has no rule that requires the group, so that the membership means nothing
	ReasonNotOffered  = "NotOffered"  // the environment has no external address
)

// Reasons for what is missing, broken or not known.
const (
	ReasonEnvironmentNotFound  = "EnvironmentNotFound"
	ReasonEnvironmentNotReady  = "EnvironmentNotReady"
	ReasonTenantNotFound       = "TenantNotFound" // no row in the management table
	ReasonRoleNotFound         = "RoleNotFound"
	ReasonConnectionFailed     = "ConnectionFailed"
	ReasonConnectionRefused    = "ConnectionRefused"    // nothing listens at the address
	ReasonHostNotFound         = "HostNotFound"         // the host's name does not resolve
	ReasonCertificateUntrusted = "CertificateUntrusted" // the server's certificate is from an authority that is not trusted: caSecretRef
	ReasonCertificateMismatch  = "CertificateMismatch"  // the server's certificate is for another host
	ReasonCertificateInvalid   = "CertificateInvalid"   // the server's certificate has expired, or the Secret of caSecretRef holds none
	ReasonMethodNotAccepted    = "MethodNotAccepted"    // the server asks the operator's login for another authentication than SCRAM-SHA-256
	ReasonAuthenticationFailed = "AuthenticationFailed"
	ReasonPermissionDenied     = "PermissionDenied"
	ReasonVerificationFailed   = "VerificationFailed" // a login with the password that was just set fails
	ReasonLoginUnproved        = "LoginUnproved"      // no login with the password that was just set has succeeded yet
	ReasonDriftDetected        = "DriftDetected"      // another client changed it
	ReasonTableNotUsable       = "TableNotUsable"     // the management table cannot be read or written as a rotation needs it
	ReasonLedgerConflict       = "LedgerConflict"     // TenantEnvironment: another ledger of the server has the same roles, or another environment this ledger
	ReasonLedgerOutdated       = "LedgerOutdated"     // TenantEnvironment: run manager install-sql
	ReasonSecretNotFound       = "SecretNotFound"     // the connection Secret is missing; TenantEnvironment: the login or token Secret, or its key
	ReasonSecretNotDelivered   = "SecretNotDelivered" // the tenant was adopted, so that no password is known for its connection Secret
	ReasonSecretNotOwned       = "SecretNotOwned"     // the connection Secret is not one that the operator has made for this object
	ReasonFlyAppNotFound       = "FlyAppNotFound"
	ReasonRateLimited          = "RateLimited"
	ReasonOutcomeUnknown       = "OutcomeUnknown" // Fly's answer was lost: do not deploy the app until it is settled
	ReasonSecretHidden         = "SecretHidden"   // a Machine's own config keeps the secret from its processes
	ReasonMachineUnhealthy     = "MachineUnhealthy"
	ReasonLeaseHeld            = "LeaseHeld"
	ReasonHostUnreachable      = "HostUnreachable"
	ReasonBusy                 = "Busy"       // another session holds a lock in PostgreSQL
	ReasonSuperseded           = "Superseded" // another process went on with the rotation
	ReasonRejected             = "Rejected"   // the other side refused the request as such
	ReasonUnexpected           = "Unexpected" // an error that this operator does not know
)

// ReasonEnvironmentTerminating says that the environment is being deleted. It stays until the rotations that were begun are finished, and no other one
// starts. On the TenantEnvironment itself it is a reason of Ready=True: a rotation that is being finished uses the environment.
const ReasonEnvironmentTerminating = "EnvironmentTerminating"

// Events.
const (
	EventAdopted           = "Adopted"
	EventRotationCommitted = "RotationCommitted"
	EventRotationRolledOut = "RotationRolledOut"
	EventRotationCompleted = "RotationCompleted"
	EventRotationFailed    = "RotationFailed"
	EventDriftDetected     = "DriftDetected"
	EventEnvironmentReady  = "EnvironmentReady" // TenantEnvironment: it can be used again, or for the first time
	// EventEnvironmentNotReady has the message of Ready.
	EventEnvironmentNotReady = "EnvironmentNotReady"
	// EventExternalAccessEnabled and EventExternalAccessDisabled: the tenant is let in from outside, and it is not any more.
	EventExternalAccessEnabled  = "ExternalAccessEnabled"
	EventExternalAccessDisabled = "ExternalAccessDisabled"
	EventSettingsLeftOut        = "SettingsLeftOut" // the second login could not be given some settings of the role
)

const (
	// Finalizer is on a TenantCredential from before a rotation opens until it is completed, so that a deletion never leaves
	// a rotation half done. It delays a deletion and gives no rights. On a TenantEnvironment it is from before the first rotation of it
	// opens until none is unfinished: objects at rest can be deleted in any order.
	Finalizer = "credentials.systemprompt.io/finish-rotation"
	// TakeOverFromAnnotation on a TenantEnvironment holds the UID of a cluster (its kube-system namespace's UID): the environment's
	// TenantCredentials take over the claims of that cluster while the annotation is there. On a TenantCredential it does nothing, because
	// an editor of the namespace writes those.
	TakeOverFromAnnotation = "credentials.systemprompt.io/take-over-from"
	// ResumeRotationsAnnotation on a TenantEnvironment acknowledges a pause. Its value is the one that the condition RotationsPaused
	// names, so that it acknowledges this pause and no later one.
	ResumeRotationsAnnotation = "credentials.systemprompt.io/resume-rotations"
	// RevisionAnnotation on a connection Secret holds the revision that it has. It changes with every rotation, so that a controller that watches
	// the Secret knows when to restart the workloads that mount it.
	RevisionAnnotation = "credentials.systemprompt.io/revision"
	// ContentDigestAnnotation on a connection Secret tells content that the operator has made from another client's. It
	// is of the content and of the verifier that the password was made with, whose digest the ledger has.
	ContentDigestAnnotation = "credentials.systemprompt.io/content-digest"
	// TenantLabelPrefix and a tenant's ID make the label key that binds a namespace to a tenant.
	TenantLabelPrefix = "tenant.credentials.systemprompt.io/"
	// TenantLabelAllowed is the label's value.
	TenantLabelAllowed = "allowed"
)
