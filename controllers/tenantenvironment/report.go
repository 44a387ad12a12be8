package tenantenvironment

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// report writes the status: Ready, and Reconciling or Stalled where it is not. Unfinished is how many rotations of its tenants are under way.
func report(environment *v1alpha1.TenantEnvironment, namespace string, survey postgres.Survey, unfinished int, err error) {
	status := &environment.Status
	status.ObservedGeneration = environment.Generation
	if survey.ServerVersion != "" {
		status.ServerVersion = survey.ServerVersion
		status.LedgerVersion = survey.LedgerVersion
	}
	ready := metav1.Condition{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonConnected,
		Message: fmt.Sprintf("PostgreSQL %s answers, and its ledger is of version %d.", survey.ServerVersion, survey.LedgerVersion) + exposed(survey) + untried(survey)}
	progress := ""
	if err != nil {
		ready.Status = metav1.ConditionFalse
		ready.Reason, ready.Message, progress = explain(environment, namespace, survey, waits(unfinished), err)
	}
	if deleted(environment) {
		ready.Message += terminating(environment.Name, unfinished)
		if err == nil {
			ready.Reason = v1alpha1.ReasonEnvironmentTerminating
		}
	}
	ready.ObservedGeneration = environment.Generation
	meta.SetStatusCondition(&status.Conditions, ready)
	for _, kind := range []string{v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		if kind != progress {
			meta.RemoveStatusCondition(&status.Conditions, kind)
			continue
		}
		reason := ready.Reason
		if kind == v1alpha1.ReconcilingCondition {
			reason = v1alpha1.ReasonRetryingAfterFailure
		}
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason,
			Message: ready.Message, ObservedGeneration: environment.Generation})
	}
}

// exposed warns of settings of the server that only its DBA can change.
func exposed(survey postgres.Survey) string {
	if len(survey.Exposures) == 0 {
		return ""
	}
	return fmt.Sprintf(" Warning: with %s the server keeps the SCRAM verifier of each rotation, against which passwords can be tried. To fix: ALTER SYSTEM RESET these settings.",
		strings.Join(survey.Exposures, " and "))
}

// untried warns of what the management table refused when one of its rows was tried.
func untried(survey postgres.Survey) string {
	if survey.Problem == "" {
		return ""
	}
	return " Warning: a rotation would fail. " + survey.Problem
}

// waits says what it means for the tenants that their environment cannot be used.
func waits(unfinished int) string {
	switch unfinished {
	case 0:
		return "No rotation of this environment starts, and the apps keep what they have."
	case 1:
		return "No rotation of this environment starts. One is half done: a Machine of its app that has not moved may be refused until it is finished."
	default:
		return fmt.Sprintf("No rotation of this environment starts. %d are half done: Machines of their apps that have not moved may be refused until they are finished.", unfinished)
	}
}

// terminating says why an environment that is being deleted is still there, with a blank before it.
func terminating(environment string, unfinished int) string {
	if unfinished == 0 {
		return " It is being deleted, and no rotation starts in it."
	}
	return fmt.Sprintf(" It is being deleted, and stays until its unfinished rotations (%d) are completed, which goes on by itself; no other rotation starts. To see them: kubectl get tcred -A. To let it go with them half done: kubectl patch tenv %s --type merge -p '{\"metadata\":{\"finalizers\":null}}'",
		unfinished, environment)
}

// explain turns an error into reason and message, and says which of Reconciling and Stalled it is.
func explain(environment *v1alpha1.TenantEnvironment, namespace string, survey postgres.Survey, waits string, err error) (reason, message, kind string) {
	login, name := environment.Spec.Postgres.LoginSecretRef, environment.Name
	install := fmt.Sprintf("Let a DBA run: kubectl get tenv %s -o yaml | DATABASE_URL=<the DBA's URL> manager install-sql --environment - --operator-login <the login of Secret %s/%s>", name, namespace, login.Name)
	var missing *missingSecretError
	var invalid *invalidSpecError
	var changed *serverChangedError
	var table *unusableTableError
	var conflict *ledgerConflictError
	switch {
	case errors.As(err, &conflict):
		return v1alpha1.ReasonLedgerConflict, fmt.Sprintf("%s. %s %s", conflict.fact, waits, conflict.remedy), v1alpha1.StalledCondition
	case errors.As(err, &table):
		return v1alpha1.ReasonTableNotUsable, fmt.Sprintf("%s %s", table.problem, waits), v1alpha1.ReconcilingCondition
	case errors.As(err, &changed):
		return v1alpha1.ReasonServerChanged, changed.message, v1alpha1.StalledCondition
	case errors.As(err, &missing):
		return v1alpha1.ReasonSecretNotFound, fmt.Sprintf("Secret %s/%s has no key %s. %s Write it: kubectl -n %s create secret generic %s --from-literal=%s=<value> --dry-run=client -o yaml | kubectl apply -f -",
			missing.namespace, missing.name, missing.key, waits, missing.namespace, missing.name, missing.key), v1alpha1.ReconcilingCondition
	case errors.As(err, &invalid):
		return v1alpha1.ReasonInvalidSpec, fmt.Sprintf("%s. %s Correct it: kubectl edit tenv %s", invalid.fact, waits, name), v1alpha1.StalledCondition
	case errors.Is(err, errLedgerOld):
		return v1alpha1.ReasonLedgerOutdated, fmt.Sprintf("The ledger in PostgreSQL is of version %d, and this operator needs version %d. %s %s",
			survey.LedgerVersion, postgres.LedgerVersion, waits, install), v1alpha1.ReconcilingCondition
	case errors.Is(err, errLedgerElsewhere):
		return v1alpha1.ReasonLedgerOutdated, fmt.Sprintf("The ledger in PostgreSQL was installed for other names than spec.management and spec.naming have. %s %s", waits, install), v1alpha1.ReconcilingCondition
	case errors.Is(err, errLedgerCopied):
		return v1alpha1.ReasonLedgerOutdated, fmt.Sprintf("The ledger in database %s was copied there, and not installed. %s %s",
			survey.Database, waits, install), v1alpha1.ReconcilingCondition
	}
	return explainFailure(environment, namespace, install, waits, err)
}

func explainFailure(environment *v1alpha1.TenantEnvironment, namespace, install, waits string, err error) (reason, message, kind string) {
	login := environment.Spec.Postgres.LoginSecretRef
	secret := fmt.Sprintf("key %s in Secret %s/%s", login.Key, namespace, login.Name)
	failed := failure.As(err)
	if failed == nil {
		return v1alpha1.ReasonEnvironmentNotReady, fmt.Sprintf("The environment could not be looked at; the operator's log has the error. %s It is tried again every few seconds.", waits), v1alpha1.ReconcilingCondition
	}
	var token *unusableTokenError
	if errors.As(err, &token) {
		ref := environment.Spec.Fly.TokenSecretRef
		return v1alpha1.ReasonAuthenticationFailed, fmt.Sprintf("The token can not be used: %s. %s Replace key %s in Secret %s/%s.",
			failed.Detail, waits, ref.Key, namespace, ref.Name), v1alpha1.ReconcilingCondition
	}
	switch failed.Reason {
	case failure.LedgerOutdated:
		return v1alpha1.ReasonLedgerOutdated, fmt.Sprintf("%s %s %s", failed.Detail, waits, install), v1alpha1.ReconcilingCondition
	case failure.AuthenticationFailed:
		return v1alpha1.ReasonAuthenticationFailed, fmt.Sprintf("%s %s Replace %s.", failed.Detail, waits, secret), v1alpha1.ReconcilingCondition
	case failure.PermissionDenied:
		return v1alpha1.ReasonPermissionDenied, fmt.Sprintf("%s %s %s", failed.Detail, waits, install), v1alpha1.ReconcilingCondition
	default:
		return v1alpha1.ReasonConnectionFailed, fmt.Sprintf("%s %s Check that the server is up and that %s names it.", failed.Detail, waits, secret), v1alpha1.ReconcilingCondition
	}
}
