package flyemulator

import (
	"encoding/json"
	"net/http"
)

// update is the body of a create or an update. The config is kept as it was sent.
type update struct {
	Config            json.RawMessage `json:"config"`
	Name              string          `json:"name"`
	Region            string          `json:"region"`
	CurrentVersion    string          `json:"current_version"`
	MinSecretsVersion *uint64         `json:"min_secrets_version"`
	SkipLaunch        bool            `json:"skip_launch"`
	SkipSecrets       bool            `json:"skip_secrets"`
	LeaseTTL          int             `json:"lease_ttl"` // seconds
	// SkipServiceRegistration brings the Machine up cordoned.
	SkipServiceRegistration bool `json:"skip_service_registration"`
}

func (e *Emulator) createMachine(c *call) (answer, error) {
	var in update
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	version, err := e.secretsFor(c.app, in.MinSecretsVersion)
	if err != nil {
		return answer{}, err
	}
	m, err := e.newMachine(c.app, in.Name, in.Region, in.Config)
	if err != nil {
		return answer{}, err
	}
	m.cordoned = in.SkipServiceRegistration
	e.snapshot(c.app, m, version, in.SkipSecrets)
	to := stateStarted
	if in.SkipLaunch || len(m.parsed.Standbys) > 0 {
		to = stateStopped
	}
	e.transit(c.app, m, "launch", stateCreated, to)
	return ok(e.viewWithLease(m, in.LeaseTTL))
}

// updateMachine replaces the Machine by one with the config that was sent, all of it, and with the secrets of now. It is the one
// call that gives a Machine a new environment.
func (e *Emulator) updateMachine(c *call) (answer, error) {
	var in update
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	m := c.machine
	parsed, err := parseConfig(in.Config)
	if err != nil {
		return answer{}, err
	}
	if passingStates[m.state] {
		return answer{}, fail(http.StatusConflict, "aborted: machine is %s: concurrent update in progress", m.state)
	}
	if in.CurrentVersion != "" && in.CurrentVersion != m.instance {
		return answer{}, fail(http.StatusConflict, "aborted: current version is %s, not %s", m.instance, in.CurrentVersion)
	}
	version, err := e.secretsFor(c.app, in.MinSecretsVersion)
	if err != nil {
		return answer{}, err
	}
	e.replace(c.app, m, in, parsed, version)
	return ok(e.viewWithLease(m, in.LeaseTTL))
}

// replace carries an update out. The caller holds mu.
func (e *Emulator) replace(a *app, m *machine, in update, parsed config, version uint64) {
	to := stateStopped // also for a suspended one: an update discards its memory
	if m.state == stateStarted && !in.SkipLaunch {
		to = stateStarted
	}
	m.config, m.parsed, m.instance = in.Config, parsed, newULID()
	if in.Name != "" {
		m.name = in.Name
	}
	m.cordoned = in.SkipServiceRegistration || m.cordoned && e.switches.UpdateKeepsCordon
	m.versions = append([]versionView{{m.instance, in.Config}}, m.versions...)
	e.snapshot(a, m, version, in.SkipSecrets)
	e.transit(a, m, "update", stateReplacing, to)
}

// secretsFor is the version of the app's secrets that a boot gets: without a fence it may be an older one. The caller holds mu.
func (e *Emulator) secretsFor(a *app, minimum *uint64) (uint64, error) {
	if minimum != nil {
		return a.vault.version, e.fence(a, *minimum)
	}
	return max(a.vault.version-min(e.switches.PropagationLag*versionStep, a.vault.version), firstVersion), nil
}
