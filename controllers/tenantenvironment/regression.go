package tenantenvironment

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// serverChangedError: the server is not the one that the environment was used with.
type serverChangedError struct{ message string }

func (e *serverChangedError) Error() string { return e.message }

// pauseCause is why rotations have to be paused. The zero value is that there is no reason to.
type pauseCause struct{ reason, fact string }

// checkServer refuses a server with another system identifier until it is acknowledged: nothing that it says of a tenant can be
// believed. Where the environment was made anew, and its status knows none, the one counts that the ledger was installed on.
func checkServer(environment *v1alpha1.TenantEnvironment, survey postgres.Survey) error {
	status := &environment.Status
	if known := cmp.Or(status.SystemIdentifier, survey.InstalledOn, survey.SystemIdentifier); known != survey.SystemIdentifier {
		condition := rotationsPaused(environment, pauseCause{reasons.ServerChanged, fmt.Sprintf(
			"PostgreSQL has system identifier %s, and had %s before; it is another server, or was recreated from a dump", survey.SystemIdentifier, known)}, time.Now())
		setCondition(status, condition)
		if condition.Status == metav1.ConditionTrue {
			return &serverChangedError{condition.Message}
		}
		meta.RemoveStatusCondition(&status.Conditions, condition.Type) // the server is acknowledged, and not what it may have lost
	}
	status.SystemIdentifier, status.Database = survey.SystemIdentifier, survey.Database
	return nil
}

// checkPause decides whether rotations may start, writes the condition, and returns whether the tenants have to be told. Regressed
// tenants are counted when one asks, after a restart of the server, and until a pause is over.
func (r *Reconciler) checkPause(ctx context.Context, environment *v1alpha1.TenantEnvironment, connection *Connection, survey postgres.Survey) (tell bool, err error) {
	status := &environment.Status
	before := meta.FindStatusCondition(status.Conditions, v1alpha1.RotationsPausedCondition)
	var regressed []string
	if connection.Pause.wanted(survey.Started) || before != nil && before.Reason != reasons.NotPaused {
		if regressed, err = r.regressed(ctx, environment.Name, connection); err != nil {
			return false, err
		}
	}
	var cause pauseCause
	if limit := int(environment.Spec.MaxConcurrent); len(regressed) > limit {
		cause = pauseCause{reasons.LedgerRegressed, fmt.Sprintf(
			"PostgreSQL lost rotations of %d tenants, more than a failover can explain (limit %d, spec.maxConcurrent); it was probably restored from a backup", len(regressed), limit)}
	}
	condition := rotationsPaused(environment, cause, time.Now())
	setCondition(status, condition)
	return connection.Pause.set(condition.Status == metav1.ConditionTrue, regressed), nil
}

// rotationsPaused is the condition. A pause ends when the annotation has the value that the message names: reason and time, so that
// the next pause is not acknowledged with it. Lost rotations stay acknowledged until they are made up for.
func rotationsPaused(environment *v1alpha1.TenantEnvironment, cause pauseCause, now time.Time) metav1.Condition {
	before := meta.FindStatusCondition(environment.Status.Conditions, v1alpha1.RotationsPausedCondition)
	c := metav1.Condition{Type: v1alpha1.RotationsPausedCondition, Status: metav1.ConditionFalse,
		Reason: cmp.Or(cause.reason, reasons.NotPaused), Message: "Rotations start when they are due.",
		LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)), ObservedGeneration: environment.Generation}
	if before != nil && before.Reason == c.Reason {
		c.LastTransitionTime = before.LastTransitionTime
	}
	if cause.reason == "" {
		return c
	}
	value := cause.reason + "@" + c.LastTransitionTime.UTC().Format(time.RFC3339)
	lossAcknowledged := before != nil && before.Reason == reasons.Acknowledged && cause.reason == reasons.LedgerRegressed
	if lossAcknowledged || environment.Annotations[v1alpha1.ResumeRotationsAnnotation] == value {
		c.Reason, c.Message = reasons.Acknowledged, "The pause was acknowledged; rotations start when they are due."
		return c
	}
	c.Status = metav1.ConditionTrue
	c.Message = fmt.Sprintf("%s. Rotations are paused. To accept this server: kubectl annotate --overwrite tenv %s %s=%s",
		cause.fact, environment.Name, v1alpha1.ResumeRotationsAnnotation, value)
	return c
}

// setCondition replaces a condition as it is, with the time that it names.
func setCondition(status *v1alpha1.TenantEnvironmentStatus, condition metav1.Condition) {
	meta.RemoveStatusCondition(&status.Conditions, condition.Type)
	meta.SetStatusCondition(&status.Conditions, condition)
}

// regressed lists the tenants of which the status speaks of a revision that the ledger does not know.
func (r *Reconciler) regressed(ctx context.Context, environment string, connection *Connection) ([]string, error) {
	fleet, err := r.observe(ctx, environment, connection)
	var regressed []string
	for _, m := range fleet {
		if seen := m.object.Status.Revision; seen > 0 && (m.tenant.Last == nil || m.tenant.Last.Revision < seen) {
			regressed = append(regressed, m.tenant.ID)
		}
	}
	return regressed, err
}
