package tenantenvironment

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// Connection is what the operator holds open to one environment.
type Connection struct {
	Postgres *postgres.Server
	Fly      *fly.Client
	// Slots bounds the rotations in progress. It outlives a change of login or token.
	Slots *Slots
	// Pause says whether rotations may start. It outlives a change of login or token, too.
	Pause *Pause
	// Canary proves a changed address. It outlives a change of login or token, too.
	Canary *Canary
	// Changed is when the connection replaced another one; zero for the first.
	Changed time.Time

	// externalProblem is the last survey's; nil: there was none.
	externalProblem atomic.Pointer[string]

	fingerprint [sha256.Size]byte
	usable      bool
	table       tableTrial
	flyTrial    *flyTrial // nil: not made yet
}

// Connections holds one connection per environment. The environments' controller fills it, the tenants' controller reads it.
// The zero value is empty and ready to use.
type Connections struct {
	mu     sync.Mutex
	byName map[string]*Connection
}

// Usable returns the connection to an environment, or nil while the environment cannot be used.
func (c *Connections) Usable(environment string) *Connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	if connection := c.byName[environment]; connection != nil && connection.usable {
		return connection
	}
	return nil
}

// slots returns those of an environment. One that this process has never been connected to has given none.
func (c *Connections) slots(environment string) *Slots {
	c.mu.Lock()
	defer c.mu.Unlock()
	if connection := c.byName[environment]; connection != nil {
		return connection.Slots
	}
	return newSlots(0)
}

// settings is everything that a connection is made of.
type settings struct {
	postgres      postgres.Config
	fly           fly.Config
	maxConcurrent int
}

func (s settings) fingerprint() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%#v %#v %q %q", s.postgres, s.fly, s.postgres.URL.Reveal(), s.fly.Token.Reveal()))
}

// get returns the connection that matches the settings and whether it had to be made: the first one, or one for a changed login or
// token. It dials nothing.
func (c *Connections) get(environment string, want settings) (connection *Connection, changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.byName[environment]
	if old != nil && old.fingerprint == want.fingerprint() {
		old.Slots.resize(want.maxConcurrent)
		return old, false, nil
	}
	made, err := open(want)
	if err != nil {
		return nil, false, err
	}
	if old != nil {
		made.Slots = old.Slots
		made.Slots.resize(want.maxConcurrent)
		made.Pause, made.Canary, made.Changed = old.Pause, old.Canary, time.Now()
		closeWhenIdle(old)
	}
	if c.byName == nil {
		c.byName = map[string]*Connection{}
	}
	c.byName[environment] = made
	return made, true, nil
}

// flySettingsError is of a token, an address or certificates of Fly that cannot be used as they are.
type flySettingsError struct{ error }

func (e *flySettingsError) Unwrap() error { return e.error }

func open(want settings) (*Connection, error) {
	server, err := postgres.Connect(context.Background(), want.postgres)
	if err != nil {
		return nil, err
	}
	client, err := fly.Open(want.fly)
	if err != nil {
		server.Close()
		return nil, &flySettingsError{err}
	}
	return &Connection{Postgres: server, Fly: client, Slots: newSlots(want.maxConcurrent), Pause: &Pause{}, Canary: &Canary{}, fingerprint: want.fingerprint()}, nil
}

// setUsable says whether tenants may use the connection, and returns whether that is news.
func (c *Connections) setUsable(environment string, usable bool) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	connection := c.byName[environment]
	if connection == nil {
		return false
	}
	changed = connection.usable != usable
	connection.usable = usable
	return changed
}

// ExternalProblem is why pg_hba.conf does not make the group of external access count, as the last look has seen it; "" = it does.
func (c *Connection) ExternalProblem() string {
	if seen := c.externalProblem.Load(); seen != nil {
		return *seen
	}
	return ""
}

// noteExternalProblem returns whether it is news.
func (c *Connection) noteExternalProblem(problem string) (changed bool) {
	before := c.externalProblem.Swap(&problem)
	return before != nil && *before != problem
}

// drop closes the connection to an environment that is gone, or whose Secrets are.
func (c *Connections) drop(environment string) (existed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.byName[environment]
	delete(c.byName, environment)
	if old != nil {
		closeWhenIdle(old)
	}
	return old != nil
}

// closeWhenIdle lets the calls in progress end: closing a pool waits for its connections to be given back.
func closeWhenIdle(connection *Connection) { go connection.Postgres.Close() }
