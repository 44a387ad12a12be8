package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// situation is a pass that has come to its end. What its phase is, follows from it.
type situation struct {
	object      *v1alpha1.TenantCredential
	environment *v1alpha1.TenantEnvironment
	tenant      *postgres.Tenant
	fly         *pass.FlyAnswer
	secret      *pass.SecretAnswer
	machines    *fly.Progress
	left        bool // sessions of before
	obstacle    *pass.Obstacle
	unseen      *pass.Obstacle
	wait        rotation.Wait
	attempt     pass.Attempt
	connected   bool
	problem     string // of external access
	now         time.Time
}

func (s *situation) pass() Pass {
	in := pass.Input{Object: s.object, Environment: s.environment, Now: s.now, Connected: s.connected, ExternalProblem: s.problem}
	out := pass.Outcome{Obstacle: s.obstacle, Unseen: s.unseen, Wait: s.wait, Attempt: s.attempt,
		Seen: pass.Observed{Tenant: s.tenant, Fly: s.fly, Secret: s.secret, Machines: s.machines, SessionsLeft: s.left, Begun: pass.HasFinalizer(s.object)}}
	return Pass{In: in, Out: out, State: pass.Assess(in, out), Namespace: "system", Ended: s.now}
}

// report leaves the status in the object.
func (s *situation) report() Result {
	result := Report(s.pass())
	s.object.Status = result.Status
	return result
}

// resting is a pass over a tenant whose first rotation is completed and to whom nothing is due.
func resting() *situation {
	asked := int64(1)
	object := &v1alpha1.TenantCredential{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TenantCredential"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: "acme", UID: "uid-1", Generation: 3},
		Spec: v1alpha1.TenantCredentialSpec{TenantID: "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01", RotationGeneration: &asked,
			EnvironmentRef: v1alpha1.EnvironmentReference{Name: "sandbox"}},
	}
	environment := &v1alpha1.TenantEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "sandbox"}}
	environment.Spec.MaxConcurrent = 5
	environment.Spec.Postgres.Internal = v1alpha1.PostgresAddress{Host: "db", Port: 5432}
	environment.Spec.Management = v1alpha1.ManagementTable{Schema: "management", Table: "tenants"}
	environment.Spec.Fly.TokenSecretRef = v1alpha1.TokenSecretReference{Name: "fly-sandbox", Key: "token"}
	s := &situation{
		object: object, now: now, environment: environment, connected: true,
		tenant: &postgres.Tenant{
			Found: true, RoleExists: true, Role: "tenant_7dd06cd6", Login: "tenant_7dd06cd6", Database: "site_7dd06cd6", FlyApp: "sp-7dd06cd6",
			VerifierDigest: "v1", HashDigest: "h1",
			Claim: &postgres.Claim{UID: "uid-1", Generation: 1},
			Last: &postgres.Rotation{Revision: 1, State: postgres.StateCompleted, Generation: 1, VerifierDigest: "v1", HashDigest: "h1",
				FlyDigest: "f1", FlyVersion: 1 << 60, CommittedAt: now.Add(-time.Hour), LoginCheckedAt: now.Add(-time.Hour), CompletedAt: now.Add(-time.Minute)},
		},
		fly: &pass.FlyAnswer{Digest: new("f1")},
	}
	s.deliver()
	return s
}

// deliver has the last rotation be for the places that the spec names.
func (s *situation) deliver() {
	s.tenant.Last.DeliveryDigest = pass.Destination(s.pass().In, s.tenant).Digest()
}

// raised asks for one more rotation.
func (s *situation) raised() { s.object.Spec.RotationGeneration = new(int64(2)) }

// What a person and a pipeline read, by situation.
func TestReport(t *testing.T) {
	tests := []struct {
		name    string
		given   func(*situation)
		ready   string // status/reason
		beside  string // type/reason of Reconciling or Stalled
		message string
		kstatus status.Status
	}{
		{"rotated", func(*situation) {}, "True/Rotated", "", "Credentials rotated (revision 1, secret digest f1). Retrieve via: fly secrets list -a sp-7dd06cd6", status.CurrentStatus},
		{"adopted", func(s *situation) {
			s.tenant.Last, s.tenant.Claim.Generation, s.object.Spec.RotationGeneration = nil, 0, nil
			s.tenant.Claim.VerifierDigest, s.tenant.Claim.HashDigest = "v1", "h1"
		}, "True/Adopted", "", "To rotate the password: raise spec.rotationGeneration to 1.", status.CurrentStatus},
		{"suspended", func(s *situation) {
			s.object.Spec.Suspend = true
			s.raised()
		}, "False/Suspended", "", "spec.suspend is true", status.InProgressStatus},
		{"rolling out", func(s *situation) {
			s.tenant.Last.State = postgres.StateCommitted
			s.machines = &fly.Progress{Total: 3, Updated: 1}
		}, "False/Progressing", "Reconciling/RollingOut", "Revision 1 is in force in PostgreSQL and at Fly; 1 of 3 Machines run with it.", status.InProgressStatus},
		{"completed, and raised meanwhile", func(s *situation) {
			s.raised()
		}, "False/Progressing", "Reconciling/Rotating", "Revision 1 is in force. The due rotation (GenerationRaised) starts next; at most 5 rotations of an environment run at once.", status.InProgressStatus},
		{"adopted, and waits for its turn", func(s *situation) {
			s.tenant.Last, s.tenant.Claim.VerifierDigest, s.tenant.Claim.HashDigest = nil, "v1", "h1"
			s.raised()
		}, "False/Progressing", "Reconciling/Rotating", "The present password is in force. The due rotation (GenerationRaised) starts next", status.InProgressStatus},
		{"lost in a failover, and waits for its turn", func(s *situation) {
			s.object.Status.Revision = 3
		}, "False/Progressing", "Reconciling/Rotating", "PostgreSQL lost revision 3 of this tenant (its ledger has revision 1) and may refuse the app. The due rotation (LedgerRegressed) starts next", status.InProgressStatus},
		{"password changed by another client", func(s *situation) { s.tenant.VerifierDigest = "v9" },
			"False/DriftDetected", "Stalled/DriftDetected", "raise spec.rotationGeneration to 2", status.FailedStatus},
		{"hash changed by another client", func(s *situation) { s.tenant.HashDigest = "" },
			"False/DriftDetected", "Stalled/DriftDetected", "The hash in management.tenants does not match revision 1", status.FailedStatus},
		{"secret changed by another client", func(s *situation) { s.fly.Digest = new("f9") },
			"False/DriftDetected", "Stalled/DriftDetected", "Secret DATABASE_URL of app sp-7dd06cd6 does not match revision 1", status.FailedStatus},
		{"token refused", func(s *situation) {
			s.obstacle = pass.AsObstacle(pass.AtFlySecret(failure.New(failure.Retry, reasons.AuthenticationFailed, "401")))
		}, "False/AuthenticationFailed", "Reconciling/RetryingAfterFailure", "Fly rejected the token (HTTP 401). Nothing was changed. To fix: replace key token in Secret system/fly-sandbox.", status.InProgressStatus},
		{"Fly's answer lost", func(s *situation) {
			s.tenant.Open = &postgres.Rotation{Revision: 2, State: postgres.StateOpen}
			s.obstacle = pass.AsObstacle(pass.AtFlySecret(failure.New(failure.Unknown, reasons.OutcomeUnknown, "no answer within 15s")))
		}, "False/OutcomeUnknown", "Reconciling/RetryingAfterFailure", "do not deploy app sp-7dd06cd6 until this object is Ready", status.InProgressStatus},
		{"Postgres down", func(s *situation) {
			s.tenant = nil
			s.obstacle = pass.AsObstacle(pass.AtPostgres(failure.New(failure.Retry, reasons.ConnectionFailed, "Connection refused.")))
		}, "False/EnvironmentNotReady", "Reconciling/RetryingAfterFailure", "Connection refused. Nothing was changed.", status.InProgressStatus},
		{"the new login fails", func(s *situation) {
			unprovedSince(s)
			s.obstacle = pass.AsObstacle(pass.AtPostgres(failure.New(failure.Retry, reasons.VerificationFailed, "SQLSTATE 58P01 (system error).")))
		}, "False/VerificationFailed", "Reconciling/RetryingAfterFailure", "failed: SQLSTATE 58P01 (system error). Revision 1 is in force in PostgreSQL and at Fly; no Machine was changed.", status.InProgressStatus},
		{"the new login could not be tried", func(s *situation) {
			unprovedSince(s)
			s.obstacle = pass.AsObstacle(pass.AtPostgres(failure.New(failure.Retry, reasons.ConnectionFailed, "The tenant's login could not be tried.")))
		}, "False/EnvironmentNotReady", "Reconciling/RetryingAfterFailure", "The tenant's login could not be tried. Revision 1 is in force in PostgreSQL and at Fly; no Machine was changed.", status.InProgressStatus},
		{"the new login is not tried, as Fly does not answer", func(s *situation) {
			unprovedSince(s)
			s.obstacle = pass.AsObstacle(pass.AtFlySecret(failure.New(failure.Retry, reasons.ConnectionFailed, "no answer")))
		}, "False/ConnectionFailed", "Reconciling/RetryingAfterFailure", "Revision 1 is in force in PostgreSQL and at Fly; no Machine was changed.", status.InProgressStatus},
		{"Machine does not come up", func(s *situation) {
			s.tenant.Last.State = postgres.StateCommitted
			s.obstacle = pass.AsObstacle(pass.AtMachines(failure.New(failure.Stall, reasons.MachineUnhealthy, "Machine 42 exits again and again")))
		}, "False/MachineUnhealthy", "Stalled/RolloutHalted", "Machine 42 exits again and again. Revision 1 is in force", status.FailedStatus},
		{"password changed by another client during the rollout", driftedDuringRollOut,
			"False/DriftDetected", "Stalled/DriftDetected", "not every Machine runs with that revision. To fix: raise spec.rotationGeneration to 2, which sets a new password everywhere.", status.FailedStatus},
		{"the same, and the object is deleted", func(s *situation) {
			driftedDuringRollOut(s)
			s.object.DeletionTimestamp, s.object.Finalizers = new(metav1.NewTime(now)), []string{v1alpha1.Finalizer}
		}, "False/DriftDetected", "Stalled/DriftDetected", `kubectl -n tenants patch tcred acme --type merge -p '{"metadata":{"finalizers":null}}'`, status.TerminatingStatus},
		{"lost in a failover, and the environment is paused", func(s *situation) {
			s.object.Status.Revision = 3
			s.object.Status.RotationGeneration = 2
			s.obstacle = pass.AsObstacle(pass.InKubernetes(failure.Stall, reasons.RotationsPaused, ""))
		}, "False/RotationsPaused", "Stalled/RotationsPaused", "PostgreSQL lost revision 3 of this tenant (its ledger has revision 1) and may refuse the app. Rotations of TenantEnvironment sandbox are paused. Nothing was changed.", status.FailedStatus},
		{"namespace not bound", func(s *situation) {
			s.tenant = nil
			s.obstacle = pass.AsObstacle(pass.InKubernetes(failure.Stall, reasons.TenantNotBound, ""))
		}, "False/TenantNotBound", "Stalled/TenantNotBound", "kubectl label namespace tenants tenant.credentials.systemprompt.io/7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01=allowed", status.FailedStatus},
		{"accepted from outside", func(s *situation) { asksForAccess(s, postgres.ExternalAccess{Member: true, Noted: true}) },
			"True/Rotated", "", "Credentials rotated", status.CurrentStatus},
		{"external access is being ended", func(s *situation) {
			s.tenant.External = postgres.ExternalAccess{Unswept: true, Noted: true}
		}, "False/Progressing", "Reconciling/Disabling", "Role tenant_7dd06cd6 no longer has external access. External sessions are being ended", status.InProgressStatus},
		{"the same, suspended with a rotation due", func(s *situation) {
			s.tenant.External, s.object.Spec.Suspend = postgres.ExternalAccess{Unswept: true, Noted: true}, true
			s.raised()
		}, "False/Progressing", "Reconciling/Disabling", "Role tenant_7dd06cd6 no longer has external access.", status.InProgressStatus},
		{"external access has ended", func(s *situation) { s.tenant.External = postgres.ExternalAccess{Noted: true} },
			"True/Rotated", "", "Credentials rotated", status.CurrentStatus},
		{"the environment has no external address", func(s *situation) {
			asksForAccess(s, postgres.ExternalAccess{})
			s.environment.Spec.Postgres.External = nil
		}, "False/NotOffered", "Stalled/NotOffered", `To fix: set the address in spec.postgres.external of the environment; or kubectl -n tenants patch tcred acme --type merge -p '{"spec":{"externalAccess":null}}'`, status.FailedStatus},
		{"pg_hba.conf does not require the group", func(s *situation) {
			asksForAccess(s, postgres.ExternalAccess{Member: true, Noted: true})
			s.problem = "pg_hba.conf has no such rule."
		}, "False/NotEnforced", "Stalled/NotEnforced", "pg_hba.conf has no such rule.", status.FailedStatus},
		{"another role has granted the group", func(s *situation) {
			s.tenant.External = postgres.ExternalAccess{Member: true}
			s.obstacle = pass.AsObstacle(pass.AtExternalAccess(failure.New(failure.Stall, reasons.RoleNotAllowed, "Role x is a member: REVOKE g FROM x")))
		}, "False/RoleNotAllowed", "Stalled/RoleNotAllowed", "Role x is a member: REVOKE g FROM x. Nothing was changed. Retrying automatically.", status.FailedStatus},
		{"app missing, as while onboarding", func(s *situation) { missingApp(s, time.Minute) },
			"False/FlyAppNotFound", "Reconciling/RetryingAfterFailure", "fly apps create sp-7dd06cd6", status.InProgressStatus},
		{"app missing for longer than onboarding takes", func(s *situation) { missingApp(s, 11*time.Minute) },
			"False/FlyAppNotFound", "Stalled/FlyAppNotFound", "fly apps create sp-7dd06cd6", status.FailedStatus},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := resting()
			test.given(s)
			s.report()
			requireWellFormed(t, s)
			ready := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.ReadyCondition)
			require.Equal(t, test.ready, string(ready.Status)+"/"+ready.Reason)
			require.Contains(t, ready.Message, test.message)
			require.Equal(t, test.beside, beside(s.object.Status.Conditions))
			require.Equal(t, test.kstatus, kstatusOf(t, s.object))
		})
	}
}

// A status that knows more than the ledger is the only witness of what was lost.
func TestStatusKeepsWhatTheLedgerLost(t *testing.T) {
	s := resting()
	s.object.Status.Revision = 3
	s.report()
	require.EqualValues(t, 3, s.object.Status.Revision)
	for _, kind := range []string{v1alpha1.PostgresSyncedCondition, v1alpha1.HashSyncedCondition} {
		c := meta.FindStatusCondition(s.object.Status.Conditions, kind)
		require.Equal(t, metav1.ConditionFalse, c.Status)
		require.Equal(t, reasons.LedgerRegressed, c.Reason)
	}
}

func unprovedSince(s *situation) {
	s.tenant.Last.State, s.tenant.Last.LoginCheckedAt = postgres.StateCommitted, time.Time{}
}

func driftedDuringRollOut(s *situation) {
	s.tenant.Last.State, s.tenant.VerifierDigest = postgres.StateCommitted, "v9"
	s.obstacle = pass.AsObstacle(pass.AtPostgres(failure.New(failure.Stall, reasons.DriftDetected, "")))
}

func missingApp(s *situation, since time.Duration) {
	s.fly = nil
	s.object.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionFalse,
		Reason: reasons.FlyAppNotFound, LastTransitionTime: metav1.NewTime(now.Add(-since))}}
	s.obstacle = pass.AsObstacle(pass.AtFlySecret(failure.New(failure.Wait, reasons.FlyAppNotFound, "404")))
}

// A condition whose part a pass could not see says for which generation of the spec it was seen: whoever waits for a change to be done is not told that it is.
func TestWhatIsNotSeenStaysAboutItsGeneration(t *testing.T) {
	s := resting()
	s.report()
	s.object.Generation++
	s.tenant, s.fly = nil, nil
	s.obstacle = pass.AsObstacle(pass.AtPostgres(failure.New(failure.Retry, reasons.ConnectionFailed, "refused")))
	s.report()
	for kind, generation := range map[string]int64{v1alpha1.ReadyCondition: 4, v1alpha1.PostgresSyncedCondition: 4, v1alpha1.HashSyncedCondition: 3, v1alpha1.FlySecretSyncedCondition: 3} {
		require.Equal(t, generation, meta.FindStatusCondition(s.object.Status.Conditions, kind).ObservedGeneration, kind)
	}
}

// Whatever a pass met: never Ready while something disagrees, and never an unready object of which it is unknown whether to wait.
func TestReportInvariants(t *testing.T) {
	flag := rapid.Bool()
	reasons := rapid.SampledFrom([]failure.Reason{reasons.ConnectionFailed, reasons.Busy, reasons.TenantNotFound, reasons.RoleNotAllowed,
		reasons.FlyAppNotFound, reasons.RateLimited, reasons.OutcomeUnknown, reasons.MachineUnhealthy, reasons.VerificationFailed, reasons.Unexpected})
	classes := rapid.SampledFrom([]failure.Class{failure.Wait, failure.Retry, failure.Stall, failure.Unknown})
	rapid.Check(t, func(t *rapid.T) {
		s := resting()
		if flag.Draw(t, "password drifted") {
			s.tenant.VerifierDigest = "v9"
		}
		if flag.Draw(t, "hash drifted") {
			s.tenant.HashDigest = "h9"
		}
		if flag.Draw(t, "secret drifted") {
			s.fly.Digest = new("f9")
		}
		if flag.Draw(t, "open") {
			s.tenant.Open = &postgres.Rotation{Revision: 2, State: postgres.StateOpen}
		}
		if flag.Draw(t, "rolling") {
			s.tenant.Last.State = postgres.StateCommitted
		}
		if flag.Draw(t, "unproved") {
			s.tenant.Last.LoginCheckedAt = time.Time{}
		}
		if flag.Draw(t, "obstacle") {
			f := failure.New(classes.Draw(t, "class"), reasons.Draw(t, "reason"), "detail")
			s.obstacle = pass.AsObstacle(pass.AtFlySecret(f))
			if flag.Draw(t, "at Postgres") {
				s.obstacle = pass.AsObstacle(pass.AtPostgres(f))
			}
		}
		agrees := s.obstacle == nil && !s.tenant.Unfinished() && !s.tenant.PasswordDrifted() && !s.tenant.HashDrifted() && !(*s.fly.Digest != "f1")
		s.report()
		requireWellFormed(t, s)
		if s.tenant.Last.State == postgres.StateCommitted && s.tenant.Last.LoginCheckedAt.IsZero() && meta.IsStatusConditionTrue(s.object.Status.Conditions, v1alpha1.PostgresSyncedCondition) {
			t.Fatal("the login is called verified, and nothing has proved it")
		}
		if meta.IsStatusConditionTrue(s.object.Status.Conditions, v1alpha1.ReadyCondition) != agrees {
			t.Fatalf("Ready does not say what is so: %+v", s.object.Status.Conditions)
		}
	})
}

// The Machines of a rotation are counted from its commit on; those of the one before say nothing of it.
func TestMachinesAreCountedFromTheCommitOn(t *testing.T) {
	committed := func(revision int64) *situation {
		s := resting()
		s.object.Status.Revision, s.object.Status.Fly = 1, &v1alpha1.FlyStatus{AppName: "sp-7dd06cd6", Machines: &v1alpha1.MachinesStatus{Total: 2, Updated: 2}}
		s.tenant.Last.Revision, s.tenant.Last.State = revision, postgres.StateCommitted
		s.attempt = pass.Attempt{Made: true, Before: &fly.Progress{Total: 3, OnNextStart: 1}}
		return s
	}
	s := committed(2)
	s.report()
	require.Equal(t, &v1alpha1.MachinesStatus{Total: 3, OnNextStart: 1}, s.object.Status.Fly.Machines)
	s = committed(1)
	s.report()
	require.Equal(t, &v1alpha1.MachinesStatus{Total: 2, Updated: 2}, s.object.Status.Fly.Machines, "an attempt that came to nothing")
}

// A pass that sees what the last one saw must not change a single byte of status, or every look would be a write.
func TestReportIsStable(t *testing.T) {
	s := resting()
	s.report()
	again := resting()
	again.now = now.Add(time.Hour)
	again.object.Status = *s.object.Status.DeepCopy()
	again.report()
	require.Equal(t, s.object.Status, again.object.Status)
}

type failer interface {
	require.TestingT
	Helper()
}

func requireWellFormed(t failer, s *situation) {
	t.Helper()
	conditions := s.object.Status.Conditions
	for kind, present := range map[string]bool{
		v1alpha1.ReadyCondition: true, v1alpha1.PostgresSyncedCondition: true, v1alpha1.HashSyncedCondition: true,
		v1alpha1.FlySecretSyncedCondition: pass.ToFly(s.pass().In), v1alpha1.FlyMachinesUpdatedCondition: pass.ToFly(s.pass().In),
		v1alpha1.ConnectionSecretSyncedCondition: pass.NamesSecret(s.pass().In),
	} {
		require.Equal(t, present, meta.FindStatusCondition(conditions, kind) != nil, kind)
	}
	for _, c := range conditions {
		require.Equal(t, s.object.Generation, c.ObservedGeneration, c.Type)
		require.NotEmpty(t, c.Reason, c.Type)
		require.NotEmpty(t, c.Message, c.Type)
		require.False(t, c.LastTransitionTime.IsZero(), c.Type)
	}
	ready := meta.IsStatusConditionTrue(conditions, v1alpha1.ReadyCondition)
	reconciling := meta.FindStatusCondition(conditions, v1alpha1.ReconcilingCondition) != nil
	stalled := meta.FindStatusCondition(conditions, v1alpha1.StalledCondition) != nil
	require.False(t, reconciling && stalled, "Reconciling and Stalled at once")
	held := meta.FindStatusCondition(conditions, v1alpha1.ReadyCondition).Reason == reasons.Suspended
	require.Equal(t, !ready && !held, reconciling || stalled, "neither ready nor waiting for anything")
}

func beside(conditions []metav1.Condition) string {
	for _, kind := range []string{v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil {
			return c.Type + "/" + c.Reason
		}
	}
	return ""
}

func kstatusOf(t *testing.T, object *v1alpha1.TenantCredential) status.Status {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	require.NoError(t, err)
	result, err := status.Compute(&unstructured.Unstructured{Object: content})
	require.NoError(t, err)
	return result.Status
}

// The status of a tenant at rest stands while its environment cannot be asked. Whatever is due, half done, or wrong at the tenant is said.
func TestRestingInAnOutage(t *testing.T) {
	outage := func(reason failure.Reason) *pass.Obstacle {
		return pass.AsObstacle(pass.AtPostgres(failure.New(failure.Retry, reason, "No answer.")))
	}
	ready := func(s *situation, status metav1.ConditionStatus, generation int64) {
		s.object.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: status, ObservedGeneration: generation}}
	}
	for name, test := range map[string]struct {
		given func(*situation)
		rests bool
	}{
		"at rest":                       {func(*situation) {}, true},
		"the environment is not ready":  {func(s *situation) { s.obstacle = outage(reasons.EnvironmentNotReady) }, true},
		"the operator's login is wrong": {func(s *situation) { s.obstacle = outage(reasons.AuthenticationFailed) }, true},
		"an edited spec":                {func(s *situation) { ready(s, metav1.ConditionTrue, s.object.Generation-1) }, false},
		"not Ready before":              {func(s *situation) { ready(s, metav1.ConditionFalse, s.object.Generation) }, false},
		"suspended": {func(s *situation) {
			ready(s, metav1.ConditionFalse, s.object.Generation)
			s.object.Status.Conditions[0].Reason = reasons.Suspended
		}, true},
		"never looked at":           {func(s *situation) { s.object.Status.Conditions = nil }, false},
		"a rotation has been begun": {func(s *situation) { s.object.Finalizers = []string{v1alpha1.Finalizer} }, false},
		"being deleted":             {func(s *situation) { s.object.DeletionTimestamp = new(metav1.NewTime(now)) }, false},
		"the tenant was seen":       {func(s *situation) { s.tenant = &postgres.Tenant{} }, false},
		"the namespace is not bound": {func(s *situation) {
			s.obstacle = pass.AsObstacle(pass.InKubernetes(failure.Stall, reasons.TenantNotBound, ""))
		}, false},
		"the environment is gone": {func(s *situation) {
			s.obstacle = pass.AsObstacle(pass.InKubernetes(failure.Wait, reasons.EnvironmentNotFound, ""))
		}, false},
		"an answer about the tenant": {func(s *situation) { s.obstacle = outage(reasons.Rejected) }, false},
		"no obstacle":                {func(s *situation) { s.obstacle = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := resting()
			s.tenant, s.obstacle = nil, outage(reasons.ConnectionFailed)
			ready(s, metav1.ConditionTrue, s.object.Generation)
			test.given(s)
			require.Equal(t, test.rests, newWords(s.pass()).restsInOutage())
		})
	}
}
