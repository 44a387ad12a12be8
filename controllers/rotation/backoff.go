package rotation

import "time"

const (
	firstRetry = 2 * time.Second
	// LongestRetry is the longest wait between attempts, LongestLook the longest between looks at something that may turn up any
	// moment, or whose outcome is not known.
	LongestRetry = 2 * time.Minute
	LongestLook  = 30 * time.Second
	// OnboardingPeriod is how long something that is normal while a tenant is being set up (no row, no role, no app, no
	// environment yet) counts as progress. After it the object is stalled, and still retried.
	OnboardingPeriod = 10 * time.Minute
)

// Backoff is how long to wait after so many failed attempts in a row: 2 s, 4 s, 8 s … at most longest. Spread is a number in
// [0, 1) that draws the wait out by up to a quarter, so that what failed together does not come back together.
func Backoff(attempts int32, longest time.Duration, spread float64) time.Duration {
	wait := longest
	if attempts < 10 {
		wait = min(longest, firstRetry<<max(0, attempts-1))
	}
	return wait + time.Duration(spread*float64(wait)/4)
}
