package rotation

import "time"

const (
	firstRetry = 2 * time.Second
	lastRetry  = 2 * time.Minute
	// OnboardingPeriod is how long something that is normal while a tenant is being set up (no row, no role, no app, no
	// environment yet) counts as progress. After it the object is stalled, and still retried.
	OnboardingPeriod = 10 * time.Minute
)

// Backoff is how long to wait after so many failed attempts in a row: 2 s, 4 s, 8 s … at most 2 min. Spread is a number in
// [0, 1) that draws the wait out by up to a quarter, so that what failed together does not come back together.
func Backoff(attempts int32, spread float64) time.Duration {
	wait := lastRetry
	if attempts < 7 {
		wait = min(lastRetry, firstRetry<<max(0, attempts-1))
	}
	return wait + time.Duration(spread*float64(wait)/4)
}
