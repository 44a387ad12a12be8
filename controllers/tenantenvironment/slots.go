package tenantenvironment

import "sync"

// Slots bounds how many rotations of one environment are in progress at once. A tenant holds at most one, and the urgent ones that have
// found none free are first in the queue: until they are served, a slot that becomes free is for no other tenant.
type Slots struct {
	mu    sync.Mutex
	limit int
	held  map[string]bool
	first map[string]bool
	// closed: the environments' controller takes the finalizer off, and no rotation begins meanwhile.
	closed bool
}

func newSlots(limit int) *Slots {
	return &Slots{limit: limit, held: map[string]bool{}, first: map[string]bool{}}
}

// Acquire takes a slot for the tenant and says whether there was one; a tenant that holds one already keeps it. A refused tenant asks again,
// or gives up its place by Release.
func (s *Slots) Acquire(tenantID string, urgent bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	delete(s.first, tenantID)
	if s.held[tenantID] {
		return true
	}
	if s.full(urgent) {
		if urgent {
			s.first[tenantID] = true
		}
		return false
	}
	s.held[tenantID] = true
	return true
}

// Full says that no slot is free for a tenant that is urgent, or one that is not.
func (s *Slots) Full(urgent bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full(urgent)
}

func (s *Slots) full(urgent bool) bool {
	if urgent {
		return len(s.held) >= s.limit
	}
	return len(s.held)+len(s.first) >= s.limit
}

// Occupy takes a slot even beyond the limit, for a rotation that was begun before this process and must be finished.
func (s *Slots) Occupy(tenantID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.first, tenantID)
	s.held[tenantID] = true
}

// GiveBack gives the tenant's slot back, or its place in the queue, if it has one.
func (s *Slots) GiveBack(tenantID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.first, tenantID)
	delete(s.held, tenantID)
}

// closeIdle has Acquire refuse every tenant until reopen, and says whether it does: not where a slot is held.
func (s *Slots) closeIdle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = len(s.held) == 0
	return s.closed
}

func (s *Slots) reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = false
}

func (s *Slots) resize(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
}
