package report

import (
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// externalGroup is the role whose members pg_hba.conf lets in from outside.
const externalGroup = "tenant_credentials_external"

func (w words) accessEnabled() string {
	return fmt.Sprintf("Role %s has external access: it is a member of %s, which pg_hba.conf requires of external connections.", w.tenant.Role, externalGroup)
}

func (w words) accessPending() string {
	return fmt.Sprintf("Role %s does not have external access yet.", w.tenant.Role)
}

func (w words) accessDisabled() string {
	return fmt.Sprintf("Role %s has no external access, and no external session is left.", w.tenant.Role)
}

// disablingAccess is said from the moment at which an access is to be ended until no login can come of it any more.
func (w words) disablingAccess() string {
	access, subject := w.tenant.External, "Role "+w.tenant.Role
	switch {
	case access.Member && !pass.WantsExternalAccess(w.In):
		return subject + " still has external access, which is to be ended. Retrying automatically."
	case access.Member || access.Unended:
		subject = "A previous role of the tenant"
	}
	return subject + " no longer has external access. External sessions are being ended until logins that were in progress have timed out (authentication_timeout). Retrying automatically."
}

func (w words) accessNotOffered() string {
	return fmt.Sprintf("spec.externalAccess is set, and TenantEnvironment %s has no external address. The tenant has no external access. "+
		"To fix: set the address in spec.postgres.external of the environment; or kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"externalAccess\":null}}'",
		w.environment.Name, w.object.Namespace, w.object.Name)
}
