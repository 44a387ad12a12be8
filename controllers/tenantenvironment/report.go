package tenantenvironment

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// seen is what a look has seen.
type seen struct {
	survey postgres.Survey
	fly    *flyTrial // nil: there is no connection with which Fly could have been asked
	err    error     // why the environment cannot be used; nil = it can
}

// report writes the status: Ready, FlyReachable, and Reconciling or Stalled where it is not Ready. Unfinished is how many rotations of its tenants are in
// progress.
func report(environment *v1alpha1.TenantEnvironment, namespace string, seen seen, unfinished int) {
	status, survey := &environment.Status, seen.survey
	words := explainer{environment, namespace, survey, unfinished}
	status.ObservedGeneration = environment.Generation
	if survey.ServerVersion != "" {
		status.ServerVersion = survey.ServerVersion
		status.LedgerVersion = survey.LedgerVersion
	}
	ready := metav1.Condition{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: reasons.Connected,
		Message: fmt.Sprintf("PostgreSQL %s is reachable; its ledger has version %d.", survey.ServerVersion, survey.LedgerVersion) + exposed(survey) + untried(survey)}
	progress := ""
	fail := func(why explanation) {
		ready.Status, ready.Reason, ready.Message, progress = metav1.ConditionFalse, why.reason, why.message, why.kind
	}
	switch {
	case seen.err != nil:
		fail(words.explain(seen.err))
	case seen.fly.refused():
		fail(words.explainFly(seen.fly.err))
	}
	if deleted(environment) {
		ready.Message += terminating(environment.Name, unfinished)
		if seen.err == nil {
			ready.Status, ready.Reason, progress = metav1.ConditionTrue, reasons.EnvironmentTerminating, ""
		}
	}
	ready.ObservedGeneration = environment.Generation
	meta.SetStatusCondition(&status.Conditions, ready)
	reportFly(status, environment.Generation, seen.fly)
	for _, kind := range []string{v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		if kind != progress {
			meta.RemoveStatusCondition(&status.Conditions, kind)
			continue
		}
		reason := ready.Reason
		if kind == v1alpha1.ReconcilingCondition {
			reason = reasons.RetryingAfterFailure
		}
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason,
			Message: ready.Message, ObservedGeneration: environment.Generation})
	}
	status.Bound()
}

// exposed warns of settings of the server that only its DBA can change.
func exposed(survey postgres.Survey) string {
	if len(survey.Exposures) == 0 {
		return ""
	}
	return fmt.Sprintf(" Warning: with %s the server keeps the SCRAM verifier of each rotation, against which passwords can be guessed. To fix: ALTER SYSTEM RESET these settings.",
		strings.Join(survey.Exposures, " and "))
}

// untried warns of what the management table refused when one of its rows was tried.
func untried(survey postgres.Survey) string {
	if survey.Problem == "" {
		return ""
	}
	return " Warning: a rotation would fail. " + survey.Problem
}

// waits says what it means for the tenants that some of their rotations do not start, or all.
func waits(rotations string, unfinished int) string {
	switch unfinished {
	case 0:
		return fmt.Sprintf("No rotation %s starts; the apps keep their present passwords.", rotations)
	case 1:
		return fmt.Sprintf("No rotation %s starts. 1 rotation is in progress: PostgreSQL may refuse the Machines of its app that are not yet updated until the rotation is completed.", rotations)
	default:
		return fmt.Sprintf("No rotation %s starts. %d rotations are in progress: PostgreSQL may refuse the Machines of their apps that are not yet updated until these rotations are completed.", rotations, unfinished)
	}
}

// terminating says why an environment that is being deleted is still there, with a blank before it.
func terminating(environment string, unfinished int) string {
	if unfinished == 0 {
		return " The environment is being deleted, and no rotation starts in it."
	}
	return fmt.Sprintf(" The environment is being deleted, and stays until the operator has completed its unfinished rotations (%d); no other rotation starts. To see them: kubectl get tcred -A. To delete the environment with these rotations unfinished: kubectl patch tenv %s --type merge -p '{\"metadata\":{\"finalizers\":null}}'",
		unfinished, environment)
}
