package flyemulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Secret versions start just above 2^53 and stay odd, so that each one changes when a client passes it through a float64.
const (
	firstVersion = 1<<53 + 1
	versionStep  = 2
)

// Change is one entry of an app's history of secrets. A nil Value is a removal.
type Change struct {
	Version string  `json:"version"` // decimal
	Name    string  `json:"name"`
	Value   *string `json:"value"`
}

type secret struct {
	value, digest        string
	version              uint64
	createdAt, updatedAt time.Time
}

// vault holds an app's secrets and how they came to be.
type vault struct {
	version uint64
	secrets map[string]secret
	history []Change
}

func newVault() vault { return vault{version: firstVersion, secrets: map[string]secret{}} }

// apply sets the values and removes those that are nil. The version rises even if nothing changes.
func (v *vault) apply(values map[string]*string, now time.Time, digest func(value string, version uint64) string) {
	v.version += versionStep
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		v.history = append(v.history, Change{Version: decimal(v.version), Name: name, Value: value})
		if value == nil {
			delete(v.secrets, name)
			continue
		}
		s := secret{value: *value, digest: digest(*value, v.version), version: v.version, createdAt: now, updatedAt: now}
		if before, exists := v.secrets[name]; exists {
			s.createdAt = before.createdAt
		}
		v.secrets[name] = s
	}
}

// at is what the secrets were at a version.
func (v *vault) at(version uint64) map[string]string {
	values := map[string]string{}
	for _, change := range v.history {
		if n, err := strconv.ParseUint(change.Version, 10, 64); err != nil || n > version {
			break
		}
		if change.Value == nil {
			delete(values, change.Name)
		} else {
			values[change.Name] = *change.Value
		}
	}
	return values
}

// digest is opaque: it cannot be computed without the emulator's own key. The caller holds mu.
func (e *Emulator) digest(a *app) func(string, uint64) string {
	return func(value string, version uint64) string {
		mac := hmac.New(sha256.New, e.digestKey)
		if !e.switches.DigestPerVersion {
			version = 0
		}
		fmt.Fprintf(mac, "%q %d %q", a.name, version, value)
		return hex.EncodeToString(mac.Sum(nil)[:8])
	}
}

// setSecrets applies values to an app. The caller holds mu.
func (e *Emulator) setSecrets(a *app, values map[string]*string) {
	a.vault.apply(values, e.now(), e.digest(a))
	e.announce()
}

// PutSecret sets a secret of an app, or removes it if value is nil, as another client than the one under test would. It
// reports whether the app exists.
func (e *Emulator) PutSecret(appName, name string, value *string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, exists := e.apps[appName]
	if exists {
		e.setSecrets(a, map[string]*string{name: value})
	}
	return exists
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
