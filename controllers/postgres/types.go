package postgres

import "time"

// LedgerVersion is the version of the schema tenant_credentials that this program works with: its newest migration.
const LedgerVersion int64 = 9

// Settings name the platform's own table and how the names of a tenant are derived. They are fixed when the ledger is installed,
// so that a stolen operator login cannot point the functions at other tables or roles. An empty column means: no override.
type Settings struct {
	// Schema and Table are the management table, in the database that the ledger is in.
	Schema, Table string
	// ColumnID holds the tenant's UUID, ColumnPasswordHash the SCRAM-SHA-256 verifier of its role.
	ColumnID, ColumnPasswordHash string
	// ColumnRole, ColumnDatabase and ColumnFlyApp hold a tenant's own names; NULL or empty in a row means the derived name.
	ColumnRole, ColumnDatabase, ColumnFlyApp string
	// ColumnOwner holds the subject of the tenant's owner, for the endpoint.
	ColumnOwner string
	// The derived names are prefix and the first 8 hex digits of the tenant's ID.
	RolePrefix, DatabasePrefix, FlyAppPrefix string
}

// Survey is what the server says about itself.
type Survey struct {
	// ServerVersion is server_version, such as "15.14".
	ServerVersion string
	// SystemIdentifier names the cluster's data for life: after a restore elsewhere it is another (pg_control_system).
	SystemIdentifier string
	// InstalledOn is the system identifier at the last installation: another one says that the ledger came here with a dump.
	InstalledOn string
	// Database is the one that the ledger is in.
	Database string
	// Started is when the server was started. A server that was restarted, or that took another one's place, may have lost commits.
	Started time.Time
	// Clock is the server's time.
	Clock time.Time
	// LedgerVersion is the newest migration that has been installed.
	LedgerVersion int64
	// Settings are those that the ledger was installed with.
	Settings Settings
	// Registered says that the ledger was installed in this database, and is no copy of one.
	Registered bool
	// OtherLedger is another database of the server whose ledger has roles with the same prefix; "" = none.
	OtherLedger string
	// Exposures are settings of the server, such as "pg_stat_statements.track = all", that have it keep the verifiers of rotations.
	Exposures []string
	// Problem is the fault of the management table that stops every rotation, in one sentence with the statement that fixes it; "" = nothing that
	// the server's catalogs show.
	Problem string
	// ExternalProblem is why membership in the group of external access lets no tenant in, or keeps none out, in sentences that end with what fixes
	// it; "" = pg_hba.conf requires it.
	ExternalProblem string
}

// Tenant is what the server knows of one tenant.
type Tenant struct {
	// ID is the tenant's UUID in lower case.
	ID string
	// Found says whether the management table has a row for it.
	Found bool
	// Role, Database and FlyApp are the override's value or the derived name; set even when the row is missing.
	Role, Database, FlyApp string
	// RoleExists says whether there is such a role.
	RoleExists bool
	// RoleViolation says why the guard refuses the role, with the SQL that fixes it; "" = allowed, or no such role. LoginViolation says why the
	// tenant cannot log in with any password; "" = it can.
	RoleViolation, LoginViolation string
	// Login is the one whose password was delivered last: Role, or its second login. FormerLogin is the other one of the pair while it can log
	// in; "" = it cannot, or there is none.
	Login, FormerLogin string
	// SecondViolation says why the role has no second login that a rotation could use, with the SQL that fixes it; "" = it has one.
	SecondViolation string
	// VerifierDigest and HashDigest are the hex SHA-256 of Login's pg_authid.rolpassword and of the stored hash; "" = none, or not a tenant's.
	VerifierDigest, HashDigest string
	// Claim is nil while no object has adopted the tenant.
	Claim *Claim
	// Open is the rotation that was begun and has not been committed; nil = none.
	Open *Rotation
	// Last is the rotation with the highest revision that was committed; nil = never rotated.
	Last *Rotation
	// Earlier are the rotations before Last that were committed, the newest first, nine at most.
	Earlier []Rotation
	// CompromisedRevision is that of the last committed rotation whose SessionPolicy is SessionsCompromised; 0 = none.
	CompromisedRevision int64
	// External is the tenant's external access.
	External ExternalAccess
	// Clock is the server's time of the reading.
	Clock time.Time
	// ValidUntil is when the login in use expires (VALID UNTIL); zero = never.
	ValidUntil time.Time

	// ranCode: reading the management table may have run code of others in the connection.
	ranCode bool
}

// ExternalAccess is the state of a tenant's external access. It is zero where the tenant has never had any.
type ExternalAccess struct {
	// Member says that pg_hba.conf takes the tenant's role for a member of the group.
	Member bool
	// Unended says that a role which the tenant had before is a member still, or that a membership has ended without the ledger's knowing:
	// SetExternalAccess.
	Unended bool
	// Unswept says that external sessions, or logins in progress, may be left of a membership that has ended: SweepExternalAccess.
	Unswept bool
	// Noted says that the ledger knows of an access, at any time.
	Noted bool
}

// Claim says which object holds a tenant.
type Claim struct {
	// UID is the object's, Cluster that of its Kubernetes cluster.
	UID, Cluster string
	// Environment, Namespace and Name say where it is to be found.
	Environment, Namespace, Name string
	// Generation is the highest rotation generation that was ever completed for the tenant, whichever object asked for it.
	Generation int64
	// VerifierDigest and HashDigest are as they were found at adoption.
	VerifierDigest, HashDigest string
	// AdoptedAt is the server's time of the adoption.
	AdoptedAt time.Time
}

// Rotation is one row of the ledger.
type Rotation struct {
	// Revision counts the tenant's rotations from 1.
	Revision int64
	// State is one of the State constants.
	State string
	// Generation is the rotation generation that was asked for.
	Generation int64
	// Cause is why it was due. Reason, RequestedBy and RequestID are those of spec.rotationRequest, "" = none. StatedManager is the field manager
	// that the writer of the spec stated: a claim that nothing checks.
	Cause, Reason, RequestedBy, RequestID, StatedManager string
	// Login is the login whose password it is; "" = not decided yet.
	Login string
	// VerifierDigest, HashDigest and DeliveryDigest are hex SHA-256 of what the rotation wrote; "" = not yet.
	VerifierDigest, HashDigest, DeliveryDigest string
	// FlyApp and FlyDigest name the secret that was set at Fly; FlyVersion is its secrets version, 0 = none.
	FlyApp, FlyDigest string
	FlyVersion        uint64
	// FlyInstances are those of the app's Machines that had the previous value; nil = the operator moves the Machines itself.
	FlyInstances []string
	// OpenedAt is the server's time at which the rotation was begun.
	OpenedAt time.Time
	// CommittedAt, RolledAt and CompletedAt are zero until then.
	CommittedAt, RolledAt, CompletedAt time.Time
	// SessionPolicy is one of the Sessions constants.
	SessionPolicy string
	// SessionsEndedAt is when no session from before the rotation was left, nor a login that could become one; zero until then.
	SessionsEndedAt time.Time
	// ClosedAt is since when no login of the tenant can log in, after a compromise; of an open rotation it is so still. QuietAt is when
	// neither a session was left, nor a login in progress. Zero where neither has happened.
	ClosedAt, QuietAt time.Time
	// LoginCheckedAt is when a login with the new password had succeeded; zero where none has, or it is not known.
	LoginCheckedAt time.Time
	// Made: this very call has begun it; false where the row is only read.
	Made bool
}

// The policies for sessions that were opened with a previous password.
const (
	SessionsKept        = "Keep"
	SessionsTerminated  = "Terminate"   // ended once the consumers have moved
	SessionsCompromised = "Compromised" // ended before the new password was set
)

// Staging is what a rotation changes in PostgreSQL.
type Staging struct {
	Revision int64
	// Verifier is the login's new SCRAM-SHA-256 verifier, or the one that was issued, and the stored hash.
	Verifier string
	// DeliveryDigest is the hex SHA-256 of where the password goes; "" = none.
	DeliveryDigest string
	// SessionPolicy is one of the Sessions constants; "" = SessionsKept. A successor owes the ends that a superseded rotation owed.
	SessionPolicy string
	// LoginChecked says that a login with Verifier's password has succeeded already.
	LoginChecked bool
}

// Adoption asks to hold a tenant.
type Adoption struct {
	TenantID                                   string
	UID, Cluster, Environment, Namespace, Name string
	// ReplacesUID is the present holder's UID, given only when the caller has seen that this object is gone; "" = none.
	ReplacesUID string
	// TakeOverFrom is the UID of the cluster whose claim the user wants to end; "" = none.
	TakeOverFrom string
}

// Opening asks for a rotation.
type Opening struct {
	TenantID, UID string
	Generation    int64
	// Cause is why the rotation is due; Reason, RequestedBy and RequestID are those of spec.rotationRequest, "" = none; StatedManager is the
	// field manager that the writer of the spec stated. All go into the ledger.
	Cause, Reason, RequestedBy, RequestID, StatedManager string
	// After is the newest committed revision that the caller has seen, 0 = none. Where there is a newer one, the rotation is not
	// opened: it may be the very one that the caller finds missing.
	After int64
	// Above is the highest revision that has been seen of the tenant, 0 = none, at most 1e9. The new one is above it, even where the ledger
	// has lost it in a failover: no two passwords ever have the same revision.
	Above int64
}

// FlyWrite is Fly's answer to the secret that was set. A zero FlyWrite says that the tenant is not delivered through Fly.
type FlyWrite struct {
	App     string
	Version uint64
	Digest  string
	// Instances are those of the app's Machines that have the previous value, where a deploy of the user's is to replace them; nil = the
	// operator moves the Machines itself.
	Instances []string
}

// Retirement says how the login that the consumers have left is closed.
type Retirement struct {
	// Grace is how long it may be used after the consumers have left.
	Grace time.Duration
	// OnceIdle closes it before that when no session of it is left.
	OnceIdle bool
	// EndSessions ends the sessions of it that are left when it is closed.
	EndSessions bool
}

// Installation is what the DBA decides when the ledger is installed.
type Installation struct {
	Settings Settings
	// OperatorLogin is an existing login role, which gets EXECUTE on the functions and nothing else.
	OperatorLogin string
	// GatewayLogin is an existing login role, the endpoint's, which gets EXECUTE on owner_is and nothing else; "" = none.
	GatewayLogin string
}
