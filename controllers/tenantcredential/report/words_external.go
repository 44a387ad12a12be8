package report

import (
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// externalGroup is the role whose members pg_hba.conf lets in from outside.
const externalGroup = "tenant_credentials_external"

func (w words) accessEnabled() string {
	return fmt.Sprintf("Role %s is let in from outside: it is a member of %s, which pg_hba.conf requires of connections from there.", w.tenant.Role, externalGroup)
}

func (w words) accessPending() string {
	return fmt.Sprintf("Role %s is not let in from outside yet.", w.tenant.Role)
}

func (w words) accessDisabled() string {
	return fmt.Sprintf("Role %s is not let in from outside, and no session from there is left.", w.tenant.Role)
}

// disablingAccess is said from the moment at which an access is to be ended until no login can come of it any more.
func (w words) disablingAccess() string {
	access, subject := w.tenant.External, "Role "+w.tenant.Role
	switch {
	case access.Member && !pass.WantsExternalAccess(w.In):
		return subject + " is still let in from outside, and that is to be ended. Retrying automatically."
	case access.Member || access.Unended:
		subject = "A role that the tenant had before"
	}
	return subject + " is no longer let in from outside. Sessions from there are being ended, until logins that were in progress have timed out (authentication_timeout). Retrying automatically."
}

func (w words) accessNotOffered() string {
	return fmt.Sprintf("spec.externalAccess is set, and TenantEnvironment %s has no external address. The tenant is not let in from outside. "+
		"To fix: write the address in spec.postgres.external of the environment; or kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"externalAccess\":null}}'",
		w.environment.Name, w.object.Namespace, w.object.Name)
}
