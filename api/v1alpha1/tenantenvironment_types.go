package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TenantEnvironmentSpec describes one environment, such as sandbox or prod: a PostgreSQL server with the management table, and
// the Fly.io organization that the tenants' apps live in.
type TenantEnvironmentSpec struct {
	// postgres is the server that holds the tenants' roles and databases and the management table.
	// +required
	Postgres PostgresEnvironment `json:"postgres"`

	// management is the platform's table of tenants, on the same server.
	// +optional
	// +kubebuilder:default={}
	Management ManagementTable `json:"management,omitzero"`

	// fly is where the tenants' apps live.
	// +required
	Fly FlyEnvironment `json:"fly"`

	// naming derives a tenant's names from the first eight hexadecimal digits of its ID. naming cannot be changed: the ledger in
	// PostgreSQL was installed for it.
	// +optional
	// +kubebuilder:default={}
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="naming cannot be changed: create another TenantEnvironment for other names"
	Naming Naming `json:"naming,omitzero"`

	// allowedNamespaces says which namespaces may hold TenantCredentials of this environment.
	// +required
	AllowedNamespaces AllowedNamespaces `json:"allowedNamespaces"`

	// tenantBinding says how a namespace proves that a tenant is its own. NamespaceLabel: the namespace carries the label
	// tenant.credentials.systemprompt.io/<tenant ID>: allowed. None: every allowed namespace may name every tenant; only for
	// namespaces that the platform team alone writes.
	// +optional
	// +kubebuilder:default=NamespaceLabel
	TenantBinding TenantBinding `json:"tenantBinding,omitempty"`

	// rotation says how its tenants' credentials are rotated, where a TenantCredential does not say otherwise.
	// +optional
	// +kubebuilder:default={}
	Rotation RotationDefaults `json:"rotation,omitzero"`

	// maxConcurrent is how many rotations of this environment may be in progress at once. A tenant with a rotationRequest is the next to begin.
	// +optional
	// +kubebuilder:default=8
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxConcurrent int32 `json:"maxConcurrent,omitempty"`
}

// RotationDefaults say how to rotate.
type RotationDefaults struct {
	// strategy is InPlace (one login per tenant) or Overlap (two, so that no login fails). A line here rotates no tenant: it takes effect with
	// each tenant's next rotation.
	// +optional
	// +kubebuilder:default=InPlace
	Strategy RotationStrategy `json:"strategy,omitempty"`

	// overlapGracePeriod is how long the previous login of an Overlap rotation may be used after all Machines have moved, if sessions of it
	// are left that long, at most 168h; such sessions are ended then. With 0s it is closed at once.
	// +optional
	// +kubebuilder:default="15m"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') || duration(self) <= duration('168h')",message="write 168h or less"
	OverlapGracePeriod Duration `json:"overlapGracePeriod,omitempty"`

	// sessionPolicy says what becomes of database sessions that were opened with the previous password: Keep leaves them, Terminate ends
	// them once all Machines have moved.
	// +optional
	// +kubebuilder:default=Keep
	SessionPolicy SessionPolicy `json:"sessionPolicy,omitempty"`
}

// Duration is a length of time in hours, minutes and seconds, such as 15m or 1h30m. It is a string, because a single object with one that cannot
// be read would keep every other from being listed.
//
// +kubebuilder:validation:MaxLength=18
// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}(h|m|s)){1,3}$')",message="write a length of time in hours, minutes and seconds, for example 15m or 1h30m"
type Duration string

// Value is the duration; 0 for what is none, which the CRD keeps from being written.
func (d Duration) Value() time.Duration {
	value, err := time.ParseDuration(string(d))
	if err != nil {
		return 0
	}
	return value
}

// PostgresEnvironment is a PostgreSQL server.
type PostgresEnvironment struct {
	// loginSecretRef names the Secret with the operator's own login, in the operator's own namespace. The value is a URL
	// such as postgres://tcred_operator:<password>@db.example.com:5432/platform; without sslmode it means
	// sslmode=verify-full. A changed Secret takes effect at once. The login may EXECUTE the functions that
	// `manager install-sql` installed, and needs nothing more.
	// +required
	// +structType=atomic
	LoginSecretRef LoginSecretReference `json:"loginSecretRef"`

	// caSecretRef names the Secret with the certificates (PEM) of the authorities that the server's certificate may be from, in the operator's own
	// namespace. A changed Secret takes effect at once. Left out, the authorities that the operating system of the operator's image trusts are
	// accepted. It is for the operator's own connections: how the apps check the certificate stands in the parameters of internal.
	// +optional
	CASecretRef *CASecretReference `json:"caSecretRef,omitempty"`

	// internal is the address that goes into DATABASE_URL: the server as the tenants' apps reach it.
	// +required
	// +structType=atomic
	Internal PostgresAddress `json:"internal"`

	// external is the address at which clients outside the platform's network reach the server, where tenants may be given access from there
	// (spec.externalAccess of a TenantCredential). Its sslmode is verify-full, where its parameters do not say otherwise.
	// +optional
	// +structType=atomic
	External *PostgresAddress `json:"external,omitempty"`

	// maxConnections is how many connections the operator may hold to this server.
	// +optional
	// +kubebuilder:default=16
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=200
	MaxConnections int32 `json:"maxConnections,omitempty"`
}

// CASecretReference names a key of a Secret in the operator's own namespace, with the certificates (PEM) of authorities.
//
// +structType=atomic
type CASecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="write the name of a Secret, for example platform-ca: small letters, digits, dashes and dots"
	Name string `json:"name"`
	// key in the Secret.
	// +optional
	// +kubebuilder:default=ca.crt
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._A-Za-z0-9]+$')",message="write a key of the Secret, for example ca.crt: letters, digits, dashes, underscores and dots"
	Key string `json:"key,omitempty"`
}

// LoginSecretReference names a key of a Secret in the operator's own namespace.
type LoginSecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="write the name of a Secret, for example postgres-sandbox: small letters, digits, dashes and dots"
	Name string `json:"name"`
	// key in the Secret.
	// +optional
	// +kubebuilder:default=url
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._A-Za-z0-9]+$')",message="write a key of the Secret, for example url: letters, digits, dashes, underscores and dots"
	Key string `json:"key,omitempty"`
}

// TokenSecretReference names a key of a Secret in the operator's own namespace.
type TokenSecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="write the name of a Secret, for example postgres-sandbox: small letters, digits, dashes and dots"
	Name string `json:"name"`
	// key in the Secret.
	// +optional
	// +kubebuilder:default=token
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._A-Za-z0-9]+$')",message="write a key of the Secret, for example token: letters, digits, dashes, underscores and dots"
	Key string `json:"key,omitempty"`
}

// PostgresAddress is where a server listens.
type PostgresAddress struct {
	// host name or address, for example sp-postgres-sandbox.internal.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$') || isIP(self)",message="write a host name such as sp-postgres-sandbox.internal, or an IP address, without port or scheme"
	Host string `json:"host"`
	// port that it listens on.
	// +optional
	// +kubebuilder:default=5432
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
	// The form of every DATABASE_URL of the environment. A changed form rotates every tenant that has been rotated before, since the
	// operator does not keep the present passwords.
	URLForm `json:",inline"`
}

// URLForm is how a DATABASE_URL is written, besides login, host, port and database.
type URLForm struct {
	// scheme of the URL: postgresql, where it is left out, or postgres.
	// +optional
	Scheme URLScheme `json:"scheme,omitempty"`
	// parameters that follow the question mark in the URL, in the order of their names, for example sslmode: disable for apps whose driver
	// asks for TLS that the server does not offer. The apps' drivers decide their meaning, and they are no secrets.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_.-]{0,62}$'))",message="write names of parameters such as sslmode: letters, digits, underscores, dots and dashes, 63 at most"
	// +kubebuilder:validation:XValidation:rule="self.all(name, !(name.lowerAscii() in ['user','password','host','hostaddr','port','dbname','database','service','passfile','sslpassword']))",message="the login, the password and the address are the operator's to write: leave out user, password, host, hostaddr, port, dbname, database, service, passfile and sslpassword"
	// +kubebuilder:validation:XValidation:rule="!('sslmode' in self) || self['sslmode'] in ['disable','allow','prefer','require','verify-ca','verify-full','no-verify']",message="write sslmode as disable, allow, prefer, require, verify-ca or verify-full (or no-verify, for Node.js)"
	Parameters map[string]URLParameter `json:"parameters,omitempty"`
}

// URLScheme is the scheme of a DATABASE_URL.
//
// +kubebuilder:validation:Enum=postgresql;postgres
type URLScheme string

// URLSchemePostgreSQL is the scheme where none is written: SQLAlchemy accepts no other.
const URLSchemePostgreSQL URLScheme = "postgresql"

// URLParameter is the value of a parameter of a DATABASE_URL, as it is before it is encoded for the URL.
//
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:XValidation:rule=`!self.matches(r'[\x{0000}-\x{001F}\x{007F}-\x{009F}\x{061C}\x{200E}\x{200F}\x{2028}-\x{202E}\x{2066}-\x{2069}]')`,message="write one line of plain text: no line break, tab or other control character, and no character that changes the direction of the text"
type URLParameter string

// ManagementTable is the platform's table of tenants. The operator reads it and writes one column of it, password_hash, through
// functions that were installed for exactly this table: after a change, run `manager install-sql` again.
type ManagementTable struct {
	// schema of the table.
	// +optional
	// +kubebuilder:default=management
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Schema string `json:"schema,omitempty"`
	// table is its name.
	// +optional
	// +kubebuilder:default=tenants
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Table string `json:"table,omitempty"`
	// columns of the table.
	// +optional
	// +kubebuilder:default={}
	Columns ManagementColumns `json:"columns,omitzero"`
}

// ManagementColumns names the columns of the management table.
type ManagementColumns struct {
	// id is the column with the tenant's ID, a uuid.
	// +optional
	// +kubebuilder:default=id
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	ID string `json:"id,omitempty"`
	// passwordHash is the column that takes the hash of the password: the SCRAM-SHA-256 verifier that PostgreSQL itself
	// stores, with which a password can be checked and a role restored.
	// +optional
	// +kubebuilder:default=password_hash
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	PasswordHash string `json:"passwordHash,omitempty"`
	// role is a column that overrides the name of the tenant's role where it is not NULL. Absent: there is none.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Role string `json:"role,omitempty"`
	// database is a column that overrides the name of the tenant's database where it is not NULL. Absent: there is none.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Database string `json:"database,omitempty"`
	// flyApp is a column that overrides the name of the tenant's Fly app where it is not NULL. Absent: there is none.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	FlyApp string `json:"flyApp,omitempty"`
	// owner is a column with the subject of the tenant's owner, as the owner's token names it. It is for the HTTP endpoint alone, which lets an owner
	// rotate. Absent: no one owns a tenant there.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Owner string `json:"owner,omitempty"`
}

// FlyEnvironment is how the operator reaches Fly.io.
//
// +kubebuilder:validation:XValidation:rule="(has(self.insecure) && self.insecure) || !has(self.apiURL) || !self.apiURL.matches('(?i)^http:') || self.apiURL.matches('(?i)^http://(localhost|_api[.]internal|127([.][0-9]{1,3}){3}|[[]::1[]])(:[0-9]{1,5})?/?$')",message="with http the Fly token and every DATABASE_URL would cross the network in clear: write apiURL as https://, or insecure: true to accept that"
type FlyEnvironment struct {
	// tokenSecretRef names the Secret with the Fly API token, in the operator's own namespace. A changed Secret takes effect
	// at once.
	// +required
	// +structType=atomic
	TokenSecretRef TokenSecretReference `json:"tokenSecretRef"`
	// apiURL of the Machines API.
	// +optional
	// +kubebuilder:default="https://api.machines.dev"
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http','https'] && url(self).getEscapedPath() in ['','/'] && !self.matches('[@?#]|://(:|$)')",message="write a URL of a scheme and a host alone, for example https://api.machines.dev"
	APIURL string `json:"apiURL,omitempty"`
	// caSecretRef names the Secret with the certificates (PEM) of the authorities that the certificate of apiURL may be from, in the operator's own
	// namespace. A changed Secret takes effect at once. Left out, the authorities that the operating system of the operator's image trusts are
	// accepted.
	// +optional
	CASecretRef *CASecretReference `json:"caSecretRef,omitempty"`
	// insecure accepts an http apiURL of any host. The Fly token and every DATABASE_URL then cross the network in clear. Without it, http
	// is accepted for localhost, loopback addresses and _api.internal alone.
	// +optional
	Insecure bool `json:"insecure,omitempty"`
	// organization that the tenants' apps must belong to; an app of another one is refused. Absent: any.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Organization string `json:"organization,omitempty"`
}

// Naming holds the prefixes of a tenant's names: tenant 7dd06cd6-… is role tenant_7dd06cd6, database site_7dd06cd6, app
// sp-7dd06cd6.
type Naming struct {
	// rolePrefix of the PostgreSQL role.
	// +optional
	// +kubebuilder:default=tenant_
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z_][a-z0-9_]*$') && !self.startsWith('pg_')",message="write a prefix of lower-case letters, digits and underscores that does not begin with pg_, for example tenant_"
	RolePrefix string `json:"rolePrefix,omitempty"`
	// databasePrefix of the PostgreSQL database.
	// +optional
	// +kubebuilder:default=site_
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z_][a-z0-9_]*$')",message="write a prefix of lower-case letters, digits and underscores, for example site_"
	DatabasePrefix string `json:"databasePrefix,omitempty"`
	// flyAppPrefix of the Fly app.
	// +optional
	// +kubebuilder:default=sp-
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9][-a-z0-9]*$')",message="write a prefix of lower-case letters, digits and dashes, for example sp-"
	FlyAppPrefix string `json:"flyAppPrefix,omitempty"`
}

// AllowedNamespaces selects namespaces.
//
// +kubebuilder:validation:XValidation:rule="(self.from == 'Selector') == has(self.selector)",message="write a selector with from: Selector, and none with from: All"
type AllowedNamespaces struct {
	// from is All, or Selector for those that selector matches.
	// +required
	From NamespacesFrom `json:"from"`
	// selector on the namespaces' labels.
	// +optional
	// +structType=atomic
	Selector *NamespaceSelector `json:"selector,omitempty"`
}

// NamespaceSelector is a metav1.LabelSelector whose mistakes the API server finds: one that cannot be read would keep the environment from use.
// All that it holds must match.
type NamespaceSelector struct {
	// matchLabels are labels that a namespace must have, with these values.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(key, !format.qualifiedName().validate(key).hasValue())",message="write keys of labels such as example.com/environment: a DNS name and a slash, or neither, and at most 63 letters, digits, dashes, underscores and dots"
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`
	// matchExpressions are further conditions on a namespace's labels.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	MatchExpressions []NamespaceSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelSelector is the selector in the form that Kubernetes' own functions take; nil for nil, which selects nothing.
func (s *NamespaceSelector) LabelSelector() *metav1.LabelSelector {
	if s == nil {
		return nil
	}
	selector := &metav1.LabelSelector{MatchLabels: make(map[string]string, len(s.MatchLabels))}
	for key, value := range s.MatchLabels {
		selector.MatchLabels[key] = string(value)
	}
	for _, r := range s.MatchExpressions {
		requirement := metav1.LabelSelectorRequirement{Key: r.Key, Operator: r.Operator}
		for _, value := range r.Values {
			requirement.Values = append(requirement.Values, string(value))
		}
		selector.MatchExpressions = append(selector.MatchExpressions, requirement)
	}
	return selector
}

// NamespaceSelectorRequirement is a condition on one label.
//
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",message="write values with the operators In and NotIn, and none with Exists and DoesNotExist"
type NamespaceSelectorRequirement struct {
	// key of the label.
	// +required
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule="!format.qualifiedName().validate(self).hasValue()",message="write the key of a label such as example.com/environment: a DNS name and a slash, or neither, and at most 63 letters, digits, dashes, underscores and dots"
	Key string `json:"key"`
	// operator is In, NotIn, Exists or DoesNotExist.
	// +required
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`
	// values of the label, with In and NotIn.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Values []LabelValue `json:"values,omitempty"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="!format.labelValue().validate(self).hasValue()",message="write the value of a label: at most 63 letters, digits, dashes, underscores and dots, with a letter or digit first and last"
type LabelValue string

// NamespacesFrom is where namespaces may come from.
//
// +kubebuilder:validation:Enum=All;Selector
type NamespacesFrom string

// The values of NamespacesFrom.
const (
	NamespacesFromAll      NamespacesFrom = "All"
	NamespacesFromSelector NamespacesFrom = "Selector"
)

// TenantBinding is how a namespace proves that a tenant is its own.
//
// +kubebuilder:validation:Enum=NamespaceLabel;None
type TenantBinding string

// The values of TenantBinding.
const (
	TenantBindingNamespaceLabel TenantBinding = "NamespaceLabel"
	TenantBindingNone           TenantBinding = "None"
)

// TenantEnvironmentStatus is what the operator last saw of the environment.
type TenantEnvironmentStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of; -1 before the first look.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions say whether the environment can be used: Ready is True when the server can be used, its ledger is of the right version, and Fly accepts the token.
	// FlyReachable says the last of these alone; a tenant without delivery to Fly is rotated without it. RotationsPaused
	// is True while the operator waits for you to accept a server that has lost rotations, or that is another one than before.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
	// serverVersion of PostgreSQL.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ServerVersion string `json:"serverVersion,omitempty"`
	// ledgerVersion is the newest migration of the ledger that is installed.
	// +optional
	LedgerVersion int64 `json:"ledgerVersion,omitempty"`
	// systemIdentifier is the one of the server's data (pg_control_system), as first seen or acknowledged. A server with another one
	// is not the one that the tenants were rotated on: rotations are paused until that is acknowledged.
	// +optional
	// +kubebuilder:validation:MaxLength=20
	SystemIdentifier string `json:"systemIdentifier,omitempty"`
	// database that the ledger is in. No two environments use the same database, by any address.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Database string `json:"database,omitempty"`
}

// TenantEnvironment is where tenants live: one PostgreSQL server with the management table, and one Fly.io organization.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=tenv,categories=credentials
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.status.serverVersion`,description="version of PostgreSQL"
// +kubebuilder:printcolumn:name="Ledger",type=integer,JSONPath=`.status.ledgerVersion`,description="version of the installed ledger"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type TenantEnvironment struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the desired state.
	// +required
	Spec TenantEnvironmentSpec `json:"spec"`

	// status is the observed state.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1,"conditions":{{"type":"Ready","status":"Unknown","reason":"Pending","message":"Waiting for controller","lastTransitionTime":"1970-01-01T00:00:00Z"}}}
	Status TenantEnvironmentStatus `json:"status,omitzero"`
}

// TenantEnvironmentList is a list of TenantEnvironments.
//
// +kubebuilder:object:root=true
type TenantEnvironmentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TenantEnvironment `json:"items"`
}
