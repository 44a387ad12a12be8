package fly

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// metadataKey is the one member of a Machine's config that this program owns.
const metadataKey = "tenant_credential_revision"

// settings are the parts of a Machine's config that decisions need.
type settings struct {
	Metadata   map[string]string      `json:"metadata"`
	Env        map[string]string      `json:"env"`
	Checks     map[string]checkConfig `json:"checks"`
	Services   []service              `json:"services"`
	Processes  []process              `json:"processes"`
	Containers []process              `json:"containers"`
}

type service struct {
	Checks []checkConfig `json:"checks"`
}

type checkConfig struct {
	// GracePeriod is a duration text, or nanoseconds as a number.
	GracePeriod json.RawMessage `json:"grace_period"`
}

// process is an entry of processes or containers: both can shadow the app's secrets.
type process struct {
	Name             string            `json:"name"`
	Env              map[string]string `json:"env"`
	Secrets          []json.RawMessage `json:"secrets"`
	IgnoreAppSecrets bool              `json:"ignore_app_secrets"`
}

// readSettings reads what it understands; a member of an unexpected type counts as absent.
func (m *machine) readSettings() {
	m.settings = settings{}
	if m.hasConfig() {
		_ = json.Unmarshal(m.Config, &m.settings)
	}
}

func (m *machine) hasConfig() bool {
	return len(m.Config) > 0 && !bytes.Equal(m.Config, []byte("null"))
}

// group is the process group; Machines of before Fly's Apps V2 have none, or an older key.
func (s settings) group() string {
	if group, ok := s.Metadata["fly_process_group"]; ok {
		return group
	}
	return s.Metadata["process_group"]
}

// grace is the longest time that a check leaves the Machine after its start, and whether there is any check.
func (s settings) grace() (longest time.Duration, any bool) {
	checks := slices.Collect(maps.Values(s.Checks))
	for _, service := range s.Services {
		checks = append(checks, service.Checks...)
	}
	for _, check := range checks {
		longest = max(longest, duration(check.GracePeriod))
	}
	return longest, len(checks) > 0
}

func duration(raw json.RawMessage) time.Duration {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		d, _ := time.ParseDuration(text) // Fly has checked it; an odd one counts as none
		return d
	}
	var nanoseconds int64
	_ = json.Unmarshal(raw, &nanoseconds)
	return time.Duration(nanoseconds)
}

// shadows says what in the config may keep the app secret from a process. Fly's precedence is not documented.
func (s settings) shadows(id, variable string) []string {
	var found []string
	if _, ok := s.Env[variable]; ok {
		found = append(found, fmt.Sprintf("Machine %s sets %s in its config's env, which may hide the app secret", id, variable))
	}
	for _, p := range slices.Concat(s.Processes, s.Containers) {
		if _, ok := p.Env[variable]; ok {
			found = append(found, fmt.Sprintf("Machine %s sets %s in the env of a process, which may hide the app secret", id, variable))
		}
		if p.IgnoreAppSecrets {
			found = append(found, fmt.Sprintf("Machine %s has a process with ignore_app_secrets, which does not get %s", id, variable))
		}
		if len(p.Secrets) > 0 {
			found = append(found, fmt.Sprintf("Machine %s has a process with secrets of its own, which may hide %s", id, variable))
		}
	}
	return found
}

// withMark returns config with our one metadata value set. Every other byte stays as it is: unknown members, explicit zeros,
// the spelling of numbers, and the order of members.
func withMark(config []byte, value string) ([]byte, error) {
	metadata, start, end, err := member(config, "metadata")
	if err != nil {
		return nil, err
	}
	if start == end || bytes.Equal(metadata, []byte("null")) {
		metadata = []byte("{}")
	}
	_, from, to, err := member(metadata, metadataKey)
	if err != nil {
		return nil, err
	}
	return put(config, "metadata", start, end, put(metadata, metadataKey, from, to, quote(value))), nil
}

// member finds the value of an object's member; start == end when there is none. Of duplicates the last one counts, as in
// encoding/json.
func member(object []byte, key string) (value []byte, start, end int, err error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, 0, 0, errors.New("not a JSON object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, 0, 0, errors.New("not a JSON object")
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, 0, 0, errors.New("not a JSON object")
		}
		if name == key {
			end = int(d.InputOffset())
			value, start = raw, end-len(raw)
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, 0, 0, errors.New("not a JSON object")
	}
	return value, start, end, nil
}

// put replaces object[start:end], or inserts a first member where start == end.
func put(object []byte, key string, start, end int, value []byte) []byte {
	if start < end {
		return slices.Concat(object[:start], value, object[end:])
	}
	brace := bytes.IndexByte(object, '{') + 1
	first := slices.Concat(quote(key), []byte(":"), value)
	if rest := bytes.TrimLeft(object[brace:], " \t\r\n"); len(rest) > 0 && rest[0] != '}' {
		first = append(first, ',')
	}
	return slices.Concat(object[:brace], first, object[brace:])
}

func quote(text string) []byte {
	quoted, _ := json.Marshal(text) // a string always can be marshalled
	return quoted
}
