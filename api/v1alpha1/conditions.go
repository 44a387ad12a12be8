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
	// ExternalAccessCondition: the tenant's logins are accepted from outside the platform's network. Present where spec.externalAccess is, and where
	// the tenant has had it.
	ExternalAccessCondition = "ExternalAccess"
	// FlyReachableCondition of a TenantEnvironment: Fly accepts the token, and it is of the organization that the spec names. Absent while the
	// environment's settings cannot be used.
	FlyReachableCondition = "FlyReachable"
	// RotationsPausedCondition of a TenantEnvironment: no rotation starts until a platform engineer acknowledges what happened to the server.
	RotationsPausedCondition = "RotationsPaused"
)

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
	// EventExternalAccessEnabled and EventExternalAccessDisabled: the tenant is accepted from outside, or no longer accepted.
	EventExternalAccessEnabled  = "ExternalAccessEnabled"
	EventExternalAccessDisabled = "ExternalAccessDisabled"
	EventSettingsLeftOut        = "SettingsLeftOut" // the second login could not be given some settings of the role
)

const (
	// Finalizer is on a TenantCredential from before a rotation opens until it is completed, so that a deletion never leaves
	// a rotation unfinished. It delays a deletion and gives no rights. On a TenantEnvironment it is from before the first rotation of it
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
