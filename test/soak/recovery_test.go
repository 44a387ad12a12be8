package soak

import (
	"slices"
	"sync"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// recovery measures how long after the end of a fault each rotation that was unfinished then is Ready. Faults follow each other: a rotation that is
// still unfinished at the end of another one keeps the first clock, and has a second one that begins anew.
type recovery struct {
	mu        sync.Mutex
	byName    map[string]int
	clocks    []clock
	fromFirst []time.Duration
	fromLast  []time.Duration
}

type clock struct {
	unfinished  bool
	first, last time.Time // ends of faults; zero = none since it became unfinished
}

func newRecovery(tenants int) *recovery {
	r := &recovery{byName: map[string]int{}, clocks: make([]clock, tenants)}
	for i := range tenants {
		r.byName[objectName(i)] = i
	}
	return r
}

// see takes a version of an object. An object that is suspended, or gone, is not expected to become Ready.
func (r *recovery) see(o *v1alpha1.TenantCredential, present bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, known := r.byName[o.Name]
	if !known {
		return
	}
	c, now := &r.clocks[i], time.Now()
	switch {
	case !present || o.Spec.Suspend:
		*c = clock{}
	case !settled(o):
		c.unfinished = c.unfinished || rotating(o)
	default:
		if !c.first.IsZero() {
			r.fromFirst = append(r.fromFirst, now.Sub(c.first))
			r.fromLast = append(r.fromLast, now.Sub(c.last))
		}
		*c = clock{}
	}
}

// rotating says that a rotation is asked for, or in progress. An object that is not Ready because the server is away, with nothing to do, is
// none of those that recover.
func rotating(o *v1alpha1.TenantCredential) bool {
	last := o.Status.LastRotation
	return o.AskedGeneration() > o.Status.RotationGeneration || (last != nil && last.CompletionTime == nil)
}

// faultEnded begins the clocks of all that are unfinished, or of one tenant (-1 = all).
func (r *recovery) faultEnded(tenant int, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.clocks {
		c := &r.clocks[i]
		if !c.unfinished || (tenant >= 0 && tenant != i) {
			continue
		}
		if c.first.IsZero() {
			c.first = at
		}
		c.last = at
	}
}

// percentiles are in seconds.
type percentiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

func summary(of []time.Duration) percentiles {
	if len(of) == 0 {
		return percentiles{}
	}
	slices.Sort(of)
	at := func(p float64) float64 { return of[int(p*float64(len(of)-1))].Round(time.Millisecond).Seconds() }
	return percentiles{len(of), at(0.5), at(0.99), at(1)}
}

func (r *recovery) summaries() (fromFirst, fromLast percentiles) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return summary(slices.Clone(r.fromFirst)), summary(slices.Clone(r.fromLast))
}
