package tenantenvironment

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// flyPeriod is how often Fly is asked again whether it accepts the token, while it does. A tenant that is rotated notices a refusal at once.
const flyPeriod = 5 * time.Minute

// flyTrial is what came of asking Fly about the token. The environments' controller alone reads and writes it.
type flyTrial struct {
	at  time.Time
	err error // nil: accepted
}

// tryFly asks Fly once per connection, then now and then, and at every look while it is refused. The environment can be used all the same: a
// rotation in progress goes on, and so does one that is not delivered to Fly.
func (c *Connection) tryFly(ctx context.Context) {
	if c.flyTrial != nil && c.flyTrial.err == nil && time.Since(c.flyTrial.at) < flyPeriod {
		return
	}
	err := c.Fly.Preflight(ctx)
	c.flyTrial = &flyTrial{at: time.Now(), err: err}
}

// refused says that Fly was asked, and cannot be used.
func (t *flyTrial) refused() bool { return t != nil && t.err != nil && !t.unclear() }

// unclear says that Fly answered something which tells nothing of the token.
func (t *flyTrial) unclear() bool {
	switch reason := failure.ReasonOf(t.err); reason {
	case reasons.AuthenticationFailed, reasons.PermissionDenied:
		return false
	default:
		return t.err != nil && !reason.Unreachable()
	}
}

// reportFly writes the condition FlyReachable. It is absent while there is no connection.
func reportFly(status *v1alpha1.TenantEnvironmentStatus, generation int64, trial *flyTrial) {
	c := metav1.Condition{Type: v1alpha1.FlyReachableCondition, Status: metav1.ConditionTrue, Reason: reasons.Connected,
		Message: "Fly accepts the token.", ObservedGeneration: generation}
	switch {
	case trial == nil:
		meta.RemoveStatusCondition(&status.Conditions, c.Type)
		return
	case trial.err == nil:
	case trial.unclear():
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, string(failure.ReasonOf(trial.err)), "The check of the Fly token was inconclusive: "+failure.As(trial.err).Detail+"."
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, string(failure.ReasonOf(trial.err)), failure.As(trial.err).Detail+"."
	}
	meta.SetStatusCondition(&status.Conditions, c)
}
