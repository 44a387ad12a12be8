package report

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

func (w words) table() string {
	if w.environment == nil {
		return "the management table"
	}
	return w.environment.Spec.Management.Schema + "." + w.environment.Spec.Management.Table
}

// secondLoginSuffix is what the name of a role's second login ends with.
const secondLoginSuffix = "_b"

func (w words) flySecret() string {
	return fmt.Sprintf("Secret %s of app %s", w.destination.Variable, w.tenant.FlyApp)
}

func (w words) connectionSecret() string { return "Secret " + pass.SecretKey(w.In).String() }

func (w words) nextGeneration() int64 { return pass.NextGeneration(w.In, w.tenant) }

// login names who has the password that is in force.
func (w words) login() string {
	if w.tenant.Login == w.tenant.Role {
		return "role " + w.tenant.Role
	}
	return "login " + w.tenant.Login
}

// refused names who was not let in with a new password.
func (w words) refused() string {
	if tried := w.Out.Attempt.Login; tried != "" && tried != w.tenant.Role {
		return "login " + tried
	}
	return w.login()
}

// visible is a name as people read it: in quotes where it holds a blank or something else that could not be seen.
func visible(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return strconv.Quote(name)
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// rotated is said of a rotation that is completed.
func (w words) rotated() string {
	text := fmt.Sprintf("Credentials rotated (revision %d, secret digest %s). Retrieve via: fly secrets list -a %s; the value is in the app's environment as %s.",
		w.tenant.Last.Revision, w.tenant.Last.FlyDigest, w.tenant.FlyApp, w.destination.Variable)
	if !pass.ToFly(w.In) {
		text = fmt.Sprintf("Credentials rotated (revision %d). Retrieve via: kubectl -n %s get secret %s -o yaml; then restart the workloads that mount this Secret.",
			w.tenant.Last.Revision, w.object.Namespace, w.object.Spec.Delivery.ConnectionSecret.Name)
	}
	return text + w.done() + w.expiry()
}

// done is said, with a blank before it, of a number that is asked for and below what was completed for the tenant before: nothing comes of it.
func (w words) done() string {
	asked, completed := w.object.AskedGeneration(), w.tenant.Claim.Generation
	if asked == 0 || asked >= completed {
		return ""
	}
	return fmt.Sprintf(" spec.rotationGeneration %d is not above %d, which is already completed; no rotation starts. To rotate: raise spec.rotationGeneration to %d.", asked, completed, w.nextGeneration())
}

func (w words) adopted() string {
	text := fmt.Sprintf("The existing password of role %s is recorded. Nothing was changed, and no login was tested. To rotate the password: raise spec.rotationGeneration to %d.",
		w.tenant.Role, w.nextGeneration()) + w.expiry()
	if !pass.ToFly(w.In) {
		return text
	}
	return text + " " + w.form()
}

// nearExpiry is how long before a login expires it is warned of.
const nearExpiry = 14 * 24 * time.Hour

// expiry is a warning, with a blank before it; "" = the login does not expire soon. A new password does not change when it does.
func (w words) expiry() string {
	expires := w.tenant.ValidUntil
	if expires.IsZero() || expires.Sub(w.In.Now) > nearExpiry {
		return ""
	}
	return fmt.Sprintf(" Warning: %s expires at %s; PostgreSQL refuses the app from then on. To fix: ALTER ROLE %s VALID UNTIL 'infinity'.",
		w.login(), expires.UTC().Format(time.RFC3339), postgres.Identifier(w.tenant.Login))
}

// form is said before the first rotation, because what the app's URL has beside this cannot be read at Fly, and would be lost.
func (w words) form() string {
	login := w.tenant.Role
	if pass.Facts(w.In, w.seen).Overlaps() {
		login += secondLoginSuffix
	}
	return fmt.Sprintf("The first rotation of app %s sets %s=%s. Compare this with the app's present value; set another scheme or more parameters in spec.databaseURL, or for all tenants in spec.postgres.internal of TenantEnvironment %s.",
		w.tenant.FlyApp, w.destination.Variable, w.destination.Form(login), w.environment.Name)
}

// notDelivered is said of an adopted tenant: of its password only the verifier is known, which no Secret can be made from.
func (w words) notDelivered() string {
	return fmt.Sprintf("%s does not exist, because the operator does not know the present password. A Pod that mounts the Secret does not start. Nothing was changed. "+
		"To fix: kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"rotationGeneration\":%d}}'",
		w.connectionSecret(), w.object.Namespace, w.object.Name, w.nextGeneration())
}
