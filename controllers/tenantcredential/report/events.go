package report

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// Event is one event about the object.
type Event struct {
	// Type is corev1.EventTypeNormal or EventTypeWarning.
	Type, Reason, Action, Note string
}

func newEvent(kind, reason, action, note string) Event {
	return Event{kind, reason, action, v1alpha1.BoundNote(note)}
}

// events are what has changed from one status to the next, and what a step has found.
func (w words) events(before, after *v1alpha1.TenantCredentialStatus) []Event {
	var events []Event
	say := func(kind, reason, action, format string, arguments ...any) {
		events = append(events, newEvent(kind, reason, action, fmt.Sprintf(format, arguments...)))
	}
	if len(w.Out.LeftOut) > 0 {
		say(corev1.EventTypeWarning, v1alpha1.EventSettingsLeftOut, "Rotate",
			"Login %s does not have these settings of role %s: %s. To copy them, as a superuser: SELECT tenant_credentials.prepare_overlap(%s)",
			w.Out.Attempt.Login, w.tenant.Role, strings.Join(w.Out.LeftOut, ", "), postgres.Literal(w.tenant.Role))
	}
	events = append(events, w.accessEvents(before, after)...)
	if adopted(after) && !adopted(before) && pass.ToFly(w.In) {
		say(corev1.EventTypeWarning, v1alpha1.EventAdopted, "Adopt", "%s Nothing was changed.", w.form())
	}
	isNew := after.Revision > before.Revision && after.LastRotation != nil
	completed := Completed(after) && (isNew || !Completed(before))
	if isNew && !completed { // one that is completed at once is told of once
		say(corev1.EventTypeNormal, v1alpha1.EventRotationCommitted, "Rotate", "%s (%s)", w.inForce(after.Revision), after.LastRotation.Cause)
	}
	if w.Out.Rolled {
		say(corev1.EventTypeNormal, v1alpha1.EventRotationRolledOut, "Rotate",
			"%s; the previous login is closed next%s", w.consumersHave(after.Revision), w.warnings())
	}
	if completed {
		say(corev1.EventTypeNormal, v1alpha1.EventRotationCompleted, "Rotate", "%s%s", w.consumersHave(after.Revision), w.warnings())
	}
	if w.Out.Attempt.Made && w.obstacle != nil && reasonOf(before) != reasonOf(after) {
		say(corev1.EventTypeWarning, v1alpha1.EventRotationFailed, "Rotate", "%s", w.at(w.obstacle))
	}
	if reasonOf(after) == reasons.DriftDetected && reasonOf(before) != reasons.DriftDetected {
		say(corev1.EventTypeWarning, v1alpha1.EventDriftDetected, "Observe", "%s", meta.FindStatusCondition(after.Conditions, v1alpha1.ReadyCondition).Message)
	}
	return events
}

// accessEvents say when external access begins, and when it has ended.
func (w words) accessEvents(before, after *v1alpha1.TenantCredentialStatus) []Event {
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ExternalAccessCondition)
	is := meta.FindStatusCondition(after.Conditions, v1alpha1.ExternalAccessCondition)
	if is == nil || was != nil && was.Reason == is.Reason {
		return nil
	}
	switch is.Reason {
	case reasons.Enabled:
		return []Event{newEvent(corev1.EventTypeNormal, v1alpha1.EventExternalAccessEnabled, "ExternalAccess", is.Message)}
	case reasons.Disabled, reasons.NotOffered:
		if was != nil && (was.Reason == reasons.Enabled || was.Reason == reasons.Disabling || was.Reason == reasons.NotEnforced) {
			return []Event{newEvent(corev1.EventTypeNormal, v1alpha1.EventExternalAccessDisabled, "ExternalAccess", w.accessDisabled())}
		}
	}
	return nil
}

// warnings are what the rollout saw in the Machines' own configs that may hide the app's secret from the app.
func (w words) warnings() string {
	if w.seen.Machines == nil || len(w.seen.Machines.Warnings) == 0 {
		return ""
	}
	return ". Warning: " + strings.Join(w.seen.Machines.Warnings, "; ")
}

// adopted says that nothing has been rotated, and that nothing but the tenant's owner is waited for.
func adopted(status *v1alpha1.TenantCredentialStatus) bool {
	return reasonOf(status) == reasons.Adopted || reasonOf(status) == reasons.SecretNotDelivered
}

// Completed says that the newest rotation of the status is done.
func Completed(status *v1alpha1.TenantCredentialStatus) bool {
	return status.LastRotation != nil && status.LastRotation.CompletionTime != nil
}

func reasonOf(status *v1alpha1.TenantCredentialStatus) string {
	if ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition); ready != nil {
		return ready.Reason
	}
	return ""
}
