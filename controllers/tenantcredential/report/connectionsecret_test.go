package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// restingBySecret is resting, for a tenant whose credentials go into a Secret alone.
func restingBySecret() *situation {
	s := resting()
	s.object.Spec.Delivery = v1alpha1.Delivery{ConnectionSecret: &v1alpha1.ConnectionSecretDelivery{Name: "acme-db"}}
	s.tenant.Last.FlyDigest, s.tenant.Last.FlyVersion = "", 0
	s.deliver()
	s.fly = nil
	s.secret = &pass.SecretAnswer{State: pass.SecretCurrent, Revision: 1}
	return s
}

func TestReportOfConnectionSecret(t *testing.T) {
	taken := pass.AsObstacle(pass.AtSecret(failure.New(failure.Stall, reasons.SecretNotOwned, "acme-db")))
	alsoFly := func(s *situation) {
		s.object.Spec.Delivery.Fly = &v1alpha1.FlyDelivery{Variable: "DATABASE_URL"}
		s.fly = &pass.FlyAnswer{Digest: new("")}
		s.deliver()
	}
	tests := []struct {
		name    string
		given   func(*situation)
		ready   string // status/reason
		beside  string // type/reason of Reconciling or Stalled
		message string
		secret  string // status/reason of ConnectionSecretSynced
		says    string // in its message
		kstatus status.Status
	}{
		{"rotated", func(*situation) {}, "True/Rotated", "", "Credentials rotated (revision 1). Retrieve via: kubectl -n tenants get secret acme-db -o yaml",
			"True/Verified", "Secret tenants/acme-db has revision 1.", status.CurrentStatus},
		{"rotated, with Fly", alsoFly, "True/Rotated", "", "fly secrets list -a sp-7dd06cd6", "True/Verified", "", status.CurrentStatus},
		{"adopted", func(s *situation) {
			s.tenant.Last, s.tenant.Claim.Generation, s.object.Spec.RotationGeneration = nil, 0, nil
			s.tenant.Claim.VerifierDigest, s.tenant.Claim.HashDigest = "v1", "h1"
			s.secret = &pass.SecretAnswer{State: pass.SecretAbsent}
		}, "False/SecretNotDelivered", "Stalled/SecretNotDelivered", "A Pod that mounts the Secret does not start. Nothing was changed. To fix: kubectl -n tenants patch tcred acme",
			"False/SecretNotDelivered", `-p '{"spec":{"rotationGeneration":1}}'`, status.FailedStatus},
		{"gone, and suspended", func(s *situation) {
			s.object.Spec.Suspend, s.secret = true, &pass.SecretAnswer{State: pass.SecretAbsent}
		}, "False/Suspended", "", "A rotation is due (DeliveryChanged)", "False/SecretNotFound", "no other place holds its password. A new password is due.", status.InProgressStatus},
		{"edited", func(s *situation) { s.secret.State = pass.SecretOther }, "False/DriftDetected", "Stalled/DriftDetected",
			"Secret tenants/acme-db does not match revision 1; another client changed it.", "False/DriftDetected", "raise spec.rotationGeneration to 2", status.FailedStatus},
		{"another client's", func(s *situation) { s.secret, s.obstacle = nil, taken }, "False/SecretNotOwned", "Stalled/SecretNotOwned",
			"Nothing was changed. To fix: write another name into spec.delivery.connectionSecret; or, if no consumer needs the Secret: kubectl -n tenants delete secret acme-db", "False/SecretNotOwned", "", status.FailedStatus},
		{"no right to it", func(s *situation) {
			s.secret = nil
			s.obstacle = pass.AsObstacle(pass.AtSecret(failure.New(failure.Stall, reasons.PermissionDenied, "acme-db")))
		}, "False/PermissionDenied", "Stalled/PermissionDenied", "To fix: kubectl -n tenants create rolebinding tenant-credential-operator-connection-secret --clusterrole=tenant-credential-operator-connection-secret --serviceaccount=system:tenant-credential-operator", "False/PermissionDenied", "", status.FailedStatus},
		{"committed, and not promoted yet", func(s *situation) {
			s.tenant.Last.State, s.secret.State = postgres.StateCommitted, pass.SecretOther
			s.obstacle = taken
		}, "False/SecretNotOwned", "Stalled/SecretNotOwned", "Revision 1 is in force in PostgreSQL. Consumers of Secret tenants/acme-db have the previous password, which PostgreSQL refuses.",
			"False/SecretNotOwned", "", status.FailedStatus},
		{"the same under Overlap", func(s *situation) {
			s.tenant.Last.State, s.secret.State, s.tenant.FormerLogin = postgres.StateCommitted, pass.SecretOther, "tenant_7dd06cd6_b"
			s.obstacle = taken
		}, "False/SecretNotOwned", "Stalled/SecretNotOwned", "have the previous login, which stays open until the Secret is updated.", "False/SecretNotOwned", "", status.FailedStatus},
		{"trouble while the Machines are moved", func(s *situation) {
			alsoFly(s)
			s.tenant.Last.State, s.secret = postgres.StateCommitted, &pass.SecretAnswer{Trouble: taken}
			s.machines = &fly.Progress{Total: 3, Updated: 1}
		}, "False/Progressing", "Reconciling/RollingOut", "1 of 3 Machines run with it", "False/SecretNotOwned",
			"Revision 1 is in force in PostgreSQL and at Fly. Consumers of Secret tenants/acme-db have the previous password", status.InProgressStatus},
		{"the previous login is kept for consumers that were not restarted", func(s *situation) {
			s.tenant.Last.State, s.tenant.FormerLogin = postgres.StateRolled, "tenant_7dd06cd6_b"
			s.environment.Spec.Rotation.OverlapGracePeriod = "15m"
		}, "False/Progressing", "Reconciling/Retiring", "Restart the workloads that mount this Secret; the previous login is closed within 15m.", "True/Verified", "", status.InProgressStatus},
		{"PostgreSQL's answer to COMMIT was lost", func(s *situation) {
			s.tenant.Open = &postgres.Rotation{Revision: 2, State: postgres.StateOpen}
			s.obstacle = pass.AsObstacle(pass.AtPostgres(failure.New(failure.Unknown, reasons.OutcomeUnknown, "No answer to COMMIT.")))
		}, "False/OutcomeUnknown", "Reconciling/RetryingAfterFailure", "The new password may or may not be in force", "True/Verified", "", status.InProgressStatus},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := restingBySecret()
			test.given(s)
			s.report()
			requireWellFormed(t, s)
			ready := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.ReadyCondition)
			secret := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.ConnectionSecretSyncedCondition)
			require.Equal(t, test.ready, string(ready.Status)+"/"+ready.Reason)
			require.Contains(t, ready.Message, test.message)
			require.Equal(t, test.beside, beside(s.object.Status.Conditions))
			require.Equal(t, test.secret, string(secret.Status)+"/"+secret.Reason)
			require.Contains(t, secret.Message, test.says)
			require.Equal(t, test.kstatus, kstatusOf(t, s.object))
			if !pass.ToFly(s.pass().In) {
				require.Nil(t, s.object.Status.Fly)
				require.NotContains(t, ready.Message, "Fly", "of a tenant that has nothing to do with it")
			}
		})
	}
}

// The previous login has its whole grace: where no session of that login is left, consumers may still have its password.
func TestPreviousLoginIsKeptForWhatMountsTheSecret(t *testing.T) {
	s := restingBySecret()
	s.environment.Spec.Rotation.OverlapGracePeriod = "15m"
	for _, policy := range []string{postgres.SessionsKept, postgres.SessionsTerminated} {
		s.tenant.Last.State, s.tenant.Last.SessionPolicy = postgres.StateRolled, policy
		require.Equal(t, postgres.Retirement{Grace: 15 * time.Minute, EndSessions: true}, pass.Retirement(s.pass().In, s.tenant), policy)
	}
	s.tenant.Last.SessionPolicy = postgres.SessionsCompromised
	require.Zero(t, pass.Retirement(s.pass().In, s.tenant).Grace, "a password that another client may know")
}
