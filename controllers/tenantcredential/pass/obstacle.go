package pass

import (
	"errors"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Obstacle is why a pass could not go on: at which part, and what failed there. What it means for the user is in the catalogue of package report.
type Obstacle struct {
	// At is the condition that shows it, "" = Ready alone.
	At string
	// Failure is what failed, and its class.
	Failure *failure.Error
	// Field is the one of spec that asks for what cannot be, "" = another reason than InvalidSpec.
	Field Field
}

func (o *Obstacle) Error() string { return o.Failure.Error() }

// AtPostgres is a failure of PostgreSQL; nil = there is none. An Obstacle is left as it is.
func AtPostgres(err error) error { return at(v1alpha1.PostgresSyncedCondition, err) }

// AtFlySecret is a failure of Fly's about the app or its secret; nil = there is none.
func AtFlySecret(err error) error { return at(v1alpha1.FlySecretSyncedCondition, err) }

// AtMachines is a failure of Fly's about the app's Machines; nil = there is none.
func AtMachines(err error) error { return at(v1alpha1.FlyMachinesUpdatedCondition, err) }

// AtSecret is a failure of the connection Secret; nil = there is none.
func AtSecret(err error) error { return at(v1alpha1.ConnectionSecretSyncedCondition, err) }

// AtExternalAccess is a failure of external access.
func AtExternalAccess(err error) error { return at(v1alpha1.ExternalAccessCondition, err) }

// InKubernetes is what has to be put right in the spec, the namespace or the environment.
func InKubernetes(class failure.Class, reason failure.Reason, detail string) error {
	return &Obstacle{Failure: failure.New(class, reason, detail)}
}

func at(condition string, err error) error {
	var o *Obstacle
	switch {
	case err == nil:
		return nil
	case errors.As(err, &o):
		return o
	default:
		return &Obstacle{At: condition, Failure: classed(err)}
	}
}

// AsObstacle returns the obstacle in err's chain, or nil where there is none.
func AsObstacle(err error) *Obstacle {
	var o *Obstacle
	errors.As(err, &o)
	return o
}

func classed(err error) *failure.Error {
	if f := failure.As(err); f != nil {
		return f
	}
	return failure.New(failure.Retry, reasons.Unexpected, "the operator's log has the error")
}

// Field is one of spec.
type Field string

// The fields that can ask for what cannot be.
const (
	RotationRequestField Field = "rotationRequest"
	RolloutPolicyField   Field = "rolloutPolicy"
)

// SpecProblem is what the spec asks for that cannot be; nil = nothing. A rollout by the user's own deploy needs a password that outlives the commit.
func SpecProblem(in Input, seen Observed, resting bool) *Obstacle {
	request := Request(in)
	switch {
	case resting && !Deleted(in) && request != nil && request.ReplacesRevision > NewestRevision(in, seen.Tenant):
		return invalid(RotationRequestField)
	case Staged(in) && Strategy(in) != v1alpha1.RotationStrategyOverlap && !seen.Tenant.Unfinished():
		return invalid(RolloutPolicyField)
	default:
		return nil
	}
}

func invalid(field Field) *Obstacle {
	return &Obstacle{Failure: failure.New(failure.Stall, reasons.InvalidSpec, "spec."+string(field)), Field: field}
}
