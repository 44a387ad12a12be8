package tenantenvironment

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// announce sends an event, and writes a line into the log, where Ready has another reason than before. An error that no message explains is
// logged each time.
func (r *Reconciler) announce(ctx context.Context, before, after *v1alpha1.TenantEnvironment, err error) {
	was, is := readyOf(before), readyOf(after)
	if err != nil && is.Reason == reasons.EnvironmentNotReady {
		ctrl.LoggerFrom(ctx).Error(err, "The environment could not be checked")
	}
	if was.Status == is.Status && was.Reason == is.Reason {
		return
	}
	ctrl.LoggerFrom(ctx).Info("Looked", "ready", is.Status, "reason", is.Reason, "message", is.Message)
	if is.Status == metav1.ConditionTrue {
		r.Events.Eventf(after, nil, corev1.EventTypeNormal, v1alpha1.EventEnvironmentReady, "Look", "%s", v1alpha1.BoundNote(is.Message))
		return
	}
	r.Events.Eventf(after, nil, corev1.EventTypeWarning, v1alpha1.EventEnvironmentNotReady, "Look", "%s", v1alpha1.BoundNote(is.Message))
}

// readyOf is the condition Ready; the zero condition where there is none.
func readyOf(environment *v1alpha1.TenantEnvironment) metav1.Condition {
	if ready := meta.FindStatusCondition(environment.Status.Conditions, v1alpha1.ReadyCondition); ready != nil {
		return *ready
	}
	return metav1.Condition{}
}
