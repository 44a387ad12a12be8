package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// asksForAccess has the spec ask for external access, which the environment offers.
func asksForAccess(s *situation, access postgres.ExternalAccess) {
	s.object.Spec.ExternalAccess = &v1alpha1.ExternalAccess{}
	s.environment.Spec.Postgres.External = &v1alpha1.PostgresAddress{Host: "db.example.com", Port: 6432}
	s.tenant.External, s.tenant.Login = access, s.tenant.Role
}

func TestExternalURL(t *testing.T) {
	in := postgres.ExternalAccess{Member: true, Noted: true}
	for url, given := range map[string]func(*situation){
		"postgresql://tenant_7dd06cd6@db.example.com:6432/site_7dd06cd6?sslmode=verify-full":   func(*situation) {},
		"postgresql://tenant_7dd06cd6_b@db.example.com:6432/site_7dd06cd6?sslmode=verify-full": func(s *situation) { s.tenant.Login += "_b" },
		"postgres://tenant_7dd06cd6@db.example.com:6432/site_7dd06cd6?application_name=a%20b&sslmode=require": func(s *situation) {
			s.environment.Spec.Postgres.External.URLForm = v1alpha1.URLForm{Scheme: "postgres", Parameters: map[string]v1alpha1.URLParameter{"sslmode": "require", "application_name": "a b"}}
		},
	} {
		s := resting()
		asksForAccess(s, in)
		given(s)
		s.report()
		require.Equal(t, url, s.object.Status.Postgres.ExternalURL)
	}
	for name, given := range map[string]func(*situation){
		"not asked for": func(s *situation) { s.object.Spec.ExternalAccess = nil },
		"not offered":   func(s *situation) { s.environment.Spec.Postgres.External = nil },
		"not enforced":  func(s *situation) { s.problem = "no rule" },
		"not a member":  func(s *situation) { s.tenant.External = postgres.ExternalAccess{Unswept: true} },
	} {
		s := resting()
		asksForAccess(s, in)
		given(s)
		require.Empty(t, newWords(s.pass()).externalURL(), name)
	}
}

// A tenant whose access is as asked rests in an outage; one with a change owed does not.
func TestAccessFromOutsideInAnOutage(t *testing.T) {
	tests := []struct {
		asked, offered bool
		shown          string // reason of ExternalAccess; "" = absent
		ready          string // reason of Ready
		rests          bool
	}{
		{false, true, "", reasons.Rotated, true},
		{true, true, reasons.Enabled, reasons.Rotated, true},
		{true, true, reasons.NotEnforced, reasons.NotEnforced, true},
		{false, true, reasons.Disabled, reasons.Rotated, true},
		{true, false, reasons.NotOffered, reasons.NotOffered, true},
		{true, true, reasons.NotOffered, reasons.NotOffered, false}, // the environment has an address since
		{true, false, reasons.Enabled, reasons.Rotated, false},      // it has none any more
		{false, true, reasons.Disabling, reasons.Progressing, false},
		{false, true, reasons.Disabling, reasons.DriftDetected, false},
	}
	for _, test := range tests {
		s := resting()
		asksForAccess(s, postgres.ExternalAccess{})
		if !test.asked {
			s.object.Spec.ExternalAccess = nil
		}
		if !test.offered {
			s.environment.Spec.Postgres.External = nil
		}
		s.tenant = nil
		ready := condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, test.ready, "")
		if test.ready == reasons.Rotated {
			ready.Status = metav1.ConditionTrue
		}
		ready.ObservedGeneration = s.object.Generation
		s.object.Status.Conditions = []metav1.Condition{ready}
		if test.shown != "" {
			s.object.Status.Conditions = append(s.object.Status.Conditions, condition(v1alpha1.ExternalAccessCondition, metav1.ConditionFalse, test.shown, ""))
		}
		s.obstacle = pass.AsObstacle(pass.AtPostgres(failure.New(failure.Retry, reasons.ConnectionFailed, "refused")))
		require.Equal(t, test.rests, newWords(s.pass()).restsInOutage(), "%+v", test)
	}
}

// An end that is owed is looked at soon, whatever else the object waits for.
func TestSweepsAreSoon(t *testing.T) {
	s := resting()
	require.Greater(t, s.report().Next, 10*time.Minute)
	s.tenant.External = postgres.ExternalAccess{Unswept: true, Noted: true}
	require.Equal(t, SweepPeriod, s.report().Next)
	s.raised()
	s.wait = rotation.ForAddress
	require.Equal(t, SweepPeriod, s.report().Next)
}

// What is said of a failed attempt stands while the next one waits; what this pass has done to the access is said all the same, and announced.
func TestAccessEndsBesideAFailureThatStands(t *testing.T) {
	s := resting()
	asksForAccess(s, postgres.ExternalAccess{Member: true, Noted: true})
	s.raised()
	s.attempt.Made = true
	s.obstacle = pass.AsObstacle(pass.AtFlySecret(failure.New(failure.Retry, reasons.ConnectionFailed, "timeout")))
	s.report()
	failed := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.ReadyCondition).Message

	s.object.Spec.ExternalAccess, s.tenant.External = nil, postgres.ExternalAccess{Noted: true}
	s.attempt, s.obstacle, s.wait = pass.Attempt{}, nil, rotation.ForSlot
	said := s.report()
	require.True(t, said.Stands)
	require.Equal(t, failed, meta.FindStatusCondition(said.Status.Conditions, v1alpha1.ReadyCondition).Message)
	require.Equal(t, reasons.Disabled, meta.FindStatusCondition(said.Status.Conditions, v1alpha1.ExternalAccessCondition).Reason)
	require.Empty(t, said.Status.Postgres.ExternalURL)
	require.Len(t, said.Events, 1)
	require.Equal(t, v1alpha1.EventExternalAccessDisabled, said.Events[0].Reason)
}
