package tenantcredential

import (
	"context"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// attempt is one that failed, and what it was made with.
type attempt struct {
	generation int64
	identity   any
	retry      time.Time
}

// mayTry says whether the time for the next attempt has come. A changed spec, login or token is tried at once.
func (r *Reconciler) mayTry(s *scope) bool {
	former, known := r.failed.Load(client.ObjectKeyFromObject(s.object))
	if !known {
		return true
	}
	last := former.(attempt)
	return !s.now.Before(last.retry) || last.generation != s.object.Generation || last.identity != s.connection.Identity
}

// later is when a pass that had nothing to report comes again. It is never zero, which would mean never.
func (r *Reconciler) later(s *scope) time.Duration {
	if former, known := r.failed.Load(client.ObjectKeyFromObject(s.object)); known && !r.mayTry(s) {
		return max(former.(attempt).retry.Sub(s.now), time.Millisecond)
	}
	return wait.Jitter(slotPeriod, 0.5)
}

// remember keeps count of failures in status, where a restart does not lose it.
func (r *Reconciler) remember(ctx context.Context, s *scope) {
	key := client.ObjectKeyFromObject(s.object)
	if s.obstacle == nil {
		s.object.Status.Failure = nil
		r.failed.Delete(key)
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
	// Rounded up to what the API server keeps of a time, so that status and memory name the same moment.
	retry := s.now.Add(rotation.Backoff(attempts, longest, rand.Float64())).Truncate(time.Second).Add(time.Second) //nolint:gosec // spreads retries, guards nothing
	s.object.Status.Failure = &v1alpha1.FailureStatus{
		Attempts:  attempts,
		LastTime:  metav1.NewTime(s.now),
		RetryTime: metav1.NewTime(retry),
	}
	if s.attempted {
		r.failed.Store(key, attempt{s.object.Generation, s.connection.Identity, retry})
	}
	ctrl.LoggerFrom(ctx).Info("Could not go on", "reason", s.obstacle.failure.Reason, "class", s.obstacle.failure.Class,
		"detail", s.obstacle.failure.Detail, "attempts", attempts, "retryTime", retry)
}

// nextLook is when the object is looked at again if nothing happens before.
func (s *scope) nextLook() time.Duration {
	switch {
	case s.obstacle != nil && s.obstacle.failure.Reason == failure.Superseded:
		return rollingPeriod
	case s.obstacle != nil:
		return max(time.Until(s.object.Status.Failure.RetryTime.Time), time.Millisecond)
	case s.attempted:
		return time.Millisecond
	case s.tenant != nil && unfinished(s.tenant):
		return rollingPeriod
	default:
		return wait.Jitter(restingPeriod, 0.2)
	}
}

// takeSlot takes one of the environment's slots. One that finishes what was begun takes it even where none is free.
func (r *Reconciler) takeSlot(s *scope, finishing bool) bool {
	slots, id := s.connection.Slots, s.id()
	if finishing {
		slots.Occupy(id)
	} else if !slots.Acquire(id) {
		return false
	}
	r.slots.Store(client.ObjectKeyFromObject(s.object), func() { slots.Release(id) })
	return true
}

// giveSlotBack frees the slot of a rotation that is done, or that can not go on: a stuck one must not keep others waiting.
func (r *Reconciler) giveSlotBack(s *scope) {
	if s.obstacle != nil || s.tenant == nil || !unfinished(s.tenant) {
		r.releaseSlot(client.ObjectKeyFromObject(s.object))
	}
}

func (r *Reconciler) releaseSlot(key client.ObjectKey) {
	if release, held := r.slots.LoadAndDelete(key); held {
		release.(func())()
	}
}
