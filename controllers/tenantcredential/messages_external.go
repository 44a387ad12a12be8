package tenantcredential

import (
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// externalGroup is the role whose members pg_hba.conf lets in from outside.
const externalGroup = "tenant_credentials_external"

func (m messages) accessEnabled() string {
	return fmt.Sprintf("Role %s is let in from outside: it is a member of %s, which pg_hba.conf requires of connections from there.", m.tenant.Role, externalGroup)
}

func (m messages) accessPending() string {
	return fmt.Sprintf("Role %s is not let in from outside yet.", m.tenant.Role)
}

func (m messages) accessDisabled() string {
	return fmt.Sprintf("Role %s is not let in from outside, and no session from there is left.", m.tenant.Role)
}

// disablingAccess is said from the moment at which an access is to be ended until no login can come of it any more.
func (m messages) disablingAccess() string {
	access, subject := m.tenant.External, "Role "+m.tenant.Role
	switch {
	case access.Member && !m.wantsExternalAccess():
		return subject + " is still let in from outside, and that is to be ended. Retrying automatically."
	case access.Member || access.Unended:
		subject = "A role that the tenant had before"
	}
	return subject + " is no longer let in from outside. Sessions from there are being ended, until logins that were in progress have timed out (authentication_timeout). Retrying automatically."
}

func (m messages) accessNotOffered() string {
	return fmt.Sprintf("spec.externalAccess is set, and TenantEnvironment %s has no external address. The tenant is not let in from outside. "+
		"To fix: write the address in spec.postgres.external of the environment; or kubectl -n %s patch tcred %s --type merge -p '{\"spec\":{\"externalAccess\":null}}'",
		m.environment.Name, m.object.Namespace, m.object.Name)
}

// external words a membership that the operator cannot end.
func (m messages) external() (fact, command string) {
	if m.scope.obstacle.condition != v1alpha1.ExternalAccessCondition {
		return "", ""
	}
	return m.failed().Detail, "Retrying automatically."
}
