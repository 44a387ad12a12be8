package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// An attempt that failed is always looked at again, and the next one is made then: a pass that comes a moment too early must neither try
// nor be the last one.
func TestAFailedAttemptIsMadeAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := resting()
		s.tenant.Open = &postgres.Rotation{Revision: 8, State: postgres.StateOpen}
		s.attempt.Made = true
		s.obstacle = pass.AsObstacle(pass.AtFlySecret(failure.New(
			rapid.SampledFrom([]failure.Class{failure.Wait, failure.Retry, failure.Unknown}).Draw(t, "class"), reasons.OutcomeUnknown, "lost")))
		s.now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "fraction of a second")))
		s.report()
		retry := s.object.Status.Failure.RetryTime.Time
		require.Equal(t, retry.Truncate(time.Second), retry, "status cannot hold it")

		s.attempt, s.obstacle = pass.Attempt{}, nil
		s.now = retry.Add(time.Duration(rapid.Int64Range(-int64(time.Second), int64(time.Second)).Draw(t, "early or late")))
		if s.now.Before(retry) {
			require.Equal(t, rotation.ForRetry, s.pass().State.Wait)
			early := s.report()
			require.True(t, early.Stands, "what was said of the failure is still so")
			s.now = s.now.Add(early.Next)
		}
		require.Equal(t, rotation.Attempting, s.pass().State.Phase, "the pass that it asked for does not try")
	})
}

// failedBefore has an open row whose last attempt failed; another process made it.
func failedBefore() *situation {
	s := resting()
	s.tenant.Open = &postgres.Rotation{Revision: 8, State: postgres.StateOpen}
	s.object.Status.ObservedGeneration = s.object.Generation
	s.object.Status.Failure = &v1alpha1.FailureStatus{Attempts: 9, LastTime: metav1.NewTime(now.Add(-time.Minute)), RetryTime: metav1.NewTime(now.Add(time.Hour))}
	return s
}

// What changed since the attempt is tried at once, and so is what never was one.
func TestAChangeIsTriedAtOnce(t *testing.T) {
	require.Equal(t, rotation.Waiting, failedBefore().pass().State.Phase, "too early")

	s := failedBefore()
	s.object.Generation++
	require.Equal(t, rotation.Attempting, s.pass().State.Phase, "another spec")

	p := failedBefore().pass()
	p.In.Reconnected = now
	require.Equal(t, rotation.Attempting, pass.Assess(p.In, p.Out).Phase, "another login or token")

	s = failedBefore()
	s.tenant.Open = nil
	s.raised()
	require.Equal(t, rotation.Attempting, s.pass().State.Phase, "an obstacle before the attempt, which is gone now")
	s.attempt.Made, s.tenant.Open = true, &postgres.Rotation{Revision: 8, State: postgres.StateOpen}
	require.Equal(t, rotation.Attempting, s.pass().State.Phase, "the attempt itself, once it has a row")
}

// A tenant whose environment cannot be used waits for it, and neither asks nor counts.
func TestWaitingForTheEnvironmentIsNoFailure(t *testing.T) {
	s := resting()
	s.connected, s.tenant = false, nil
	s.obstacle = pass.AsObstacle(pass.AtPostgres(failure.New(failure.Wait, reasons.EnvironmentNotReady, "ConnectionFailed")))
	s.object.Status.Failure = &v1alpha1.FailureStatus{Attempts: 3}
	next := s.report().Next
	require.Nil(t, s.object.Status.Failure)
	require.GreaterOrEqual(t, next, 9*time.Minute, "it looks again to say Stalled, and not before")
}

// While Fly cannot be asked, only a tenant to whom nothing is due goes by what was seen before.
func TestFlyDoesNotAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		given func(*situation)
		ready bool
	}{
		"nothing is due":      {func(*situation) {}, true},
		"an edited object":    {func(s *situation) { s.object.Generation++ }, false},
		"never seen":          {func(s *situation) { s.object.Status.Conditions = nil }, false},
		"raised":              {func(s *situation) { s.raised() }, false},
		"another destination": {func(s *situation) { s.tenant.Last.DeliveryDigest = "another" }, false},
		"rolling out":         {func(s *situation) { s.tenant.Last.State = postgres.StateCommitted }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := resting()
			s.report()
			s.fly, s.unseen = nil, pass.AsObstacle(pass.AtFlySecret(failure.New(failure.Retry, reasons.ConnectionFailed, "no answer")))
			test.given(s)
			s.report()
			ready := newWords(s.pass()).readyBefore()
			require.Equal(t, test.ready, ready.Status == metav1.ConditionTrue, ready.Message)
		})
	}
}

// No phase leaves a tenant alone that has something to do.
func TestNextLook(t *testing.T) {
	committed := func(s *situation) { s.tenant.Last.State = postgres.StateCommitted }
	for name, test := range map[string]struct {
		given func(*situation)
		want  time.Duration
	}{
		"at rest":                 {func(*situation) {}, restingPeriod},
		"its login expires":       {func(s *situation) { s.tenant.ValidUntil = now.Add(time.Minute) }, time.Minute + time.Second},
		"suspended":               {func(s *situation) { s.raised(); s.object.Spec.Suspend = true }, restingPeriod},
		"due":                     {func(s *situation) { s.raised() }, atOnce},
		"waiting for a slot":      {func(s *situation) { s.raised(); s.wait = rotation.ForSlot }, restingPeriod},
		"waiting for the address": {func(s *situation) { s.raised(); s.wait = rotation.ForAddress }, addressPeriod},
		"just committed":          {func(s *situation) { committed(s); s.attempt.Made = true }, atOnce},
		"rolling out":             {committed, rollingPeriod},
		"awaiting a deploy": {func(s *situation) {
			committed(s)
			s.tenant.Last.FlyInstances = []string{"i"}
			s.object.Spec.Rotation.Strategy = v1alpha1.RotationStrategyOverlap
			s.object.Spec.Delivery.Fly = &v1alpha1.FlyDelivery{RolloutPolicy: v1alpha1.RolloutPolicyStaged}
		}, deployPeriod},
		"retiring":        {func(s *situation) { s.tenant.Last.State = postgres.StateRolled }, SweepPeriod},
		"ending sessions": {func(s *situation) { committed(s); s.machines = &fly.Progress{}; s.left = true }, SweepPeriod},
		"a spec that cannot be": {func(s *situation) {
			s.obstacle = &pass.Obstacle{Failure: failure.New(failure.Stall, reasons.InvalidSpec, ""), Field: pass.RolloutPolicyField}
		}, restingPeriod},
	} {
		t.Run(name, func(t *testing.T) {
			s := resting()
			test.given(s)
			require.Equal(t, test.want, s.report().Next)
		})
	}
}
