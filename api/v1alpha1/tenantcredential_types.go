package v1alpha1

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TenantCredentialSpec says which tenant's credentials are managed, how many rotations are asked for, and where the new credentials go.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.delivery) && has(self.delivery.fly) && has(self.delivery.fly.rolloutPolicy) && self.delivery.fly.rolloutPolicy == 'Staged' && has(self.rotation) && has(self.rotation.strategy) && self.rotation.strategy == 'InPlace')",message="rolloutPolicy Staged with strategy InPlace would lock the app out until its next deploy: write rotation: {strategy: Overlap}, or leave rolloutPolicy out"
type TenantCredentialSpec struct {
	// tenantID is the tenant's ID in the management table: a UUID in lower case, such as
	// 7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01. The names of the tenant's PostgreSQL role, database and Fly app are derived from
	// it (or looked up in the management table) and cannot be written here. tenantID cannot be changed.
	// +required
	// +kubebuilder:validation:MaxLength=36
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')",message="write the tenant's ID as a UUID in lower case, for example 7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="tenantID cannot be changed: create another TenantCredential for the other tenant"
	TenantID string `json:"tenantID"`

	// environmentRef names the TenantEnvironment in which the tenant lives. environmentRef cannot be changed.
	// +required
	// +structType=atomic
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="environmentRef cannot be changed: create another TenantCredential for the other environment"
	EnvironmentRef EnvironmentReference `json:"environmentRef"`

	// rotationGeneration is how many times you have asked for new credentials. To rotate, raise it by one:
	//
	//	kubectl patch tcred acme --type merge -p '{"spec":{"rotationGeneration":1}}'
	//
	// The operator then sets a new password in PostgreSQL, stores its hash in the management table, writes the new
	// DATABASE_URL to Fly and moves every running Machine onto it; status.rotationGeneration shows the number when all of
	// that is done. Raising it by more than one still rotates once. Left out, it is 0: the present password is adopted as it
	// is and nothing changes. Lowering or removing it does nothing, so that a Git revert never rotates; to rotate after a
	// revert, write a number above status.rotationGeneration.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 1000000",message="write a whole number from 0 to 1000000; 0, or leaving it out, adopts the present password"
	RotationGeneration *int64 `json:"rotationGeneration,omitempty"`

	// rotationRequest asks for one rotation now, beside what rotationGeneration asks for. It is for people and tools, not for Git:
	//
	//	kubectl patch tcred acme --type merge -p '{"spec":{"rotationRequest":{"replacesRevision":4,"reason":"laptop lost"}}}'
	//
	// Once it is done it does nothing more, so it may stay; the next request replaces it.
	// +optional
	// +structType=atomic
	RotationRequest *RotationRequest `json:"rotationRequest,omitempty"`

	// rotation says how to rotate. A field that it leaves out is the environment's.
	// +optional
	Rotation RotationPolicy `json:"rotation,omitzero"`

	// delivery says where the new DATABASE_URL goes. Left out, it goes to the tenant's Fly app as the secret DATABASE_URL. A changed
	// delivery rotates the password, since the operator does not keep the present one.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.fly) || has(self.connectionSecret)",message="a rotated password needs a consumer: write delivery: {fly: {}} (or leave delivery out) to deliver to the tenant's Fly app, or delivery: {connectionSecret: {name: <name>}} to deliver to a Secret"
	Delivery Delivery `json:"delivery,omitzero"`

	// databaseURL overrides the form of DATABASE_URL that the environment sets: its scheme, and parameters besides the environment's or with
	// other values. A changed databaseURL rotates the password, since the operator does not keep the present one.
	// +optional
	DatabaseURL URLForm `json:"databaseURL,omitzero"`

	// externalAccess accepts the tenant's logins from outside the platform's network, where the environment has an external address. Its presence
	// turns it on: the tenant's role becomes a member of the group tenant_credentials_external, which the server's pg_hba.conf requires of connections
	// from outside. Leaving it out ends the membership, and the sessions that came from outside: docs/external-access.md.
	// +optional
	// +structType=atomic
	ExternalAccess *ExternalAccess `json:"externalAccess,omitempty"`

	// suspend keeps rotations from starting while its value is true. A rotation that has started is always finished, because a half-finished one would
	// lock the tenant out.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// RotationRequest asks for one rotation.
type RotationRequest struct {
	// replacesRevision is the revision to be replaced: status.revision. The request is due while no newer revision is
	// committed, so that it is done once, however often it is sent and by however many.
	// +required
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 9007199254740991",message="write the revision that is to be replaced, as status.revision shows it"
	ReplacesRevision int64 `json:"replacesRevision"`

	// reason for people, such as "laptop lost": one line of plain text. It goes into the ledger and into status.lastRotation.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'[\x{0000}-\x{001F}\x{007F}-\x{009F}\x{061C}\x{200E}\x{200F}\x{2028}-\x{202E}\x{2066}-\x{2069}]')`,message="write one line of plain text: no line break, tab or other control character, and no character that changes the direction of the text"
	Reason string `json:"reason,omitempty"`

	// requestedBy is the requester: your own username, unless you hold the verb attribute on the object.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'[\x{0000}-\x{001F}\x{007F}-\x{009F}\x{061C}\x{200E}\x{200F}\x{2028}-\x{202E}\x{2066}-\x{2069}]')`,message="write one line of plain text: no line break, tab or other control character, and no character that changes the direction of the text"
	RequestedBy string `json:"requestedBy,omitempty"`

	// id names the request, for a client that may have to repeat it without knowing what became of it: status shows it at the rotation that the
	// request began. It is up to the client.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._~-]+$')",message="write an id of letters, digits, dots, underscores, tildes and dashes"
	ID string `json:"id,omitempty"`

	// joinedIDs name further requests for the same rotation, which came while this one was being fulfilled. The rotation that replaces
	// replacesRevision fulfils all of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(id, id.matches('^[A-Za-z0-9._~-]+$'))",message="write ids of letters, digits, dots, underscores, tildes and dashes"
	JoinedIDs []string `json:"joinedIDs,omitempty"`

	// compromised says that a third party may know the password. Then the rotation does not wait for the completion of another one. It closes
	// the tenant's logins and ends their sessions before it sets the new password, so that the app is without its database from then until
	// its Machines have moved. A rotation that was made without this does not fulfil the request, and the operator automatically replaces a password
	// that another client sets afterwards.
	// +optional
	Compromised bool `json:"compromised,omitempty"`
}

// ExternalAccess accepts a tenant's logins from outside the platform's network.
type ExternalAccess struct{}

// RotationPolicy says how to rotate.
type RotationPolicy struct {
	// strategy is InPlace or Overlap. InPlace changes the password of the tenant's one login: from the commit until its Machine has moved,
	// an app can open no new connection. Overlap has two logins, the role and a second one beside it (its name with _b), and gives the new
	// password to the one that is not in use, so that no login fails; the other is closed when all Machines have moved. The second login is
	// prepared once, by a DBA: SELECT tenant_credentials.prepare_overlap('<role>'). A changed strategy takes effect with the next rotation.
	// +optional
	Strategy RotationStrategy `json:"strategy,omitempty"`

	// sessionPolicy says what becomes of database sessions that were opened with the previous password: Keep leaves them, and Terminate
	// ends them once all Machines have moved. The rotation is then completed when no login with the previous password can be in progress
	// any more: authentication_timeout of the server (60 s) after its commit at the earliest.
	// +optional
	SessionPolicy SessionPolicy `json:"sessionPolicy,omitempty"`
}

// RotationStrategy is how a new password takes the place of the previous one.
//
// +kubebuilder:validation:Enum=InPlace;Overlap
type RotationStrategy string

// The values of RotationStrategy.
const (
	RotationStrategyInPlace RotationStrategy = "InPlace"
	RotationStrategyOverlap RotationStrategy = "Overlap"
)

// SessionPolicy is what becomes of sessions that were opened with the previous password.
//
// +kubebuilder:validation:Enum=Keep;Terminate
type SessionPolicy string

// The values of SessionPolicy.
const (
	SessionPolicyKeep      SessionPolicy = "Keep"
	SessionPolicyTerminate SessionPolicy = "Terminate"
)

// EnvironmentReference names a TenantEnvironment.
type EnvironmentReference struct {
	// name of the TenantEnvironment (kubectl get tenv).
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="write the name of a TenantEnvironment, for example sandbox: small letters, digits, dashes and dots"
	Name string `json:"name"`
}

// Delivery holds the places that receive the new DATABASE_URL.
type Delivery struct {
	// fly delivers to the tenant's Fly.io app. Its presence turns it on.
	// +optional
	Fly *FlyDelivery `json:"fly,omitempty"`

	// connectionSecret delivers to a Secret in the object's own namespace, of type servicebinding.io/postgresql, with the keys url, host,
	// port, username, password, database and sslmode. Its presence turns it on; without fly, nothing is asked of Fly at all. The owner of the
	// namespace gives the operator the right to it: docs/connection-secret.md.
	// +optional
	// +structType=atomic
	ConnectionSecret *ConnectionSecretDelivery `json:"connectionSecret,omitempty"`
}

// ConnectionSecretDelivery writes a Secret that applications in the cluster mount.
type ConnectionSecretDelivery struct {
	// name of the Secret. The operator makes it with the next rotation, and writes over no Secret that it has not made. While a rotation
	// is being committed there is a second one, <name>-r<revision>.
	// +required
	// +kubebuilder:validation:MaxLength=230
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="write the name of a Secret, for example acme-database: small letters, digits, dashes and dots"
	Name string `json:"name"`
}

// FlyDelivery sets an app secret at Fly.io and moves the app's Machines onto it.
type FlyDelivery struct {
	// variable is the name of the app secret, which the app reads as an environment variable. Left out, it is DATABASE_URL. Changing it
	// rotates the password, since Fly alone has the present one.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",message="write the name of an environment variable, for example DATABASE_URL: letters, digits and underscores, not beginning with a digit"
	Variable string `json:"variable,omitempty"`

	// acceptHidden accepts that a Machine's own config keeps the secret from its processes: by the variable in env, or by
	// ignore_app_secrets. Without acceptHidden no rotation begins there, except after a compromise.
	// +optional
	AcceptHidden bool `json:"acceptHidden,omitempty"`

	// rolloutPolicy says how the app's Machines are moved. Rolling: the operator moves them, one first and then a third at once. Staged: your next
	// deploy does (or fly secrets deploy), and the rotation is completed when every Machine has been replaced since the value was set; until
	// then the previous login goes on working, and it is closed overlapGracePeriod later. Staged needs the strategy Overlap. A rotation
	// because of a compromise, or because another client replaced the value at Fly, moves the Machines itself. Left out, it is Rolling.
	// +optional
	RolloutPolicy RolloutPolicy `json:"rolloutPolicy,omitempty"`
}

// RolloutPolicy says how an app's Machines are moved onto a new value.
//
// +kubebuilder:validation:Enum=Rolling;Staged
type RolloutPolicy string

// The values of RolloutPolicy.
const (
	RolloutPolicyRolling RolloutPolicy = "Rolling"
	RolloutPolicyStaged  RolloutPolicy = "Staged"
)

// TenantCredentialStatus is what the operator last saw and did. It is a projection: the durable facts are in the ledger in
// PostgreSQL and at Fly, and everything here can be found again from them.
type TenantCredentialStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of; -1 before the first look.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions show the progress: Ready sums up; PostgresSynced, HashSynced, FlySecretSynced and FlyMachinesUpdated say how far each part is, and
	// ConnectionSecretSynced, where there is a connectionSecret.
	// Reconciling and Stalled are present only while they are true, as kstatus expects.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// rotationGeneration is the highest spec.rotationGeneration that was ever done for the tenant, whichever object asked for it. A request at
	// or below it rotates nothing.
	// +optional
	RotationGeneration int64 `json:"rotationGeneration"`

	// revision numbers the credentials: it grows by one with every rotation, whatever its cause. 0 means that the password is
	// the one recorded at adoption.
	// +optional
	Revision int64 `json:"revision"`

	// lastRotation is the newest rotation whose password is in force.
	// +optional
	LastRotation *RotationStatus `json:"lastRotation,omitempty"`

	// history has the rotations before the last one whose passwords were in force, the newest first, nine at most.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=9
	History []RotationStatus `json:"history,omitempty"`

	// failure is present while the last attempt failed.
	// +optional
	Failure *FailureStatus `json:"failure,omitempty"`

	// postgres names the tenant's role and database in PostgreSQL.
	// +optional
	Postgres *PostgresStatus `json:"postgres,omitempty"`

	// fly names the tenant's app and secret at Fly.io. Absent where nothing is delivered there.
	// +optional
	Fly *FlyStatus `json:"fly,omitempty"`
}

// RotationStatus is one rotation, as the ledger has it.
type RotationStatus struct {
	// revision of the credentials that it made.
	// +required
	Revision int64 `json:"revision"`
	// cause is why the rotation was due: GenerationRaised, Requested, DeliveryChanged, DriftDetected, FlySuperseded, LoginUnproved or LedgerRegressed;
	// ByHand, where it was made without the operator.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Cause string `json:"cause"`
	// reason is that of the request, spec.rotationRequest.reason, where a request was due.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
	// requestedBy is spec.rotationRequest.requestedBy, where a request was due.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	RequestedBy string `json:"requestedBy,omitempty"`
	// requestID is spec.rotationRequest.id, where a request was due.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	RequestID string `json:"requestID,omitempty"`
	// commitTime is when the new password came into force, by the PostgreSQL server's clock.
	// +required
	CommitTime metav1.Time `json:"commitTime"`
	// completionTime is when every Machine ran with it. Absent until then, and where a newer rotation has superseded it.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
}

// FailureStatus says how long something has been failing and when it is tried again.
type FailureStatus struct {
	// attempts in a row that failed.
	// +required
	Attempts int32 `json:"attempts"`
	// lastTime is when the last of them failed.
	// +required
	LastTime metav1.Time `json:"lastTime"`
	// retryTime is when the next attempt is made, at the latest; a changed spec is tried at once.
	// +required
	RetryTime metav1.Time `json:"retryTime"`
}

// PostgresStatus names the tenant's role and database in PostgreSQL.
type PostgresStatus struct {
	// role is the tenant's. Its password is rotated or, under Overlap, by turns its own and that of the second login beside it.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Role string `json:"role"`
	// database is the one that DATABASE_URL names.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Database string `json:"database"`
	// internalURL is DATABASE_URL without the password, with the login that is in force.
	// +required
	// +kubebuilder:validation:MaxLength=65536
	InternalURL string `json:"internalURL"`
	// externalURL is the same for a client outside the platform's network. Absent where externalAccess is not enabled.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	ExternalURL string `json:"externalURL,omitempty"`
}

// FlyStatus names the tenant's app and secret at Fly.io.
type FlyStatus struct {
	// appName of the tenant's app (fly secrets list -a <appName>).
	// +required
	// +kubebuilder:validation:MaxLength=63
	AppName string `json:"appName"`
	// secretVersion is Fly's version of the app's secrets that holds the value. A decimal string, because it is above what a
	// JSON number carries exactly.
	// +optional
	// +kubebuilder:validation:MaxLength=20
	SecretVersion string `json:"secretVersion,omitempty"`
	// secretDigest is Fly's own digest of the value.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	SecretDigest string `json:"secretDigest,omitempty"`
	// machines counts the app's Machines by how far they are.
	// +optional
	Machines *MachinesStatus `json:"machines,omitempty"`
}

// MachinesStatus counts an app's Machines.
type MachinesStatus struct {
	// total that have to have the new value.
	// +required
	Total int32 `json:"total"`
	// updated run with the new value and pass their checks.
	// +required
	Updated int32 `json:"updated"`
	// onNextStart have been updated while they were stopped and take the new value when they start.
	// +required
	OnNextStart int32 `json:"onNextStart"`
	// failed did not come up with the new value.
	// +required
	Failed int32 `json:"failed"`
}

// TenantCredential is the credentials of one tenant: its PostgreSQL password, the hash of it in the management table, and the
// DATABASE_URL of its Fly.io app. Raise spec.rotationGeneration to have all three changed together.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=tcred,categories=credentials
// +kubebuilder:selectablefield:JSONPath=`.spec.tenantID`
// +kubebuilder:selectablefield:JSONPath=`.spec.environmentRef.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="True when everything that is asked for is done"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="why"
// +kubebuilder:printcolumn:name="Asked",type=integer,JSONPath=`.spec.rotationGeneration`,description="the rotation generation that is asked for"
// +kubebuilder:printcolumn:name="Done",type=integer,JSONPath=`.status.rotationGeneration`,description="the rotation generation that is done"
// +kubebuilder:printcolumn:name="Rotated",type=date,JSONPath=`.status.lastRotation.commitTime`,description="since when the password is in force"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Tenant",type=string,priority=1,JSONPath=`.spec.tenantID`
// +kubebuilder:printcolumn:name="Env",type=string,priority=1,JSONPath=`.spec.environmentRef.name`
// +kubebuilder:printcolumn:name="Rev",type=integer,priority=1,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="App",type=string,priority=1,JSONPath=`.status.fly.appName`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type TenantCredential struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the desired state.
	// +required
	Spec TenantCredentialSpec `json:"spec"`

	// status is the observed state.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1,"rotationGeneration":0,"revision":0,"conditions":{{"type":"Ready","status":"Unknown","reason":"Pending","message":"Waiting for controller","lastTransitionTime":"1970-01-01T00:00:00Z"}}}
	Status TenantCredentialStatus `json:"status,omitzero"`
}

// AskedGeneration is spec.rotationGeneration, 0 where it is absent.
func (c *TenantCredential) AskedGeneration() int64 {
	if c.Spec.RotationGeneration == nil {
		return 0
	}
	return *c.Spec.RotationGeneration
}

// FlyDelivery is spec.delivery.fly with its defaults. A spec without any delivery delivers to the tenant's Fly app; nil = nothing is delivered to
// Fly. A field that is left out is resolved here and not by the API server, so that a manifest means the same after any earlier one.
func (c *TenantCredential) FlyDelivery() *FlyDelivery {
	asked := c.Spec.Delivery.Fly
	if asked == nil && c.Spec.Delivery.ConnectionSecret != nil {
		return nil
	}
	resolved := FlyDelivery{Variable: "DATABASE_URL", RolloutPolicy: RolloutPolicyRolling}
	if asked == nil {
		return &resolved
	}
	resolved.AcceptHidden = asked.AcceptHidden
	resolved.Variable = cmp.Or(asked.Variable, resolved.Variable)
	resolved.RolloutPolicy = cmp.Or(asked.RolloutPolicy, resolved.RolloutPolicy)
	return &resolved
}

// TenantCredentialList is a list of TenantCredentials.
//
// +kubebuilder:object:root=true
type TenantCredentialList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TenantCredential `json:"items"`
}
