package tenantenvironment

import (
	"sync"
	"time"
)

// Pause says whether rotations of one environment may start. The environments' controller decides it, the tenants' controller asks.
// The zero value is not paused, and has counted nothing.
type Pause struct {
	mu      sync.Mutex
	paused  bool
	counted map[string]bool
	asked   bool
	started time.Time // the server's, at the last look
}

// Paused says whether a platform engineer has to acknowledge what happened to the server before a rotation starts.
func (p *Pause) Paused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused
}

// Counted says whether this tenant was among the regressed ones when they were counted last. Where it was not, the next look counts
// anew.
func (p *Pause) Counted(tenantID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = p.asked || !p.counted[tenantID]
	return p.counted[tenantID]
}

// wanted says whether the regressed tenants have to be counted: one asked, or the server was started since the last look, and no
// pass has noticed its losses yet.
func (p *Pause) wanted(started time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = p.asked || !p.started.IsZero() && !p.started.Equal(started)
	p.started = started
	return p.asked
}

// set takes over what a look found, and returns whether the tenants have to be told.
func (p *Pause) set(paused bool, regressed []string) (tell bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	tell = p.paused != paused || p.asked && len(regressed) > 0
	p.paused, p.asked, p.counted = paused, false, map[string]bool{}
	for _, id := range regressed {
		p.counted[id] = true
	}
	return tell
}
