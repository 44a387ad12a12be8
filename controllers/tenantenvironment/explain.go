package tenantenvironment

import (
	"errors"
	"fmt"
	"strings"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// explanation is what a status says of an environment that is not Ready, and which of Reconciling and Stalled it is.
type explanation struct{ reason, message, kind string }

// explainer words what keeps an environment from being Ready. docs/messages.md shows every message.
type explainer struct {
	environment *v1alpha1.TenantEnvironment
	namespace   string // the operator's own
	survey      postgres.Survey
	unfinished  int // rotations of its tenants that are in progress
}

// explain turns the error of a look into words.
func (e explainer) explain(err error) explanation {
	waits := waits("of this environment", e.unfinished)
	var missing *missingSecretError
	var changed *serverChangedError
	var table *unusableTableError
	var conflict *ledgerConflictError
	var settings *flySettingsError
	reconciling := func(reason, fact, remedy string) explanation {
		return explanation{reason, fact + " " + waits + " " + remedy, v1alpha1.ReconcilingCondition}
	}
	switch {
	case errors.As(err, &conflict):
		return explanation{reasons.LedgerConflict, fmt.Sprintf("%s. %s %s", conflict.fact, waits, conflict.remedy), v1alpha1.StalledCondition}
	case errors.As(err, &table):
		return explanation{reasons.TableNotUsable, fmt.Sprintf("%s %s", table.problem, waits), v1alpha1.ReconcilingCondition}
	case errors.As(err, &changed):
		return explanation{reasons.ServerChanged, changed.message, v1alpha1.StalledCondition}
	case errors.As(err, &missing):
		return reconciling(reasons.SecretNotFound, missing.Error()+".", "To fix: "+e.writeSecret(missing.name, missing.key))
	case errors.Is(err, errLedgerOld):
		return reconciling(reasons.LedgerOutdated, fmt.Sprintf("The ledger in PostgreSQL has version %d, and this operator needs version %d.",
			e.survey.LedgerVersion, postgres.LedgerVersion), e.install())
	case errors.Is(err, errLedgerElsewhere):
		return reconciling(reasons.LedgerOutdated, "The ledger in PostgreSQL was installed for other names than spec.management and spec.naming have.", e.install())
	case errors.Is(err, errLedgerCopied):
		return reconciling(reasons.LedgerOutdated, fmt.Sprintf("The ledger in database %s was copied there, not installed.", e.survey.Database), e.install())
	case failure.As(err) == nil:
		return reconciling(reasons.EnvironmentNotReady, "The operator could not check the environment; its log has the error.", "Retrying automatically.")
	case errors.As(err, &settings):
		failed := failure.As(err)
		return reconciling(string(failed.Reason), "Fly cannot be used: "+strings.TrimSuffix(failed.Detail, ".")+".", e.flyRemedy(failed.Reason))
	}
	failed := failure.As(err)
	return reconciling(string(failed.Reason), failed.Detail, e.postgresRemedy(failed.Reason))
}

// explainFly words why Fly cannot be used, where PostgreSQL can.
func (e explainer) explainFly(err error) explanation {
	failed := failure.As(err)
	return explanation{string(failed.Reason), failed.Detail + ". " + waits("that delivers to Fly", e.unfinished) + " " + e.flyRemedy(failed.Reason), v1alpha1.ReconcilingCondition}
}

// postgresRemedy is the fix where PostgreSQL cannot be used.
func (e explainer) postgresRemedy(reason failure.Reason) string {
	login := e.environment.Spec.Postgres.LoginSecretRef
	url := fmt.Sprintf("key %s in Secret %s/%s", login.Key, e.namespace, login.Name)
	switch reason {
	case reasons.LedgerOutdated, reasons.PermissionDenied:
		return e.install()
	case reasons.AuthenticationFailed:
		return "To fix: replace " + url + "."
	case reasons.HostNotFound, reasons.ConnectionRefused:
		return "To fix: start the server, or correct host and port in " + url + "."
	case reasons.CertificateUntrusted, reasons.CertificateInvalid:
		return e.trust("postgres", e.environment.Spec.Postgres.CASecretRef)
	case reasons.CertificateMismatch:
		return "To fix: write a host that the certificate names into " + url + "."
	case reasons.MethodNotAccepted:
		return "To fix: set the method scram-sha-256 for this login in pg_hba.conf."
	}
	return fmt.Sprintf("Retrying automatically. To fix: start the server, or correct %s.", url)
}

// flyRemedy is the fix where Fly cannot be used.
func (e explainer) flyRemedy(reason failure.Reason) string {
	fly, name := e.environment.Spec.Fly, e.environment.Name
	token := fmt.Sprintf("key %s in Secret %s/%s", fly.TokenSecretRef.Key, e.namespace, fly.TokenSecretRef.Name)
	switch reason {
	case reasons.AuthenticationFailed:
		return "To fix: replace " + token + "."
	case reasons.PermissionDenied:
		return fmt.Sprintf("To fix: correct spec.fly.organization (kubectl edit tenv %s), or replace %s by a token of that organization.", name, token)
	case reasons.CertificateUntrusted, reasons.CertificateInvalid:
		return e.trust("fly", fly.CASecretRef)
	case reasons.CertificateMismatch, reasons.HostNotFound, reasons.ConnectionRefused:
		return fmt.Sprintf("To fix: correct spec.fly.apiURL: kubectl edit tenv %s", name)
	}
	return "Retrying automatically."
}

// trust names the authority's certificate, in the part of the spec that is called so.
func (e explainer) trust(part string, present *v1alpha1.CASecretReference) string {
	if present != nil {
		return fmt.Sprintf("To fix: put the certificate of the server's authority (PEM) into key %s of Secret %s/%s.", present.Key, e.namespace, present.Name)
	}
	name := fmt.Sprintf("%s-%s-ca", part, e.environment.Name)
	return fmt.Sprintf(`To fix: %s and kubectl patch tenv %s --type merge -p '{"spec":{"%s":{"caSecretRef":{"name":"%s"}}}}'`,
		e.writeSecret(name, "ca.crt"), e.environment.Name, part, name)
}

// writeSecret is the command that writes a Secret's key. The value comes from a file, because a command line is kept in a shell's history.
func (e explainer) writeSecret(name, key string) string {
	return fmt.Sprintf("kubectl -n %s create secret generic %s --from-file=%s=<file> --dry-run=client -o yaml | kubectl apply -f -", e.namespace, name, key)
}

func (e explainer) install() string {
	return fmt.Sprintf("To fix, a DBA runs: kubectl get tenv %s -o yaml | DATABASE_URL=<the DBA's URL> manager install-sql --environment - --operator-login <the login of Secret %s/%s>",
		e.environment.Name, e.namespace, e.environment.Spec.Postgres.LoginSecretRef.Name)
}
