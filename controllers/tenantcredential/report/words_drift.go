package report

import (
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// openLogin is said of a login that should be closed.
func (w words) openLogin() string {
	return fmt.Sprintf("Login %s can log in, and no rotation left it open; another client changed it. The operator changed nothing. To fix: ALTER ROLE %s NOLOGIN PASSWORD NULL; or raise spec.rotationGeneration to %d.",
		visible(w.tenant.FormerLogin), postgres.Identifier(w.tenant.FormerLogin), w.nextGeneration())
}

func (w words) drift(what string) string {
	return fmt.Sprintf("%s; another client changed it. The operator changed nothing. To fix: raise spec.rotationGeneration to %d, which sets a new password everywhere.",
		w.differs(what), w.nextGeneration())
}

// outsideDrift is drift of what can outlive an attempt that is rolled back, because it is not in our server: Fly's secret, and the hash in a
// foreign table, whose server commits first.
func (w words) outsideDrift(what string) string {
	if w.tenant.Open == nil {
		return w.drift(what)
	}
	return fmt.Sprintf("%s; an uncommitted attempt at revision %d left it, or another client changed it. The next attempt replaces it.",
		w.differs(what), w.tenant.Open.Revision)
}

// notTheFound is what can be said of the secret before the first committed rotation, whose value the operator does not know, once an attempt is open.
func (w words) notTheFound() string {
	return fmt.Sprintf("%s may not be the one recorded at adoption; an uncommitted attempt at revision %d may have left its own. The next attempt replaces it.",
		w.flySecret(), w.tenant.Open.Revision)
}

func (w words) differs(what string) string {
	if w.tenant.Last == nil {
		return what + " does not match the value recorded at adoption"
	}
	return fmt.Sprintf("%s does not match revision %d", what, w.tenant.Last.Revision)
}
