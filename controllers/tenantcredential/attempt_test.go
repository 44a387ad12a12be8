package tenantcredential

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

func TestStatedManager(t *testing.T) {
	at := func(seconds int) *metav1.Time {
		m := metav1.NewTime(now.Add(time.Duration(seconds) * time.Second))
		return &m
	}
	entry := func(manager, fields string, when *metav1.Time) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Time: when, FieldsV1: metav1.NewFieldsV1(fields)}
	}
	object := &v1alpha1.TenantCredential{ObjectMeta: metav1.ObjectMeta{UID: types.UID("u")}}
	require.Empty(t, statedManager(object, "f:rotationGeneration"))
	object.ManagedFields = []metav1.ManagedFieldsEntry{
		entry("flux", `{"f:spec":{"f:rotationGeneration":{}}}`, at(1)),
		entry("kubectl-patch", `{"f:spec":{"f:rotationGeneration":{}}}`, at(2)),
		entry("someone", `{"f:spec":{"f:suspend":{}}}`, at(3)),
		entry("gateway", `{"f:spec":{"f:rotationRequest":{}}}`, at(3)),
		entry("broken", `{`, at(4)),
	}
	require.Equal(t, "kubectl-patch", statedManager(object, "f:rotationGeneration"))
	require.Equal(t, "gateway", statedManager(object, "f:rotationRequest"))
}
