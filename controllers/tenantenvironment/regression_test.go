package tenantenvironment

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 5e8, time.UTC)

// annotation is what the message tells to write.
var annotation = regexp.MustCompile(v1alpha1.ResumeRotationsAnnotation + `=(\S+)$`)

// pauses writes the condition, as a look does, and returns its reason.
func pauses(environment *v1alpha1.TenantEnvironment, cause pauseCause, at time.Time) string {
	c := rotationsPaused(environment, cause, at)
	setCondition(&environment.Status, c)
	return c.Reason
}

// acknowledge does what the message says.
func acknowledge(t *testing.T, environment *v1alpha1.TenantEnvironment) {
	t.Helper()
	c := meta.FindStatusCondition(environment.Status.Conditions, v1alpha1.RotationsPausedCondition)
	require.Equal(t, metav1.ConditionTrue, c.Status)
	value := annotation.FindStringSubmatch(c.Message)
	require.NotNil(t, value, c.Message)
	environment.Annotations = map[string]string{v1alpha1.ResumeRotationsAnnotation: value[1]}
}

// A pause lasts until the very value is written that it names, stays acknowledged until its cause is gone, and the next pause wants an
// acknowledgement of its own.
func TestAPauseIsAcknowledgedOnce(t *testing.T) {
	environment := &v1alpha1.TenantEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}
	lost, none := pauseCause{reasons.LedgerRegressed, "lost"}, pauseCause{}
	require.Equal(t, reasons.NotPaused, pauses(environment, none, now))
	require.Equal(t, reasons.LedgerRegressed, pauses(environment, lost, now))
	require.Equal(t, reasons.LedgerRegressed, pauses(environment, lost, now.Add(time.Minute)))
	acknowledge(t, environment)
	require.Equal(t, reasons.Acknowledged, pauses(environment, lost, now.Add(2*time.Minute)))
	require.Equal(t, reasons.Acknowledged, pauses(environment, lost, now.Add(3*time.Minute)), "while it is made up for")
	require.Equal(t, reasons.NotPaused, pauses(environment, none, now.Add(4*time.Minute)))
	require.Equal(t, reasons.LedgerRegressed, pauses(environment, lost, now.Add(5*time.Minute)), "the next one")
}

// An acknowledged loss says nothing about another server, and an acknowledged server nothing about what it lost.
func TestAnotherServerIsAcknowledgedByItself(t *testing.T) {
	environment := &v1alpha1.TenantEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}
	first, second := postgres.Survey{SystemIdentifier: "1"}, postgres.Survey{SystemIdentifier: "2"}
	require.NoError(t, checkServer(environment, first))
	lost := pauseCause{reasons.LedgerRegressed, "lost"}
	require.Equal(t, reasons.LedgerRegressed, pauses(environment, lost, now))
	acknowledge(t, environment)
	require.Equal(t, reasons.Acknowledged, pauses(environment, lost, now))

	require.ErrorContains(t, checkServer(environment, second), "system identifier 2, and had 1 before")
	require.ErrorContains(t, checkServer(environment, second), "system identifier 2, and had 1 before")
	require.NoError(t, checkServer(environment, first), "back on the previous server")
	require.Error(t, checkServer(environment, second))
	acknowledge(t, environment)
	require.NoError(t, checkServer(environment, second))
	require.Equal(t, "2", environment.Status.SystemIdentifier)
	require.Equal(t, reasons.LedgerRegressed, pauses(environment, lost, now))
}
