package flyemulator

import (
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

const (
	nonceHeader    = "Fly-Machine-Lease-Nonce"
	defaultLease   = 60 // seconds
	leaseOwnership = "@tokens.fly.io"
)

type lease struct {
	nonce, owner, description string
	expires                   time.Time
}

type leaseView struct {
	Nonce       string `json:"nonce"`
	ExpiresAt   int64  `json:"expires_at"` // seconds since 1970
	Owner       string `json:"owner"`
	Description string `json:"description"`
	Version     string `json:"version"`
}

func (l *lease) view(m *machine) *leaseView {
	if l == nil {
		return nil
	}
	return &leaseView{l.nonce, l.expires.Unix(), l.owner, l.description, m.instance}
}

// activeLease is the lease that guards the Machine; nil: none, or it has expired. The caller holds mu.
func (e *Emulator) activeLease(m *machine) *lease {
	if m.lease != nil && !e.now().Before(m.lease.expires) {
		m.lease = nil
	}
	return m.lease
}

// checkLease refuses a call that does not carry the nonce of a lease that is held. The caller holds mu.
func (e *Emulator) checkLease(c *call) error {
	held, nonce := e.activeLease(c.machine), c.Header.Get(nonceHeader)
	switch {
	case held == nil && nonce != "" && e.switches.RejectStaleNonce:
		return fail(http.StatusConflict, "aborted: the lease on machine ID %s has expired", c.machine.id)
	case held != nil && nonce != held.nonce:
		return fail(http.StatusConflict, "aborted: machine ID %s lease currently held by %s, expires at %s",
			c.machine.id, held.owner, held.expires.UTC().Format(time.RFC3339))
	}
	return nil
}

func (e *Emulator) getLease(c *call) (answer, error) {
	held := e.activeLease(c.machine)
	if held == nil {
		return answer{}, fail(http.StatusNotFound, "lease not found")
	}
	return ok(leaseAnswer(held.view(c.machine)))
}

func leaseAnswer(data any) map[string]any { return map[string]any{"status": "success", "data": data} }

// acquireLease takes the lease, or prolongs it for a client that sends its nonce.
func (e *Emulator) acquireLease(c *call) (answer, error) {
	var in struct {
		TTL         int    `json:"ttl"`
		Description string `json:"description"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if text := c.URL.Query().Get("ttl"); text != "" {
		ttl, err := strconv.Atoi(text)
		if err != nil {
			return answer{}, fail(http.StatusBadRequest, "invalid_argument: ttl is not a number of seconds")
		}
		in.TTL = ttl
	}
	if in.TTL <= 0 {
		in.TTL = defaultLease
	}
	if err := e.checkLease(c); err != nil {
		return answer{}, err
	}
	m := c.machine
	if m.lease == nil {
		e.lend(m, "token"+leaseOwnership)
	}
	m.lease.expires = e.now().Add(time.Duration(in.TTL) * time.Second)
	if in.Description != "" {
		m.lease.description = in.Description
	}
	return created(leaseAnswer(m.lease.view(m)))
}

// lend puts a fresh lease on the Machine. The caller holds mu and sets when it ends.
func (e *Emulator) lend(m *machine, owner string) {
	m.lease = &lease{nonce: hex.EncodeToString(randomBytes(6)), owner: owner}
}

func (e *Emulator) releaseLease(c *call) (answer, error) {
	if e.activeLease(c.machine) == nil {
		return answer{}, fail(http.StatusNotFound, "lease not found")
	}
	if err := e.checkLease(c); err != nil {
		return answer{}, err
	}
	c.machine.lease = nil
	e.announce()
	return ok(leaseAnswer(done))
}

// viewWithLease shows the Machine after a create or an update, with the nonce of the lease that the call asked for, if it did.
func (e *Emulator) viewWithLease(m *machine, ttl int) machineView {
	v := e.view(m)
	if ttl > 0 {
		if e.activeLease(m) == nil {
			e.lend(m, "token"+leaseOwnership)
		}
		m.lease.expires = e.now().Add(time.Duration(ttl) * time.Second)
		v.Nonce = m.lease.nonce
	}
	return v
}

// HoldLease puts a lease of another client on a Machine, in place of any other. It reports whether the Machine exists.
func (e *Emulator) HoldLease(appName, machineID, owner string, ttl time.Duration) bool {
	return e.onMachine(appName, machineID, func(_ *app, m *machine) {
		e.lend(m, owner+leaseOwnership)
		m.lease.expires = e.now().Add(ttl)
	})
}
