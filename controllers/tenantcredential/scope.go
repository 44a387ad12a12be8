package tenantcredential

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// Postgres is what a pass asks of an environment's server.
type Postgres interface {
	Observe(ctx context.Context, tenantIDs []string) ([]postgres.Tenant, error)
	Adopt(ctx context.Context, adoption postgres.Adoption) (postgres.Claim, error)
	OpenRotation(ctx context.Context, opening postgres.Opening) (postgres.Rotation, error)
	InTransaction(ctx context.Context, tenantID, uid string, f func(context.Context, postgres.Transaction) error) error
	VerifyLogin(ctx context.Context, login postgres.Login) error
	LoginChecked(ctx context.Context, tenantID, uid string, revision int64) error
	Rolled(ctx context.Context, tenantID, uid string, revision int64) error
	Retire(ctx context.Context, tenantID, uid string, revision int64, retirement postgres.Retirement) (bool, error)
	EndSessions(ctx context.Context, tenantID, uid string, revision int64, sweep bool) (bool, error)
	Complete(ctx context.Context, tenantID, uid string, revision int64) error
	SetExternalAccess(ctx context.Context, tenantID, uid string, enabled bool) (postgres.ExternalAccess, error)
	SweepExternalAccess(ctx context.Context, tenantID, uid string) (postgres.ExternalAccess, error)
	Discard(ctx context.Context, tenantID, uid string, revision int64) error
}

// Fly is what a pass asks of Fly.io.
type Fly interface {
	App(ctx context.Context, name string) (fly.App, error)
	SecretDigest(ctx context.Context, app, variable string) (string, error)
	SetSecret(ctx context.Context, app, variable, value string) (fly.Secret, error)
	Probe(ctx context.Context, app fly.App, variable string) (fly.Progress, error)
	Advance(ctx context.Context, rollOut fly.RollOut) (fly.Progress, error)
	Instances(ctx context.Context, app fly.App) ([]string, error)
	Deployed(ctx context.Context, app fly.App, variable string, before []string) (fly.Progress, error)
	RecordRelease(ctx context.Context, rollOut fly.RollOut, cause string) (warning string)
}

// Slots bounds how many rotations of an environment are under way. Who is urgent comes first.
type Slots interface {
	Acquire(tenantID string, urgent bool) bool
	Full(urgent bool) bool
	Occupy(tenantID string)
	Release(tenantID string)
}

// Pause says whether the rotations of an environment wait for somebody to acknowledge what happened to its server.
type Pause interface {
	Paused() bool
	// Counted says whether the environment has been looked at since this tenant's ledger regressed, so that Paused takes it into
	// account. Where it has not, the look is asked for.
	Counted(tenantID string) bool
}

// Canary has an address that is new to an environment's apps proved by one tenant, before the others follow.
type Canary interface {
	Free(address, tenantID string) bool
	Try(address, tenantID string) bool
	Prove(address string)
	Leave(tenantID string)
}

// Environment is what a pass needs to reach one environment.
type Environment struct {
	Postgres Postgres
	Fly      Fly
	Slots    Slots
	Pause    Pause
	Canary   Canary
	// Doubt has the environment looked at, because its server did not answer.
	Doubt func()
	// ExternalProblem is why pg_hba.conf does not make the group of external access count, as the last look at the environment has seen it, with what
	// fixes it; "" = it does.
	ExternalProblem string
	// Changed is when the login or the token was last changed while this process ran, zero if never: what failed before is tried at
	// once.
	Changed time.Time
}

// scope is what one pass knows. Each step fills in its part; report turns it into status.
type scope struct {
	// By begin.
	object *v1alpha1.TenantCredential // its status is written by report alone
	before *v1alpha1.TenantCredential
	now    time.Time
	// cluster is the Reconciler's.
	cluster string
	// untried is the password that this process has committed, or may have, and that no login has proved; nil = none. Anew by commit.
	untried *password

	// By findEnvironment.
	environment *v1alpha1.TenantEnvironment

	// By checkNamespace: why the object may not have the tenant in its namespace; nil = it may.
	unbound *obstacle

	// By connect.
	connection *Environment

	// By observePostgres, and anew by each step that changes the ledger. Nil until then, and for an object that admit has shut out.
	tenant      *postgres.Tenant
	destination credential.Destination

	// By admit: the object is unbound, and the ledger has no rotation of it to finish.
	shutOut bool

	// By endExternalAccess and settleExternalAccess: what kept them from their step; nil = nothing.
	externalTrouble error

	// By observeFly. flySeen says that Fly was asked and answered.
	flySeen   bool
	flyApp    fly.App
	flyDigest string

	// By settleSecret.
	secret connectionSecret

	// By decide.
	decision rotation.Decision

	// By endSessions, and by rollOut: a session of before the rotation, which is to be ended, may be left.
	sessionsLeft bool

	// By awaitTurn and rotate: another tenant has to prove the environment's address first.
	awaitsCanary bool

	// By rotate: an attempt was made. found are the Machines as they were before it, nil where there are none to move.
	attempted bool
	found     *fly.Progress
	// opened is the revision that this pass has begun, 0 = none; told says that Fly may have taken its value.
	opened int64
	told   bool

	// By checkLogin: who logs in with the new password.
	tried string

	// By rollOut. Nil where nothing rolls. retiring says that every Machine has moved, and the former login is not closed for good yet.
	progress  *fly.Progress
	retiring  bool
	rolledNow bool // by this pass

	// By the step that could not go on; nil where all went well.
	obstacle *obstacle
}

// obstacle is why a pass could not go on, and which condition shows it.
type obstacle struct {
	condition string                 // "" = Ready alone
	status    metav1.ConditionStatus // of that condition: False, or Unknown where its state can not be seen
	failure   *failure.Error
}

func (o *obstacle) Error() string { return o.failure.Error() }

// postgresObstacle and flyObstacle say on whose side a call failed.
func postgresObstacle(err error) error {
	if err == nil {
		return nil
	}
	o := &obstacle{condition: v1alpha1.PostgresSyncedCondition, status: metav1.ConditionFalse, failure: classed(err)}
	if o.failure.Reason.Unreachable() || o.failure.Class == failure.Unknown {
		o.status = metav1.ConditionUnknown
	}
	return o
}

func flyObstacle(condition string, err error) error {
	if err == nil {
		return nil
	}
	o := &obstacle{condition: condition, status: metav1.ConditionUnknown, failure: classed(err)}
	if o.failure.Reason == failure.FlyAppNotFound || o.failure.Reason == failure.MachineUnhealthy || o.failure.Reason == failure.SecretHidden {
		o.status = metav1.ConditionFalse
	}
	return o
}

// asObstacle leaves an obstacle as it is; any other error of a transaction is Postgres's.
func asObstacle(err error) error {
	var o *obstacle
	if err == nil || errors.As(err, &o) {
		return err
	}
	return postgresObstacle(err)
}

// readyObstacle is one that is neither Postgres's nor Fly's.
func readyObstacle(class failure.Class, reason, detail string) error {
	return &obstacle{failure: failure.New(class, failure.Reason(reason), detail)}
}

func classed(err error) *failure.Error {
	if f := failure.As(err); f != nil {
		return f
	}
	return failure.New(failure.Retry, failure.Unexpected, "the operator's log has the error")
}

// id and uid are the two names under which the ledger knows the object.
func (s *scope) id() string  { return s.object.Spec.TenantID }
func (s *scope) uid() string { return string(s.object.UID) }

func (s *scope) deleted() bool { return !s.object.DeletionTimestamp.IsZero() }

// unfinished says that the ledger has a rotation that was begun and not completed.
func unfinished(tenant *postgres.Tenant) bool { return tenant.Open != nil || rolling(tenant) }

// rolling says that the newest committed rotation is not completed.
func rolling(tenant *postgres.Tenant) bool {
	return tenant.Last != nil && tenant.Last.State != postgres.StateCompleted
}

// unproved says that no login with the password of the newest committed rotation has succeeded.
func unproved(tenant *postgres.Tenant) bool {
	return rolling(tenant) && tenant.Last.LoginCheckedAt.IsZero()
}

// rolled says that the newest committed rotation has moved every Machine, and only the former login is left to be closed.
func rolled(tenant *postgres.Tenant) bool {
	return tenant.Last != nil && tenant.Last.State == postgres.StateRolled
}

// moved says that every Machine has the newest rotation, and that it is not completed.
func (s *scope) moved() bool { return s.retiring || rolled(s.tenant) }

// behind says that the ledger does not know the newest revision that the status speaks of: Postgres has lost it, in a failover or by a
// restored backup.
func (s *scope) behind(tenant *postgres.Tenant) bool {
	return tenant.Last == nil && s.before.Status.Revision > 0 || tenant.Last != nil && s.before.Status.Revision > tenant.Last.Revision
}

// lost says that the ledger knows nothing of an attempt that got as far as Fly, or into the connection Secret: the finalizer is from before
// it was opened.
func (s *scope) lost(tenant *postgres.Tenant) bool {
	return hasFinalizer(s.object) && !unfinished(tenant) &&
		(s.flySeen && tenant.Last != nil && s.flyDigest != tenant.Last.FlyDigest || s.secretAhead(tenant))
}

// passwordDrifted says that the role's password is not the one that the ledger knows. One that is closed after a compromise has none.
func passwordDrifted(tenant *postgres.Tenant) bool {
	if closedLogins(tenant) {
		return false
	}
	if tenant.Last != nil {
		return tenant.VerifierDigest != tenant.Last.VerifierDigest
	}
	return tenant.VerifierDigest != tenant.Claim.VerifierDigest
}

// loginDrifted says that nothing is under way, and a login that no rotation has left open can be used.
func loginDrifted(tenant *postgres.Tenant) bool {
	return tenant.FormerLogin != "" && !unfinished(tenant)
}

// closedLogins says that a rotation after a compromise was begun, and no login of the tenant can be used until it is committed.
func closedLogins(tenant *postgres.Tenant) bool {
	return tenant.Open != nil && !tenant.Open.ClosedAt.IsZero()
}

func hashDrifted(tenant *postgres.Tenant) bool {
	if tenant.Last != nil {
		return tenant.HashDigest != tenant.Last.HashDigest
	}
	return tenant.HashDigest != tenant.Claim.HashDigest
}

// secretDrifted says that Fly was asked, and holds another value than the last rotation's. What was adopted can not drift at Fly:
// nobody knows what it was.
func (s *scope) secretDrifted() bool {
	return s.flySeen && s.tenant.Last != nil && s.flyDigest != s.tenant.Last.FlyDigest
}

// leftAtFly says that an attempt which is open may have left its password at Fly. Where Fly shows the last rotation's value it has left none;
// without that, only an attempt that this pass has begun, and that Fly was not told of, is known to have left none.
func (s *scope) leftAtFly() bool {
	switch {
	case s.tenant.Open == nil || !s.deliversToFly():
		return false
	case s.flySeen && s.tenant.Last != nil:
		return s.secretDrifted()
	default:
		return s.told || s.tenant.Open.Revision != s.opened
	}
}
