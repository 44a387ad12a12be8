package report

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// What an attempt leaves where a rollback of our server does not reach is not blamed on another client alone, while the row is open.
func TestWhatAnAttemptLeftIsNotBlamedOnOthers(t *testing.T) {
	s := resting()
	s.tenant.Open = &postgres.Rotation{Revision: 2, State: postgres.StateOpen}
	s.tenant.HashDigest, s.fly.Digest = "h2", new("f2")
	s.obstacle = pass.AsObstacle(pass.AtPostgres(failure.New(failure.Retry, reasons.ConnectionFailed, "No answer.")))
	s.report()
	for kind, what := range map[string]string{
		v1alpha1.HashSyncedCondition: "The hash in management.tenants", v1alpha1.FlySecretSyncedCondition: "Secret DATABASE_URL of app sp-7dd06cd6",
	} {
		require.Equal(t, what+" does not match revision 1; an uncommitted attempt at revision 2 left it, or another client changed it. The next attempt replaces it.",
			meta.FindStatusCondition(s.object.Status.Conditions, kind).Message)
	}

	s.tenant.Open = nil
	s.report()
	require.Contains(t, meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.HashSyncedCondition).Message, "The operator changed nothing.")
}

// Where nothing is delivered to Fly, the stored hash is all that an attempt has left.
func TestAnAttemptThatLeftTheHashHasChangedSomething(t *testing.T) {
	s := resting()
	s.object.Spec.Delivery = v1alpha1.Delivery{ConnectionSecret: &v1alpha1.ConnectionSecretDelivery{Name: "acme-db"}}
	s.tenant.Open = &postgres.Rotation{Revision: 2, State: postgres.StateOpen}
	s.obstacle = pass.AsObstacle(pass.AtPostgres(failure.New(failure.Retry, reasons.ConnectionFailed, "No answer.")))
	require.Contains(t, newWords(s.pass()).at(s.obstacle), "Nothing was changed.")
	s.tenant.HashDigest = "h2"
	require.Contains(t, newWords(s.pass()).at(s.obstacle), "The previous password is still the valid one; the stored hash is that of another password.")
}
