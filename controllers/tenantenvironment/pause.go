package tenantenvironment

import "sync"

// Pause says whether rotations of one environment may start. The environments' controller decides it, the tenants' controller asks.
// The zero value is not paused, and has counted nothing.
type Pause struct {
	mu      sync.Mutex
	paused  bool
	counted map[string]bool
	asked   bool
}

// Paused says whether somebody has to acknowledge what happened to the server before a rotation starts.
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

// wanted says whether the regressed tenants have to be counted.
func (p *Pause) wanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// set takes over what a look found, and returns whether that is news for the tenants.
func (p *Pause) set(paused bool, regressed []string) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = p.paused != paused || p.asked
	p.paused, p.asked, p.counted = paused, false, map[string]bool{}
	for _, id := range regressed {
		p.counted[id] = true
	}
	return changed
}
