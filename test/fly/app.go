package flyemulator

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
)

// app is a Fly app.
type app struct {
	name         string
	organization string
	variable     string // the variable that the tenant app takes its database URL from
	vault        vault
	machines     map[string]*machine // destroyed ones included
	releases     []*release          // oldest first
}

// PutApp creates an app, or moves an existing one to another organization or variable. It reports whether it is new.
func (e *Emulator) PutApp(name, organization, variable string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if variable == "" {
		variable = "DATABASE_URL"
	}
	a, exists := e.apps[name]
	if !exists {
		a = &app{name: name, machines: map[string]*machine{}, vault: newVault()}
		e.apps[name] = a
	}
	a.organization, a.variable = organization, variable
	return !exists
}

// DeleteApp removes an app and ends its Machines. It reports whether there was one.
func (e *Emulator) DeleteApp(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, exists := e.apps[name]
	if !exists {
		return false
	}
	for _, m := range a.machines {
		m.epoch++ // work in progress for it finds that its time has passed
		e.endProcess(m)
	}
	delete(e.apps, name)
	e.announce()
	return true
}

// Apps lists the names of all apps, sorted.
func (e *Emulator) Apps() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(e.apps))))
}

// inOrder lists the app's Machines by ID.
func (a *app) inOrder() []*machine {
	list := make([]*machine, 0, len(a.machines))
	for _, id := range slices.Sorted(maps.Keys(a.machines)) {
		list = append(list, a.machines[id])
	}
	return list
}

func (a *app) machineCount() int {
	n := 0
	for _, m := range a.machines {
		if m.state != stateDestroyed {
			n++
		}
	}
	return n
}

// numericID is stable for a name.
func numericID(name string) int32 {
	sum := sha256.Sum256([]byte(name))
	return int32(binary.BigEndian.Uint32(sum[:4]) >> 1)
}

func (a *app) status() string {
	if a.machineCount() == 0 {
		return "pending"
	}
	return "deployed"
}

// describe is the app as GET /v1/apps/{app} shows it.
func (a *app) describe() map[string]any {
	return map[string]any{
		"id":                  a.name,
		"internal_numeric_id": numericID(a.name),
		"name":                a.name,
		"network":             "default",
		"status":              a.status(),
		"machine_count":       a.machineCount(),
		"volume_count":        0,
		"organization": map[string]any{
			"name": a.organization, "slug": a.organization, "internal_numeric_id": numericID(a.organization),
		},
	}
}

func (e *Emulator) getApp(c *call) (answer, error) { return ok(c.app.describe()) }

// currentTokens tells what the caller's tokens are good for.
func (e *Emulator) currentTokens(c *call) (answer, error) {
	list := []map[string]any{}
	for _, t := range e.grants(c.Request) {
		list = append(list, map[string]any{"organization": t.Organization, "org_slug": t.Organization, "apps": t.Apps})
	}
	return ok(map[string]any{"tokens": list})
}

func (e *Emulator) authenticated(c *call) error {
	if len(e.grants(c.Request)) == 0 {
		return errUnauthenticated
	}
	return nil
}
