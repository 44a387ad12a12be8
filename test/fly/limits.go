package flyemulator

import (
	"net/http"
	"time"
)

// bucket is a token bucket.
type bucket struct {
	tokens float64
	filled time.Time
}

// The limits that Fly publishes: per action and per Machine or app, in requests per second; reading a Machine has a wider one.
const (
	actionRate, actionBurst = 1, 3
	readRate, readBurst     = 5, 10
)

// spend takes a token for a request, or refuses it.
func (e *Emulator) spend(t target) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.switches.RateLimits || t.App == "" || !t.ofMachinesAPI() { // whose limits alone are published
		return nil
	}
	rate, burst := float64(actionRate), float64(actionBurst)
	if t.Route == "GET /v1/apps/{app}/machines/{id}" {
		rate, burst = readRate, readBurst
	}
	now, key := e.now(), t.Route+" "+t.App+" "+t.Machine
	b, exists := e.buckets[key]
	if !exists {
		b = &bucket{tokens: burst, filled: now}
		e.buckets[key] = b
	}
	b.tokens = min(burst, b.tokens+rate*now.Sub(b.filled).Seconds())
	b.filled = now
	if b.tokens < 1 {
		limited := &refusal{status: http.StatusTooManyRequests, message: "resource_exhausted: rate limit exceeded"}
		if e.switches.RetryAfter {
			limited.header = map[string]string{"Retry-After": "1"}
		}
		return limited
	}
	b.tokens--
	return nil
}
