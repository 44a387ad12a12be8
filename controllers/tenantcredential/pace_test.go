package tenantcredential

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// An attempt that failed is always looked at again, and the next one is made then: a pass that comes a moment too early must neither try
// nor be the last one.
func TestAFailedAttemptIsMadeAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := resting()
		s.connection, s.attempted = &Environment{}, true
		s.obstacle = obstacleOf(flyObstacle(v1alpha1.FlySecretSyncedCondition, failure.New(
			rapid.SampledFrom([]failure.Class{failure.Wait, failure.Retry, failure.Unknown}).Draw(t, "class"), failure.OutcomeUnknown, "lost")))
		s.now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "fraction of a second")))
		report(s, "system")
		s.remember(t.Context())
		retry := s.object.Status.Failure.RetryTime.Time
		require.Equal(t, retry.Truncate(time.Second), retry, "status can not hold it")

		again := failedBefore(s.object.Status.Failure)
		again.now = retry.Add(time.Duration(rapid.Int64Range(-int64(time.Second), int64(time.Second)).Draw(t, "early or late")))
		if again.now.Before(retry) {
			require.False(t, again.mayTry())
			require.Positive(t, again.later())
			again.now = again.now.Add(again.later())
		}
		require.True(t, again.mayTry(), "the pass that it asked for does not try")
	})
}

// failedBefore is a pass over an object with an open row whose last attempt failed; another process made it.
func failedBefore(failed *v1alpha1.FailureStatus) *scope {
	s := resting()
	s.connection = &Environment{}
	s.tenant.Open = &postgres.Rotation{Revision: 8, State: postgres.StateOpen}
	s.before.Status.Failure = failed
	s.before.Status.ObservedGeneration = s.object.Generation
	return s
}

// What changed since the attempt is tried at once, and so is what never was one.
func TestAChangeIsTriedAtOnce(t *testing.T) {
	failed := &v1alpha1.FailureStatus{Attempts: 9, LastTime: metav1.NewTime(now.Add(-time.Minute)), RetryTime: metav1.NewTime(now.Add(time.Hour))}
	require.False(t, failedBefore(failed).mayTry(), "too early")

	s := failedBefore(failed)
	s.object.Generation++
	require.True(t, s.mayTry(), "another spec")

	s = failedBefore(failed)
	s.connection.Changed = now
	require.True(t, s.mayTry(), "another login or token")

	s = failedBefore(failed)
	s.tenant.Open = nil
	require.True(t, s.mayTry(), "an obstacle before the attempt, which is gone now")
}

// A tenant whose environment can not be used waits for it, and neither asks nor counts.
func TestWaitingForTheEnvironmentIsNoFailure(t *testing.T) {
	s := resting()
	s.obstacle = &obstacle{condition: v1alpha1.PostgresSyncedCondition, status: metav1.ConditionUnknown,
		failure: failure.New(failure.Wait, v1alpha1.ReasonEnvironmentNotReady, "ConnectionFailed")}
	s.before.Status.Failure = &v1alpha1.FailureStatus{Attempts: 3}
	report(s, "system")
	s.remember(t.Context())
	require.Nil(t, s.object.Status.Failure)
	require.GreaterOrEqual(t, s.nextLook(), 9*time.Minute, "it looks again to say Stalled, and not before")
}
