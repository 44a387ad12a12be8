package tenantcredential

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// announce sends events, on transitions only.
func (r *Reconciler) announce(s *scope) {
	r.announceExternalAccess(s)
	before, after := &s.before.Status, &s.object.Status
	if adopted(after) && !adopted(before) && s.deliversToFly() {
		r.tell(s, corev1.EventTypeWarning, v1alpha1.EventAdopted, "Adopt",
			"%s Nothing was changed.", messages{s, r.Namespace}.form())
	}
	if after.Revision > before.Revision && after.LastRotation != nil && before.ObservedGeneration >= 0 {
		r.tell(s, corev1.EventTypeNormal, v1alpha1.EventRotationCommitted, "Rotate",
			"%s (%s)", s.inForce(after.Revision), after.LastRotation.Cause)
	}
	if s.rolledNow {
		r.tell(s, corev1.EventTypeNormal, v1alpha1.EventRotationRolledOut, "Rotate",
			"%s; the former login is closed next%s", s.everybodyHas(after.Revision), s.warnings())
	}
	if completed(after) && !completed(before) && before.ObservedGeneration >= 0 {
		r.tell(s, corev1.EventTypeNormal, v1alpha1.EventRotationCompleted, "Rotate",
			"%s%s", s.everybodyHas(after.Revision), s.warnings())
	}
	if s.attempted && s.obstacle != nil && reasonOf(before) != reasonOf(after) {
		r.tell(s, corev1.EventTypeWarning, v1alpha1.EventRotationFailed, "Rotate", "%s", messages{s, r.Namespace}.obstacle())
	}
	if reasonOf(after) == v1alpha1.ReasonDriftDetected && reasonOf(before) != v1alpha1.ReasonDriftDetected {
		r.tell(s, corev1.EventTypeWarning, v1alpha1.EventDriftDetected, "Observe", "%s",
			meta.FindStatusCondition(after.Conditions, v1alpha1.ReadyCondition).Message)
	}
}

// tell sends an event.
func (r *Reconciler) tell(s *scope, kind, reason, action, format string, arguments ...any) {
	r.Events.Eventf(s.object, nil, kind, reason, action, "%s", v1alpha1.BoundNote(fmt.Sprintf(format, arguments...)))
}

// warnings are what the roll-out saw in the Machines' own configs that may hide the app's secret from the app.
func (s *scope) warnings() string {
	if s.progress == nil || len(s.progress.Warnings) == 0 {
		return ""
	}
	return ". Mind: " + strings.Join(s.progress.Warnings, "; ")
}

// adopted says that nothing has been rotated, and that nothing but the tenant's owner is waited for.
func adopted(status *v1alpha1.TenantCredentialStatus) bool {
	return reasonOf(status) == v1alpha1.ReasonAdopted || reasonOf(status) == v1alpha1.ReasonSecretNotDelivered
}

// completed says that the newest rotation of the status is done.
func completed(status *v1alpha1.TenantCredentialStatus) bool {
	return status.LastRotation != nil && status.LastRotation.CompletionTime != nil
}

func reasonOf(status *v1alpha1.TenantCredentialStatus) string {
	if ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition); ready != nil {
		return ready.Reason
	}
	return ""
}
