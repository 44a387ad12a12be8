package tenantcredential

import (
	"fmt"
	"time"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// done is said, with a blank before it, of a number that is asked for and below what was completed for the tenant before: nothing comes of it.
func (m messages) done() string {
	asked, completed := m.object.AskedGeneration(), m.tenant.Claim.Generation
	if asked == 0 || asked >= completed {
		return ""
	}
	return fmt.Sprintf(" spec.rotationGeneration %d is not above the %d that is done: nothing is rotated. To rotate, write %d.", asked, completed, m.nextGeneration())
}

func (m messages) rotated() string {
	text := fmt.Sprintf("Credentials rotated (revision %d, secret digest %s). Retrieve via: fly secrets list -a %s; the value is in the app's environment as %s.",
		m.tenant.Last.Revision, m.tenant.Last.FlyDigest, m.tenant.FlyApp, m.destination.Variable)
	if !m.deliversToFly() {
		text = m.rotatedSecret()
	}
	return text + m.done() + m.expiry()
}

func (m messages) adopted() string {
	text := fmt.Sprintf("The present password of role %s is recorded as it was found; nothing was changed or proved. To rotate it, raise spec.rotationGeneration to %d.",
		m.tenant.Role, m.nextGeneration()) + m.expiry()
	if !m.deliversToFly() {
		return text
	}
	return text + " " + m.form()
}

// nearExpiry is how long before a login expires it is warned of.
const nearExpiry = 14 * 24 * time.Hour

// expiry is a warning, with a blank before it; "" = the login does not expire soon. A new password does not change when it does.
func (m messages) expiry() string {
	expires := m.tenant.ValidUntil
	if expires.IsZero() || expires.Sub(m.now) > nearExpiry {
		return ""
	}
	return fmt.Sprintf(" Warning: %s expires at %s, and its app is refused then: ALTER ROLE %s VALID UNTIL 'infinity'.",
		m.login(), expires.UTC().Format(time.RFC3339), postgres.Identifier(m.tenant.Login))
}

// form is said before the first rotation, because what the app's URL has beside this cannot be read at Fly, and would be lost.
func (m messages) form() string {
	login := m.tenant.Role
	if m.facts(m.tenant).Overlaps() {
		login += secondLoginSuffix
	}
	return fmt.Sprintf("With its first rotation app %s will have %s=%s. Compare that with what it has now; another scheme and more parameters are written in spec.databaseURL, or for all in spec.postgres.internal of TenantEnvironment %s.",
		m.tenant.FlyApp, m.destination.Variable, m.destination.Form(login), m.environment.Name)
}
