package tenantenvironment

import "sync"

// Canary has each address that an environment's databases are given proved by one tenant, before the others follow it. The zero value knows
// of none.
type Canary struct {
	mu     sync.Mutex
	trials map[string]*trial // by address
}

// trial is what is known of one address.
type trial struct {
	proved bool
	tenant string // the tenant that tries it; "" = none yet
}

// Free says that the tenant may move to the address: it is proved, or no other tenant tries it.
func (c *Canary) Free(address, tenantID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.trial(address)
	return t.proved || t.tenant == "" || t.tenant == tenantID
}

// Try has the tenant try the address, and says whether it may.
func (c *Canary) Try(address, tenantID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.trial(address)
	if !t.proved && t.tenant == "" {
		t.tenant = tenantID
	}
	return t.proved || t.tenant == tenantID
}

// Prove says that every Machine of a tenant runs with the address.
func (c *Canary) Prove(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.trial(address) = trial{proved: true}
}

// Leave says that the tenant tries no address.
func (c *Canary) Leave(tenantID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.trials {
		if t.tenant == tenantID {
			t.tenant = ""
		}
	}
}

func (c *Canary) trial(address string) *trial {
	if c.trials == nil {
		c.trials = map[string]*trial{}
	}
	if c.trials[address] == nil {
		c.trials[address] = &trial{}
	}
	return c.trials[address]
}
