package tenantenvironment

import (
	"container/list"
	"sync"
	"time"
)

// Slots bounds how many rotations of one environment are in progress at once. A tenant holds at most one. One that finds none free stands in line, the
// urgent ones before the others, first come, first served; a slot that is given back passes to the first in line, which is woken.
type Slots struct {
	mu    sync.Mutex
	limit int
	held  map[string]bool
	since time.Time // one slot or another has been held without a break
	// urgent and others are the two lines, and places where each tenant stands.
	urgent, others *list.List
	places         map[string]place
	// closed: the environments' controller takes the finalizer off, and no rotation begins meanwhile.
	closed bool
}

// place is where a tenant stands in line.
type place struct {
	line    *list.List
	element *list.Element // a waiter
}

// waiter is a tenant in line.
type waiter struct {
	tenantID string
	wake     func()
}

func newSlots(limit int) *Slots {
	return &Slots{limit: limit, held: map[string]bool{}, urgent: list.New(), others: list.New(), places: map[string]place{}}
}

// Acquire takes a slot for the tenant and says whether there was one; a tenant that holds one already keeps it. A refused tenant stands in line: wake
// is called when it has got a slot, once, with the lock held, so that it must not call back. GiveBack leaves the line.
func (s *Slots) Acquire(tenantID string, urgent bool, wake func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[tenantID] && !s.closed {
		return true
	}
	line := s.others
	if urgent {
		line = s.urgent
	}
	if stands := s.places[tenantID]; stands.line != line {
		s.leave(tenantID)
		s.places[tenantID] = place{line, line.PushBack(waiter{tenantID, wake})}
	}
	return s.handOut(tenantID)
}

// Waits says that the tenant stands in line.
func (s *Slots) Waits(tenantID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, stands := s.places[tenantID]
	return stands
}

// Occupy takes a slot even beyond the limit, for a rotation that was begun before this process and must be finished.
func (s *Slots) Occupy(tenantID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(tenantID)
	s.hold(tenantID)
}

// HeldSince is since when one slot or another has been held without a break, and now if none is.
func (s *Slots) HeldSince() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == 0 {
		return time.Now()
	}
	return s.since
}

func (s *Slots) hold(tenantID string) {
	if len(s.held) == 0 {
		s.since = time.Now()
	}
	s.held[tenantID] = true
}

// GiveBack gives the tenant's slot back, or its place in line, if it has one.
func (s *Slots) GiveBack(tenantID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(tenantID)
	delete(s.held, tenantID)
	s.handOut("")
}

// handOut gives the slots that are free to those who stand first in line, and wakes them, but for the one that is asking; it says whether that one has
// got one.
func (s *Slots) handOut(asking string) (got bool) {
	for !s.closed && len(s.held) < s.limit {
		first := s.urgent.Front()
		if first == nil {
			first = s.others.Front()
		}
		if first == nil {
			break
		}
		w := first.Value.(waiter)
		s.leave(w.tenantID)
		s.hold(w.tenantID)
		if w.tenantID == asking {
			got = true
		} else {
			w.wake()
		}
	}
	return got
}

func (s *Slots) leave(tenantID string) {
	if stands, is := s.places[tenantID]; is {
		stands.line.Remove(stands.element)
		delete(s.places, tenantID)
	}
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
	s.handOut("")
}

func (s *Slots) resize(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	s.handOut("")
}
