package tenantcredential

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// An object that failed is always looked at again, and its next attempt is made then: a pass that comes a moment too early must
// neither try nor be the last one.
func TestAFailedAttemptIsMadeAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &Reconciler{}
		s := resting()
		s.connection, s.attempted = &Environment{Identity: 1}, true
		s.obstacle = obstacleOf(flyObstacle(v1alpha1.FlySecretSyncedCondition, failure.New(
			rapid.SampledFrom([]failure.Class{failure.Wait, failure.Retry, failure.Unknown}).Draw(t, "class"), failure.OutcomeUnknown, "lost")))
		s.now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "fraction of a second")))
		report(s, "system")
		r.remember(t.Context(), s)
		retry := s.object.Status.Failure.RetryTime.Time
		require.Equal(t, retry.Truncate(time.Second), retry, "status can not hold it")

		again := resting()
		again.connection = s.connection
		again.now = retry.Add(time.Duration(rapid.Int64Range(-int64(time.Second), int64(time.Second)).Draw(t, "early or late")))
		if again.now.Before(retry) {
			require.False(t, r.mayTry(again))
			require.Positive(t, r.later(again))
			again.now = again.now.Add(r.later(again))
		}
		require.True(t, r.mayTry(again), "the pass that it asked for does not try")
	})
}

// What changed since the attempt is tried at once.
func TestAChangeIsTriedAtOnce(t *testing.T) {
	r := &Reconciler{}
	s := resting()
	s.connection = &Environment{Identity: 1}
	r.failed.Store(client.ObjectKeyFromObject(s.object), attempt{generation: 3, identity: 1, retry: now.Add(time.Hour)})
	require.False(t, r.mayTry(s))
	s.object.Generation = 4
	require.True(t, r.mayTry(s), "another spec")
	s.object.Generation, s.connection = 3, &Environment{Identity: 2}
	require.True(t, r.mayTry(s), "another login or token")
}
