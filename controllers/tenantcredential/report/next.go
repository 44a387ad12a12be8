package report

import (
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// atOnce is the next pass; zero would mean never.
	atOnce = time.Millisecond
	// rollingPeriod is how soon a rollout is looked at again: as often as Fly's rates allow. lookPeriod is how soon it is looked again at what had changed
	// meanwhile.
	rollingPeriod = time.Second
	lookPeriod    = 500 * time.Millisecond
	// addressPeriod is how soon it is looked again whether another tenant has proved a changed address.
	addressPeriod = 10 * time.Second
	// SweepPeriod is how soon sessions of before are looked for again, where nothing else is left to do.
	SweepPeriod = 5 * time.Second
	// deployPeriod is how soon the user's own deploy is noticed.
	deployPeriod = 15 * time.Second
	// restingPeriod is how often an object is looked at while nothing happens.
	restingPeriod = 30 * time.Minute
)

// nextLook is when to look again if nothing happens before.
func (w words) nextLook(after *v1alpha1.TenantCredentialStatus) time.Duration {
	next := w.nextStep(after)
	if pass.SweepsOutside(w.In, w.seen) && w.Out.Access == nil {
		next = min(next, SweepPeriod)
	}
	return max(next, atOnce)
}

func (w words) nextStep(after *v1alpha1.TenantCredentialStatus) time.Duration {
	switch {
	case w.restsInOutage() && w.In.Connected: // the server can be used, and did not answer about this tenant
		return w.spread(rotation.LongestLook, 0.5)
	case w.restsInOutage(), w.waitsForEdit(): // a change wakes the object
		return w.spread(restingPeriod, 0.2)
	case w.waitsForEnvironment():
		return w.untilStalled()
	case pass.TraitsOf(w.obstacle).Outrun:
		return rollingPeriod
	case w.obstacle != nil:
		return after.Failure.RetryTime.Sub(w.Ended)
	case w.Out.Attempt.Made && w.State.Phase != rotation.Resting: // what has been committed goes on
		return atOnce
	case w.transient():
		return w.nextTry()
	}
	return w.nextByPhase()
}

// nextTry is when a rotation that waits is tried again.
func (w words) nextTry() time.Duration {
	switch w.waitsFor() {
	case rotation.ForRetry:
		return w.object.Status.Failure.RetryTime.Sub(w.In.Now)
	case rotation.ForAddress:
		return w.spread(addressPeriod, 0.5)
	case rotation.ForSlot: // who gives one back wakes the object
		return w.spread(restingPeriod, 0.2)
	default:
		return w.spread(lookPeriod, 0.5)
	}
}

// waitsFor is what the pass has found to wait for, also where it has not seen the tenant.
func (w words) waitsFor() rotation.Wait {
	if w.State.Wait != "" {
		return w.State.Wait
	}
	return w.Out.Wait
}

func (w words) nextByPhase() time.Duration {
	switch w.State.Phase {
	case rotation.Attempting:
		return atOnce
	case rotation.AwaitingDeploy:
		return deployPeriod
	case rotation.Retiring, rotation.EndingSessions:
		return SweepPeriod
	case rotation.RollingOut, rotation.Completing, rotation.Abandoning:
		return rollingPeriod
	default:
		return w.untilExpiry(w.spread(restingPeriod, 0.2))
	}
}

// spread draws a time out by up to a share of it, as wait.Jitter does.
func (w words) spread(period time.Duration, share float64) time.Duration {
	return period + time.Duration(w.Spread*share*float64(period))
}

// untilExpiry is when the tenant's login expires, if that is earlier: it is noticed then.
func (w words) untilExpiry(otherwise time.Duration) time.Duration {
	if w.tenant == nil || w.tenant.ValidUntil.Before(w.In.Now) { // zero, too
		return otherwise
	}
	return min(otherwise, w.tenant.ValidUntil.Sub(w.In.Now)+time.Second)
}

// untilStalled is when waiting for the environment stops being normal; after that there is nothing to look at until it changes.
func (w words) untilStalled() time.Duration {
	if w.onboardingTooLong() {
		return w.spread(restingPeriod, 0.2)
	}
	since := w.In.Now
	if before := w.readyBefore(); before != nil && before.Status == metav1.ConditionFalse {
		since = before.LastTransitionTime.Time
	}
	return max(since.Add(rotation.OnboardingPeriod).Sub(w.In.Now), 0) + time.Second
}

// waitsForEnvironment says that nothing was tried, because the environment is missing or cannot be used. An unbound object waits for its
// binding first.
func (w words) waitsForEnvironment() bool {
	return w.obstacle != nil && !w.In.Connected && w.In.Unbound == nil
}

// waitsForEdit says that the spec asks for what cannot be: no time mends that.
func (w words) waitsForEdit() bool { return pass.TraitsOf(w.obstacle).AwaitsEdit }

// failure keeps count of failures in the status, where a restart does not lose it; nil = nothing failed. Waiting for the environment is not counted:
// it is looked at by its own controller, which wakes its tenants. Nor is a spec that has to be edited, which wakes the object, too.
func (w words) failure() *v1alpha1.FailureStatus {
	if w.obstacle == nil || w.waitsForEnvironment() || w.waitsForEdit() {
		return nil
	}
	attempts := int32(1)
	if before := w.object.Status.Failure; before != nil && w.object.Status.ObservedGeneration == w.object.Generation {
		attempts = before.Attempts + 1
	}
	longest := rotation.LongestRetry
	if class := w.obstacle.Failure.Class; class == failure.Wait || class == failure.Unknown {
		longest = rotation.LongestLook
	}
	// Rounded up to what the API server keeps of a time, so that the status and this pass name the same moment.
	retry := w.In.Now.Add(rotation.Backoff(attempts, longest, w.Spread)).Truncate(time.Second).Add(time.Second)
	return &v1alpha1.FailureStatus{Attempts: attempts, LastTime: metav1.NewTime(w.In.Now), RetryTime: metav1.NewTime(retry)}
}
