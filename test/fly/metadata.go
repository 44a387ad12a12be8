package flyemulator

import (
	"encoding/json"
	"maps"
	"net/http"
)

func (e *Emulator) getMetadata(c *call) (answer, error) {
	metadata := maps.Clone(c.machine.parsed.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	return ok(metadata)
}

func (e *Emulator) setMetadata(c *call) (answer, error) {
	var in struct {
		Value *string `json:"value"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Value == nil {
		return answer{}, fail(http.StatusBadRequest, "invalid_argument: value is required")
	}
	return e.editMetadata(c, func(metadata map[string]string) { metadata[c.PathValue("key")] = *in.Value })
}

func (e *Emulator) deleteMetadata(c *call) (answer, error) {
	return e.editMetadata(c, func(metadata map[string]string) { delete(metadata, c.PathValue("key")) })
}

// patchMetadata sets many keys at once, and removes those that are null or empty.
func (e *Emulator) patchMetadata(c *call) (answer, error) {
	var in struct {
		Metadata map[string]*string `json:"metadata"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	return e.editMetadata(c, func(metadata map[string]string) {
		for key, value := range in.Metadata {
			if value == nil || *value == "" {
				delete(metadata, key)
			} else {
				metadata[key] = *value
			}
		}
	})
}

// editMetadata changes that part of the config alone. The Machine runs on, in the same version.
func (e *Emulator) editMetadata(c *call, edit func(map[string]string)) (answer, error) {
	if e.switches.LeaseBlocksMetadata {
		if err := e.checkLease(c); err != nil {
			return answer{}, err
		}
	}
	m := c.machine
	metadata := maps.Clone(m.parsed.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	edit(metadata)
	var members map[string]json.RawMessage
	if err := json.Unmarshal(m.config, &members); err != nil {
		return answer{}, err
	}
	raw, err := json.Marshal(metadata)
	if err != nil {
		return answer{}, err
	}
	members["metadata"] = raw
	if m.config, err = json.Marshal(members); err != nil {
		return answer{}, err
	}
	m.parsed.Metadata = metadata
	e.announce()
	return ok(done)
}
