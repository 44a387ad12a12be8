package connectionsecret

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Whoever has a say in admission may repeat what was sent: nothing of it is handed on.
func TestRefusalsRepeatNothing(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	echo := errors.New("denied: hunter2-hunter2")
	for err, want := range map[error]failure.Error{
		apierrors.NewForbidden(secrets, "x", echo):                {Class: failure.Stall, Reason: reasons.PermissionDenied},
		apierrors.NewConflict(secrets, "x", echo):                 {Class: failure.Retry, Reason: reasons.Superseded},
		apierrors.NewAlreadyExists(secrets, "hunter2-hunter2"):    {Class: failure.Retry, Reason: reasons.Superseded},
		apierrors.NewBadRequest("hunter2-hunter2"):                {Class: failure.Retry, Reason: reasons.Rejected},
		apierrors.NewInvalid(schema.GroupKind{}, "hunter2", nil):  {Class: failure.Retry, Reason: reasons.Rejected},
		apierrors.NewInternalError(echo):                          {Class: failure.Retry, Reason: reasons.ConnectionFailed},
		apierrors.NewTooManyRequests("hunter2-hunter2", 1):        {Class: failure.Retry, Reason: reasons.ConnectionFailed},
		context.DeadlineExceeded:                                  {Class: failure.Retry, Reason: reasons.ConnectionFailed},
		&apierrors.StatusError{ErrStatus: namespaceTerminating()}: {Class: failure.Wait, Reason: reasons.Rejected},
	} {
		got := failure.As(refused(err, "acme-db"))
		require.Equal(t, want.Class, got.Class, err)
		require.Equal(t, want.Reason, got.Reason, err)
		require.NotContains(t, got.Error(), "hunter2")
	}
	require.NoError(t, refused(nil, "acme-db"))
}

func namespaceTerminating() metav1.Status {
	return metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "hunter2",
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}}}
}
