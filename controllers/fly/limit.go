package fly

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Fly allows, per action and per Machine or app: 1 request a second with bursts of 3; to get a Machine 5 with bursts of 10.
// https://fly.io/docs/machines/api/working-with-machines-api/#rate-limits
//
// The client's bursts are smaller: a call that is held up on its way arrives closer to the next one than it was sent, and Fly counts arrivals.
const (
	getMachine = "get machine"

	// maxPause bounds how long a call waits for its turn. Beyond it the caller comes back later.
	maxPause = 5 * time.Second
	// sweepAt is the least number of buckets at which those that are full again are dropped.
	sweepAt = 4096
	// forgetAt is the number at which all are dropped. So many that are not full are Machines that Fly has made up, or a storm of 429s.
	forgetAt = 4 * sweepAt
)

// limits keeps the client within Fly's rates, and away from where Fly has answered 429.
type limits struct {
	mu      sync.Mutex
	buckets map[bucketKey]*bucket
	now     func() time.Time
	// sweepNext is the number of buckets at which the next sweep is worth its time.
	sweepNext int
}

type bucketKey struct{ action, id string }

type bucket struct {
	rate *rate.Limiter
	// closedUntil is what the last Retry-After asked for.
	closedUntil time.Time
}

func newLimits() *limits {
	return &limits{buckets: map[bucketKey]*bucket{}, now: time.Now, sweepNext: sweepAt}
}

// wait blocks until the call may be sent. It returns false, at once, when that would take too long.
func (l *limits) wait(ctx context.Context, action, id string) bool {
	delay, ok := l.reserve(ctx, bucketKey{action, id})
	if !ok {
		return false
	}
	return sleep(ctx, delay)
}

func (l *limits) reserve(ctx context.Context, key bucketKey) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.bucket(key, now)
	reservation := b.rate.ReserveN(now, 1)
	delay := max(reservation.DelayFrom(now), b.closedUntil.Sub(now))
	deadline, limited := ctx.Deadline()
	if delay > maxPause || (limited && delay > time.Until(deadline)) {
		reservation.CancelAt(now)
		return 0, false
	}
	return delay, true
}

// refused notes a 429. Without a Retry-After the next call of its kind waits a second: the rate that Fly documents.
func (l *limits) refused(action, id string, retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.bucket(bucketKey{action, id}, now)
	b.closedUntil = now.Add(max(retryAfter, time.Second))
}

func (l *limits) bucket(key bucketKey, now time.Time) *bucket {
	if b, ok := l.buckets[key]; ok {
		return b
	}
	if len(l.buckets) >= l.sweepNext {
		l.sweep(now)
	}
	perSecond, burst := rate.Limit(1), 2
	if key.action == getMachine {
		perSecond, burst = 5, 8
	}
	b := &bucket{rate: rate.NewLimiter(perSecond, burst)}
	l.buckets[key] = b
	return b
}

// sweep drops the buckets that say nothing: full, and not closed. Where too many are left it drops all.
func (l *limits) sweep(now time.Time) {
	for key, b := range l.buckets {
		if b.rate.TokensAt(now) >= float64(b.rate.Burst()) && now.After(b.closedUntil) {
			delete(l.buckets, key)
		}
	}
	if len(l.buckets) >= forgetAt {
		clear(l.buckets)
	}
	l.sweepNext = max(sweepAt, 2*len(l.buckets))
}

// sleep returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
