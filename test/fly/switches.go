package flyemulator

// Switches choose between behaviours of Fly that are not established, or hold time still. A client has to work with either
// position of each.
type Switches struct {
	// StopStartRefreshesEnv gives a Machine that is stopped and started again the app's current secrets.
	StopStartRefreshesEnv bool `json:"stop_start_refreshes_env"`
	// HonourVersionQuery makes reads of secrets treat ?version= like ?min_version=; otherwise they ignore it.
	HonourVersionQuery bool `json:"honour_version_query"`
	// ExecInheritsEnv runs exec with the Machine's whole environment; otherwise it sees the FLY_ variables only.
	ExecInheritsEnv bool `json:"exec_inherits_env"`
	// UnreachableMinStatus is the answer to a secrets version that does not exist yet: 408 or 412.
	UnreachableMinStatus int `json:"unreachable_min_status"`
	// PropagationLag is how many versions behind the newest an update reads secrets if it names no min_secrets_version.
	PropagationLag uint64 `json:"propagation_lag"`
	// ConfigEnvOverridesSecrets lets a variable of the Machine's config.env hide an app secret of the same name.
	ConfigEnvOverridesSecrets bool `json:"config_env_overrides_secrets"`
	// DigestPerVersion gives the same value another digest each time it is set.
	DigestPerVersion bool `json:"digest_per_version"`
	// SetReturnsAllSecrets makes the answer to a set list every secret of the app, not only those that were set.
	SetReturnsAllSecrets bool `json:"set_returns_all_secrets"`
	// UpdateKeepsCordon leaves a cordoned Machine cordoned across an update.
	UpdateKeepsCordon bool `json:"update_keeps_cordon"`
	// RejectStaleNonce answers 409 to a nonce that is sent when no lease is held; otherwise it is ignored.
	RejectStaleNonce bool `json:"reject_stale_nonce"`
	// LeaseBlocksMetadata makes a lease guard the metadata calls as well.
	LeaseBlocksMetadata bool `json:"lease_blocks_metadata"`
	// RESTReleases makes and finishes releases by REST as well as by GraphQL; otherwise Fly has no path below /api/v1.
	RESTReleases bool `json:"rest_releases"`
	// CompatChecks adds the bg_deployments_compat check, which says nothing, to those of a started Machine.
	CompatChecks bool `json:"compat_checks"`
	// RateLimits enforces Fly's published limits per action and Machine or app.
	RateLimits bool `json:"rate_limits"`
	// RetryAfter adds that header to a 429 of RateLimits.
	RetryAfter bool `json:"retry_after"`
	// TransitionMS is how long a Machine stays in a passing state such as replacing, in milliseconds.
	TransitionMS int `json:"transition_ms"`
	// HoldTransitions keeps Machines in their passing states until it is switched off.
	HoldTransitions bool `json:"hold_transitions"`
	// HoldChecks keeps the checks of all Machines critical until it is switched off.
	HoldChecks bool `json:"hold_checks"`
}

// DefaultSwitches are the positions that a new Emulator starts with: the likelier, or the stricter, of each pair.
func DefaultSwitches() Switches {
	return Switches{
		HonourVersionQuery:   true,
		ExecInheritsEnv:      true,
		UnreachableMinStatus: 408,
		UpdateKeepsCordon:    true,
		RejectStaleNonce:     true,
		RESTReleases:         true,
		TransitionMS:         50,
	}
}

// Switches returns the present positions.
func (e *Emulator) Switches() Switches {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.switches
}

// SetSwitches changes the positions; change edits a copy of the present ones.
func (e *Emulator) SetSwitches(change func(*Switches)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := e.switches
	change(&next)
	e.switches = next
	e.announce()
}
