package fly

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	flyapi "github.com/superfly/fly-go"
)

// metadataKey is the one member of a Machine's config that this program owns.
const metadataKey = "tenant_credential_revision"

// settings are the parts of a Machine's config that decisions need, bounded. A member of an unexpected type counts as absent.
type settings struct {
	// group is the process group; Machines from before Fly's Apps V2 have none, or an older key.
	group string
	// mark is what the Machine was last moved to.
	mark mark
	// platform and release are what `fly deploy` has written of itself.
	platform, release string
	// grace is the longest time that a check leaves the Machine after its start; checked: there is a check.
	grace   time.Duration
	checked bool
	hides   hides
}

// hides says what in a config keeps the app secret from a process, or may: Fly's precedence is not documented. ignored is a process that does
// not get the app's secrets, nor this one as a secret of its own.
type hides struct{ env, processEnv, ignored, ownSecrets bool }

const (
	// maxText bounds a value that is kept of a config's metadata; a longer one counts as absent.
	maxText = 256
	// maxGrace bounds a check's grace period.
	maxGrace = time.Hour
)

// readSettings looks at a config without keeping it.
func readSettings(config []byte, variable string) (s settings) {
	_ = members(config, func(name string, value []byte, _ int) error {
		switch name {
		case "metadata":
			s.readMetadata(value)
		case "env":
			s.hides.env = s.hides.env || has(value, variable)
		case "checks":
			_ = members(value, func(_ string, check []byte, _ int) error { return s.noteCheck(check) })
		case "services":
			_ = elements(value, s.noteService)
		case "processes", "containers": // both can shadow the app's secrets
			_ = elements(value, func(process []byte) error { return s.noteProcess(process, variable) })
		}
		return nil
	})
	return s
}

func (s *settings) readMetadata(metadata []byte) {
	s.mark, s.platform, s.release = mark{}, "", "" // of two lists the last one counts
	var group, older string
	grouped := false
	_ = members(metadata, func(name string, value []byte, _ int) error {
		switch name {
		case flyapi.MachineConfigMetadataKeyFlyProcessGroup:
			group, grouped = text(value), true
		case "process_group":
			older = text(value)
		case flyapi.MachineConfigMetadataKeyFlyPlatformVersion:
			s.platform = text(value)
		case flyapi.MachineConfigMetadataKeyFlyReleaseVersion:
			s.release = text(value)
		case metadataKey:
			s.mark = parseMark(text(value))
		}
		return nil
	})
	if s.group = older; grouped {
		s.group = group
	}
}

func (s *settings) noteService(service []byte) error {
	return members(service, func(name string, value []byte, _ int) error {
		if name == "checks" {
			_ = elements(value, s.noteCheck)
		}
		return nil
	})
}

func (s *settings) noteCheck(check []byte) error {
	s.checked = true
	_ = members(check, func(name string, value []byte, _ int) error {
		if name == "grace_period" {
			s.grace = max(s.grace, duration(value))
		}
		return nil
	})
	return nil
}

func (s *settings) noteProcess(process []byte, variable string) error {
	var ignores, gets bool
	_ = members(process, func(name string, value []byte, _ int) error {
		switch name {
		case "env":
			s.hides.processEnv = s.hides.processEnv || has(value, variable)
		case "ignore_app_secrets":
			ignores = string(value) == "true"
		case "secrets":
			_ = elements(value, func(secret []byte) error {
				s.hides.ownSecrets = true
				gets = gets || isSecret(secret, variable)
				return nil
			})
		}
		return nil
	})
	s.hides.ignored = s.hides.ignored || ignores && !gets
	return nil
}

// isSecret says whether a process's own secret is the app's of that name, under that name.
func isSecret(secret []byte, variable string) bool {
	var envVar, name string
	_ = members(secret, func(member string, value []byte, _ int) error {
		switch member {
		case "env_var":
			envVar = text(value)
		case "name":
			name = text(value)
		}
		return nil
	})
	return envVar == variable && (name == variable || name == "")
}

// has says whether an object has a member of that name.
func has(object []byte, key string) (found bool) {
	_ = members(object, func(name string, _ []byte, _ int) error { found = found || name == key; return nil })
	return found
}

// text is a JSON string; "" for anything else, and for one that is too long.
func text(value []byte) string {
	var text string
	if json.Unmarshal(value, &text) != nil || len(text) > maxText {
		return ""
	}
	return text
}

// duration reads a duration text, or nanoseconds as a number.
func duration(value []byte) time.Duration {
	d, err := time.ParseDuration(text(value)) // Fly has checked it; an odd one counts as none
	if err != nil {
		var nanoseconds int64
		_ = json.Unmarshal(value, &nanoseconds)
		d = time.Duration(nanoseconds)
	}
	return min(max(d, 0), maxGrace)
}

// shadows says what in the config may keep the app secret from a process.
func (h hides) shadows(id, variable string) []string {
	var found []string
	if h.env {
		found = append(found, fmt.Sprintf("Machine %s sets %s in its config's env, which may hide the app secret", id, variable))
	}
	if h.processEnv {
		found = append(found, fmt.Sprintf("Machine %s sets %s in the env of a process, which may hide the app secret", id, variable))
	}
	if h.ignored {
		found = append(found, fmt.Sprintf("Machine %s has a process with ignore_app_secrets, which does not get %s", id, variable))
	}
	if h.ownSecrets {
		found = append(found, fmt.Sprintf("Machine %s has a process with secrets of its own, which may hide %s", id, variable))
	}
	return found
}

// hidden names what would keep the new value from a process, "" = nothing that is known to.
func (h hides) hidden(id, variable string) string {
	switch {
	case h.env:
		return fmt.Sprintf("Machine %s sets %s in its config's env", id, variable)
	case h.processEnv:
		return fmt.Sprintf("Machine %s sets %s in the env of a process", id, variable)
	case h.ignored:
		return fmt.Sprintf("Machine %s has a process with ignore_app_secrets, which does not get %s", id, variable)
	default:
		return ""
	}
}

// withMark returns config with our one metadata value set. Every other byte stays as it is: unknown members, explicit zeros,
// the spelling of numbers, and the order of members.
func withMark(config []byte, value string) ([]byte, error) {
	if !json.Valid(config) {
		return nil, errNotObject
	}
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

var errTwice = errors.New("two members of one name")

// member finds the value of an object's member; start == end when there is none. Two of the name are an error: Fly may take the other one.
func member(object []byte, key string) (found []byte, start, end int, err error) {
	err = members(object, func(name string, value []byte, at int) error {
		if name != key {
			return nil
		}
		if found != nil {
			return errTwice
		}
		found, start, end = value, at-len(value), at
		return nil
	})
	if err != nil {
		return nil, 0, 0, err
	}
	return found, start, end, nil
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
