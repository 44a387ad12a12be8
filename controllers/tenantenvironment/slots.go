package tenantenvironment

import "sync"

// Slots bounds how many rotations of one environment are under way at once. A tenant holds at most one.
type Slots struct {
	mu    sync.Mutex
	limit int
	held  map[string]bool
}

func newSlots(limit int) *Slots { return &Slots{limit: limit, held: map[string]bool{}} }

// Acquire takes a slot for the tenant and says whether there was one; a tenant that holds one already keeps it.
func (s *Slots) Acquire(tenantID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[tenantID] {
		return true
	}
	if len(s.held) >= s.limit {
		return false
	}
	s.held[tenantID] = true
	return true
}

// Full says that no slot is free.
func (s *Slots) Full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held) >= s.limit
}

// Occupy takes a slot even beyond the limit, for a rotation that was begun before this process and must be finished.
func (s *Slots) Occupy(tenantID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[tenantID] = true
}

// Release gives the tenant's slot back, if it holds one.
func (s *Slots) Release(tenantID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, tenantID)
}

func (s *Slots) resize(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
}
