package tenantcredential

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// checkPause keeps a rotation from starting while somebody has to say what an environment's server is: restored from a backup it has
// lost the passwords of many tenants, and only he can know whether it is there to stay. What was begun on a ledger that has lost
// nothing is carried through all the same.
func (s *scope) checkPause() error {
	behind := s.behind(s.tenant)
	if behind && !s.connection.Pause.Counted(s.id()) {
		s.connection.Doubt()
		return errLater
	}
	if !s.connection.Pause.Paused() || unfinished(s.tenant) && !behind {
		return nil
	}
	return readyObstacle(failure.Stall, v1alpha1.ReasonRotationsPaused, s.environmentSays(v1alpha1.RotationsPausedCondition, metav1.ConditionTrue))
}
