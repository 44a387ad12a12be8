package flyemulator

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
	"time"
)

// Options configure an Emulator. The zero value is usable: it starts no processes.
type Options struct {
	// TenantApp is the path of the tenantapp program. One process of it runs for each started Machine. Empty starts none; the
	// checks of a started Machine then pass at once.
	TenantApp string
}

// Emulator holds organizations' apps, their secrets and Machines. Create one with New and end it with Close.
type Emulator struct {
	tenantApp string
	digestKey []byte
	apiMux    *http.ServeMux
	admin     http.Handler

	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex // guards everything below, and what it points to
	closed   bool
	changed  chan struct{} // closed and replaced at each change, to wake those who wait for a state
	ahead    time.Duration // how far the emulator's clock runs ahead of the real one
	apps     map[string]*app
	tokens   map[string]Token
	switches Switches
	faults   []*activeFault
	faultSeq int
	requests []*Request
	arrivals []Arrival
	buckets  map[string]*bucket
}

// New returns an empty Emulator. It panics only if the system has no randomness.
func New(o Options) *Emulator {
	ctx, cancel := context.WithCancel(context.Background())
	e := &Emulator{
		tenantApp: o.TenantApp,
		digestKey: randomBytes(32),
		ctx:       ctx,
		cancel:    cancel,
		changed:   make(chan struct{}),
		apps:      map[string]*app{},
		tokens:    map[string]Token{},
		switches:  DefaultSwitches(),
		buckets:   map[string]*bucket{},
	}
	e.apiMux = e.apiRoutes()
	e.admin = e.adminRoutes()
	return e
}

// API serves what Fly serves: /v1/…, /graphql and /api/v1/…, which at Fly are on two hosts.
func (e *Emulator) API() http.Handler { return http.HandlerFunc(e.serveAPI) }

// Admin serves /admin/…, without authentication. Never listen for it on anything but the loopback interface.
func (e *Emulator) Admin() http.Handler { return e.admin }

// Close ends all tenant app processes and lets hanging requests go. The Emulator cannot be used afterwards.
func (e *Emulator) Close() {
	e.cancel()
	e.mu.Lock()
	e.closed = true
	for _, a := range e.apps {
		for _, m := range a.machines {
			e.endProcess(m)
		}
	}
	e.announce()
	e.mu.Unlock()
	e.workers.Wait()
}

// goWork runs f beside the requests; Close waits for it. The caller holds mu, so that no worker starts after Close.
func (e *Emulator) goWork(f func()) {
	if e.closed {
		return
	}
	e.workers.Go(f)
}

// announce wakes all that wait for a change. The caller holds mu.
func (e *Emulator) announce() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// now is the emulator's time. The caller holds mu.
func (e *Emulator) now() time.Time { return time.Now().Add(e.ahead) }

// AdvanceClock moves the emulator's clock, by which leases expire, rate limits refill and events have their time. Set back before
// there are Machines, it has each of them look as if it had run for longer.
func (e *Emulator) AdvanceClock(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ahead += d
	e.announce()
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic("flyemulator: no randomness: " + err.Error()) // crypto/rand promises that this does not happen
	}
	return b
}
