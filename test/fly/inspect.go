package flyemulator

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// AppState is everything about an app, secrets in the clear.
type AppState struct {
	Name         string         `json:"name"`
	Organization string         `json:"organization"`
	Variable     string         `json:"variable"`
	Secrets      []SecretState  `json:"secrets"`
	History      []Change       `json:"history"` // oldest first
	Machines     []MachineState `json:"machines"`
	Releases     []ReleaseState `json:"releases"` // oldest first
}

// SecretState is a secret as it is set now.
type SecretState struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Digest  string `json:"digest"`
	Version string `json:"version"` // decimal
}

// MachineState is a Machine with what it booted with.
type MachineState struct {
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	State          string            `json:"state"`
	InstanceID     string            `json:"instance_id"`
	HostStatus     string            `json:"host_status"`
	Boot           Boot              `json:"boot"`
	Cordoned       bool              `json:"cordoned"`
	Leased         bool              `json:"leased"`
	Updates        int               `json:"updates"` // since it was created
	Env            map[string]string `json:"env"`
	SecretsVersion string            `json:"secrets_version"` // decimal
	Config         json.RawMessage   `json:"config"`
	Checks         []checkView       `json:"checks"`
	App            counters          `json:"app"`       // of the process that runs now
	AppTotal       counters          `json:"app_total"` // of all processes that have run
	process        *process
}

// Inspect returns an app, or false if there is none.
func (e *Emulator) Inspect(ctx context.Context, name string) (AppState, bool) {
	state, exists := e.inspect(name)
	for i := range state.Machines {
		m := &state.Machines[i]
		if m.process == nil {
			continue
		}
		m.App, _ = m.process.count(ctx) // an app that does not answer has counted nothing that could be known
		m.AppTotal.add(m.App)
	}
	return state, exists
}

func (e *Emulator) inspect(name string) (AppState, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, exists := e.apps[name]
	if !exists {
		return AppState{}, false
	}
	state := AppState{
		Name: a.name, Organization: a.organization, Variable: a.variable,
		Secrets: []SecretState{}, History: slices.AppendSeq([]Change{}, slices.Values(a.vault.history)), Machines: []MachineState{}, Releases: a.releaseStates(),
	}
	for _, n := range slices.Sorted(maps.Keys(a.vault.secrets)) {
		s := a.vault.secrets[n]
		state.Secrets = append(state.Secrets, SecretState{n, s.value, s.digest, decimal(s.version)})
	}
	for _, m := range a.inOrder() {
		state.Machines = append(state.Machines, MachineState{
			ID: m.id, Name: m.name, State: m.state, InstanceID: m.instance, HostStatus: m.hostStatus, Boot: m.boot, Cordoned: m.cordoned,
			Leased: e.activeLease(m) != nil, Updates: len(m.versions) - 1, Env: maps.Clone(m.env), SecretsVersion: decimal(m.secretsVersion),
			Config: m.config, Checks: e.checks(m), AppTotal: *m.past, process: m.process,
		})
	}
	return state, true
}

// NewMachine describes a Machine that is there before the client under test comes.
type NewMachine struct {
	State  string          `json:"state"`  // started (also if empty), stopped or suspended
	Region string          `json:"region"` // empty: fra
	Config json.RawMessage `json:"config"` // empty: that of a small app deployed by the CLI, release included
	Boot   Boot            `json:"boot"`   // empty: healthy
}

// AddMachine adds a Machine with the app's present secrets, in its state at once. It returns the Machine's ID.
func (e *Emulator) AddMachine(appName string, n NewMachine) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, exists := e.apps[appName]
	if !exists {
		return "", fmt.Errorf("there is no app %q", appName)
	}
	if len(n.Config) == 0 {
		n.Config = defaultConfig(e.deployed(a))
	}
	if n.State == "" {
		n.State = stateStarted
	}
	if !slices.Contains([]string{stateStarted, stateStopped, stateSuspended}, n.State) {
		return "", fmt.Errorf("a Machine cannot be added in the state %q", n.State)
	}
	m, err := e.newMachine(a, "", n.Region, n.Config)
	if err != nil {
		return "", err
	}
	if n.Boot != "" {
		m.boot = n.Boot
	}
	e.snapshot(a, m, a.vault.version, false)
	e.enter(m, n.State, eventOf[n.State], "flyd")
	if n.State == stateStarted {
		e.launch(a, m)
	}
	return m.id, nil
}

// MachineChange edits a Machine from outside. Empty fields change nothing.
type MachineChange struct {
	Boot       Boot   `json:"boot"`        // how it boots from now on; unhealthy and healthy act at once
	HostStatus string `json:"host_status"` // ok, unknown or unreachable
}

// ChangeMachine edits a Machine. It reports whether the Machine exists.
func (e *Emulator) ChangeMachine(appName, id string, change MachineChange) bool {
	return e.onMachine(appName, id, func(_ *app, m *machine) {
		if change.Boot != "" {
			m.boot = change.Boot
		}
		if change.HostStatus != "" {
			m.hostStatus = change.HostStatus
		}
		m.changed = e.now()
	})
}

// Rest has the tenant apps that run now log in no more, and stay as healthy as they are. It reports whether there is such an app.
func (e *Emulator) Rest(appName string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, exists := e.apps[appName]
	if !exists {
		return false
	}
	for _, m := range a.machines {
		if m.process != nil {
			m.process.rest()
		}
	}
	return true
}

// DestroyMachine destroys a Machine, leased or not. It reports whether the Machine exists.
func (e *Emulator) DestroyMachine(appName, id string) bool {
	return e.onMachine(appName, id, func(_ *app, m *machine) { e.destroy(m) })
}

// onMachine runs f on a Machine under the lock. It reports whether there is one.
func (e *Emulator) onMachine(appName, id string, f func(*app, *machine)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, exists := e.apps[appName]
	if !exists {
		return false
	}
	m, exists := a.machines[id]
	if exists {
		f(a, m)
		e.announce()
	}
	return exists
}
