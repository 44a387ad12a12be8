package tenantcredential

import (
	"context"
	"time"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// Postgres is what a pass asks of an environment's server.
type Postgres interface {
	Observe(ctx context.Context, tenantIDs []string) ([]postgres.Tenant, error)
	Adopt(ctx context.Context, adoption postgres.Adoption) (postgres.Tenant, error)
	OpenRotation(ctx context.Context, opening postgres.Opening) (postgres.Rotation, error)
	InTransaction(ctx context.Context, tenantID, uid string, f func(context.Context, postgres.Transaction) error) error
	VerifyLogin(ctx context.Context, login postgres.Login) error
	LoginChecked(ctx context.Context, tenantID, uid string, revision int64) error
	Rolled(ctx context.Context, tenantID, uid string, revision int64) error
	Retire(ctx context.Context, tenantID, uid string, revision int64, retirement postgres.Retirement) (bool, error)
	EndSessions(ctx context.Context, tenantID, uid string, revision int64, sweep bool) (bool, error)
	Complete(ctx context.Context, tenantID, uid string, revision int64) (postgres.Tenant, error)
	SetExternalAccess(ctx context.Context, tenantID, uid string, enabled bool) (postgres.ExternalAccess, error)
	SweepExternalAccess(ctx context.Context, tenantID, uid string) (postgres.ExternalAccess, error)
	Discard(ctx context.Context, tenantID, uid string, revision int64) error
}

// Fly is what a pass asks of Fly.io.
type Fly interface {
	App(ctx context.Context, name string) (fly.App, error)
	SecretDigest(ctx context.Context, app, variable string) (string, error)
	SetSecret(ctx context.Context, app, variable string, value credential.Secret) (fly.AppSecret, error)
	Probe(ctx context.Context, app fly.App, variable string) (fly.Progress, error)
	Advance(ctx context.Context, rollOut fly.Rollout) (fly.Progress, error)
	Instances(ctx context.Context, app fly.App) ([]string, error)
	Deployed(ctx context.Context, app fly.App, variable string, before []string) (fly.Progress, error)
	RecordRelease(ctx context.Context, rollOut fly.Rollout, cause string) (warning string)
}

// Slots bounds how many rotations of an environment are in progress. What is urgent comes first. A refused tenant stands in line until it is woken with
// a slot, or gives its place back.
type Slots interface {
	Acquire(tenantID string, urgent bool, wake func()) bool
	Waits(tenantID string) bool
	// HeldSince is since when one slot or another has been held without a break, and now if none is.
	HeldSince() time.Time
	Occupy(tenantID string)
	GiveBack(tenantID string)
}

// Pause says whether the rotations of an environment wait until what happened to its server is acknowledged.
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
