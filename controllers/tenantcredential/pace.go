package tenantcredential

import (
	"context"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// mayTry says whether the time for the next attempt has come, where one has failed after it was opened. It goes by the status alone, so
// that a restarted process does not try everything at once. A changed spec, login or token is tried at once.
func (s *scope) mayTry() bool {
	last := s.before.Status.Failure
	if last == nil || s.tenant.Open == nil && s.decision.Cause != rotation.LoginUnproved {
		return true
	}
	return !s.now.Before(last.RetryTime.Time) || s.before.Status.ObservedGeneration != s.object.Generation ||
		last.LastTime.Time.Before(s.connection.Changed)
}

// later is when a pass that had nothing to report comes again. It is never zero, which would mean never.
func (s *scope) later() time.Duration {
	if s.tenant != nil && s.sweepsOutside() {
		return sweepPeriod
	}
	if s.tenant != nil && !s.mayTry() {
		return max(s.before.Status.Failure.RetryTime.Sub(s.now), time.Millisecond)
	}
	if s.awaitsCanary {
		return wait.Jitter(canaryPeriod, 0.5)
	}
	return wait.Jitter(slotPeriod, 0.5)
}

// remember keeps count of failures in status, where a restart does not lose it. Waiting for the environment is not counted: it is looked
// at by its own controller, which wakes its tenants. Nor is a spec that has to be edited, which wakes the object, too.
func (s *scope) remember(ctx context.Context) {
	if s.obstacle == nil || s.waitsForEnvironment() || s.waitsForEdit() {
		s.object.Status.Failure = nil
		return
	}
	attempts := int32(1)
	if former := s.before.Status.Failure; former != nil && s.before.Status.ObservedGeneration == s.object.Generation {
		attempts = former.Attempts + 1
	}
	longest := rotation.LongestRetry
	if class := s.obstacle.failure.Class; class == failure.Wait || class == failure.Unknown {
		longest = rotation.LongestLook
	}
	// Rounded up to what the API server keeps of a time, so that the status and this pass name the same moment.
	retry := s.now.Add(rotation.Backoff(attempts, longest, rand.Float64())).Truncate(time.Second).Add(time.Second) //nolint:gosec // spreads retries, guards nothing
	s.object.Status.Failure = &v1alpha1.FailureStatus{
		Attempts:  attempts,
		LastTime:  metav1.NewTime(s.now),
		RetryTime: metav1.NewTime(retry),
	}
	ctrl.LoggerFrom(ctx).Info("Could not go on", "reason", s.obstacle.failure.Reason, "class", s.obstacle.failure.Class,
		"detail", s.obstacle.failure.Detail, "attempts", attempts, "retryTime", retry)
}

// doubtEnvironment has the environment looked at where its server did not answer, so that one look stands for all its tenants.
func (s *scope) doubtEnvironment() {
	if s.connection != nil && s.obstacle != nil && s.obstacle.condition == v1alpha1.PostgresSyncedCondition &&
		s.obstacle.failure.Reason.Unreachable() {
		s.connection.Doubt()
	}
}

// waitsForEnvironment says that nothing was tried, because the environment is missing or cannot be used. An unbound object waits for its
// binding first.
func (s *scope) waitsForEnvironment() bool {
	return s.obstacle != nil && s.connection == nil && s.unbound == nil
}

// waitsForEdit says that the spec asks for what cannot be: no time mends that.
func (s *scope) waitsForEdit() bool {
	return s.obstacle != nil && string(s.obstacle.failure.Reason) == v1alpha1.ReasonInvalidSpec
}

// nextLook is when the object is looked at again if nothing happens before.
func (s *scope) nextLook() time.Duration {
	if s.sweepsOutside() && s.externalTrouble == nil {
		return min(s.nextLookAtRotation(), sweepPeriod)
	}
	return s.nextLookAtRotation()
}

func (s *scope) nextLookAtRotation() time.Duration {
	switch {
	case s.waitsForEnvironment():
		return s.untilStalled()
	case s.waitsForEdit():
		return wait.Jitter(restingPeriod, 0.2)
	case s.obstacle != nil && s.obstacle.failure.Reason == failure.Superseded:
		return rollingPeriod
	case s.obstacle != nil:
		return max(time.Until(s.object.Status.Failure.RetryTime.Time), time.Millisecond)
	case s.attempted, s.decision.Step == rotation.Start:
		return time.Millisecond
	case s.awaitsDeploy():
		return deployPeriod
	case s.tenant != nil && rolled(s.tenant), s.sessionsLeft && (!s.deliversToFly() || s.progress != nil && s.progress.Done()):
		return sweepPeriod
	case s.tenant != nil && unfinished(s.tenant):
		return rollingPeriod
	default:
		return s.untilExpiry(wait.Jitter(restingPeriod, 0.2))
	}
}

// untilExpiry is when the tenant's login expires, if that is earlier: it is noticed then.
func (s *scope) untilExpiry(otherwise time.Duration) time.Duration {
	if s.tenant == nil || s.tenant.ValidUntil.Before(s.now) { // zero, too
		return otherwise
	}
	return min(otherwise, s.tenant.ValidUntil.Sub(s.now)+time.Second)
}

// untilStalled is when waiting for the environment stops being normal; after that there is nothing to look at until it changes.
func (s *scope) untilStalled() time.Duration {
	if ready := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.ReadyCondition); ready != nil && !s.onboardingTooLong() {
		return max(ready.LastTransitionTime.Add(rotation.OnboardingPeriod).Sub(s.now), 0) + time.Second
	}
	return wait.Jitter(restingPeriod, 0.2)
}
