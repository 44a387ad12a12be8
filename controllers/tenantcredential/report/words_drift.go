package report

import (
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// openLogin is said of a login that should be closed.
func (w words) openLogin() string {
	return fmt.Sprintf("Login %s can be used, and no rotation has left it open: somebody else changed it. Nothing was changed by the operator. To close it: ALTER ROLE %s NOLOGIN PASSWORD NULL; or raise spec.rotationGeneration to %d.",
		visible(w.tenant.FormerLogin), postgres.Identifier(w.tenant.FormerLogin), w.nextGeneration())
}

func (w words) drift(what string) string {
	return fmt.Sprintf("%s: somebody else changed it. Nothing was changed by the operator. To set a new one everywhere, raise spec.rotationGeneration to %d.",
		w.differs(what), w.nextGeneration())
}

// outsideDrift is drift of what can outlive an attempt that is rolled back, because it is not in our server: Fly's secret, and the hash in a
// foreign table, whose server commits first.
func (w words) outsideDrift(what string) string {
	if w.tenant.Open == nil {
		return w.drift(what)
	}
	return fmt.Sprintf("%s: an attempt at revision %d that was not committed left it, or another client changed it. The next attempt replaces it.",
		w.differs(what), w.tenant.Open.Revision)
}

// notTheFound is what can be said of the secret before the first committed rotation, whose value nobody knows, once an attempt is open.
func (w words) notTheFound() string {
	return fmt.Sprintf("%s may not be the one that was found: an attempt at revision %d that is not committed may have left its own. The next attempt replaces it.",
		w.flySecret(), w.tenant.Open.Revision)
}

func (w words) differs(what string) string {
	if w.tenant.Last == nil {
		return what + " is not the one that was adopted"
	}
	return fmt.Sprintf("%s is not the one of revision %d", what, w.tenant.Last.Revision)
}
