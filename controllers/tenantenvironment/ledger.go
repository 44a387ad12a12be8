package tenantenvironment

import (
	"context"
	"errors"
	"fmt"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// errLedgerOld and errLedgerElsewhere: the ledger that is installed is not the one that this environment needs. errLedgerCopied: it is a copy
// of another database's.
var (
	errLedgerOld       = errors.New("the installed ledger is too old")
	errLedgerElsewhere = errors.New("the ledger was installed for other names")
	errLedgerCopied    = errors.New("the ledger was not installed in this database")
)

// ledgerConflictError: another ledger has the same roles, or another environment the same ledger. Remedy says how to end that.
type ledgerConflictError struct{ fact, remedy string }

func (e *ledgerConflictError) Error() string { return e.fact }

func checkLedger(environment *v1alpha1.TenantEnvironment, survey postgres.Survey) error {
	switch {
	case survey.LedgerVersion < postgres.LedgerVersion:
		return errLedgerOld
	case survey.OtherLedger != "":
		return rivals(survey)
	case survey.Settings != LedgerSettings(environment):
		return errLedgerElsewhere
	case !survey.Registered:
		return errLedgerCopied
	default:
		return nil
	}
}

// rivals are two ledgers on one server. The roles are the server's, so that each of the two would set the passwords of the other one's tenants.
func rivals(survey postgres.Survey) error {
	other := postgres.Identifier(survey.OtherLedger)
	return &ledgerConflictError{
		fact: fmt.Sprintf("Database %s of this server also has a ledger for roles that begin with %s, and a role has one password", other, survey.Settings.RolePrefix),
		remedy: fmt.Sprintf("To fix: point the login Secret to database %s; or recreate this environment with another spec.naming.rolePrefix; or, once the ledger in %[1]s is no longer used, "+
			"ALTER ROLE tenant_credentials_owner IN DATABASE %[1]s RESET tenant_credentials.role_prefix, and manager install-sql.", other),
	}
}

// checkTwins refuses an environment that leads to the ledger of another one, by any address. The older one has it. The status decides, and
// not the connection, so that a restart, or an outage of the older one, changes nothing.
func (r *Reconciler) checkTwins(ctx context.Context, environment *v1alpha1.TenantEnvironment) error {
	var all v1alpha1.TenantEnvironmentList
	if err := r.Client.List(ctx, &all); err != nil {
		return fmt.Errorf("listing the TenantEnvironments: %w", err)
	}
	for i := range all.Items {
		other := &all.Items[i]
		if sameLedger(environment, other) && older(other, environment) {
			return &ledgerConflictError{
				fact:   fmt.Sprintf("TenantEnvironment %s uses the same ledger, database %s of the same server", other.Name, environment.Status.Database),
				remedy: fmt.Sprintf("To fix: kubectl delete tenv %s, and name %s in its TenantCredentials; or point the login Secret to another server.", environment.Name, other.Name),
			}
		}
	}
	return nil
}

func sameLedger(a, b *v1alpha1.TenantEnvironment) bool {
	return a.Status.SystemIdentifier == b.Status.SystemIdentifier && a.Status.Database == b.Status.Database
}

// older says which of two environments was made first; of two that were made in the same second, the one whose name comes first.
func older(a, b *v1alpha1.TenantEnvironment) bool {
	if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.Name < b.Name
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp)
}
