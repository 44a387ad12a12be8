package tenantcredential

import (
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// openLogin is said of a login that should be closed.
func (m messages) openLogin() string {
	return fmt.Sprintf("Login %s can be used, and no rotation has left it open: somebody else changed it. Nothing was changed by the operator. To close it: ALTER ROLE %s NOLOGIN PASSWORD NULL; or raise spec.rotationGeneration to %d.",
		visible(m.tenant.FormerLogin), postgres.Identifier(m.tenant.FormerLogin), m.nextGeneration())
}

func (m messages) drift(what string) string {
	return fmt.Sprintf("%s: somebody else changed it. Nothing was changed by the operator. To set a new one everywhere, raise spec.rotationGeneration to %d.",
		m.differs(what), m.nextGeneration())
}

// outsideDrift is drift of what can outlive an attempt that is rolled back, because it is not in our server: Fly's secret, and the hash in a
// foreign table, whose server commits first.
func (m messages) outsideDrift(what string) string {
	if m.tenant.Open == nil {
		return m.drift(what)
	}
	return fmt.Sprintf("%s: an attempt at revision %d that was not committed left it, or another client changed it. The next attempt replaces it.",
		m.differs(what), m.tenant.Open.Revision)
}

// notTheFound is what can be said of the secret before the first committed rotation, whose value nobody knows, once an attempt is open.
func (m messages) notTheFound() string {
	return fmt.Sprintf("%s may not be the one that was found: an attempt at revision %d that is not committed may have left its own. The next attempt replaces it.",
		m.secret(), m.tenant.Open.Revision)
}

func (m messages) differs(what string) string {
	if m.tenant.Last == nil {
		return what + " is not the one that was adopted"
	}
	return fmt.Sprintf("%s is not the one of revision %d", what, m.tenant.Last.Revision)
}
