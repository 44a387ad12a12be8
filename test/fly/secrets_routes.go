package flyemulator

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// secretView is a secret as the API shows it: never with its value.
type secretView struct {
	Name      string `json:"name"`
	Digest    string `json:"digest"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
}

func (v *vault) view(name string) secretView {
	s := v.secrets[name]
	return secretView{name, s.digest, s.createdAt.UTC().Format(time.RFC3339), s.updatedAt.UTC().Format(time.RFC3339)}
}

func (v *vault) views(names []string) []secretView {
	list := make([]secretView, 0, len(names))
	for _, name := range names {
		if _, exists := v.secrets[name]; exists {
			list = append(list, v.view(name))
		}
	}
	return list
}

// fence refuses a version that does not exist yet. The caller holds mu.
func (e *Emulator) fence(a *app, version uint64) error {
	if version > a.vault.version {
		return fail(e.switches.UnreachableMinStatus, "failed_precondition: secrets have not reached version %d", version)
	}
	return nil
}

func (e *Emulator) queryFence(c *call) error {
	names := []string{"min_version"}
	if e.switches.HonourVersionQuery {
		names = append(names, "version")
	}
	for _, name := range names {
		text := c.URL.Query().Get(name)
		if text == "" {
			continue
		}
		version, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fail(http.StatusBadRequest, "invalid_argument: %s is not a version", name)
		}
		if err := e.fence(c.app, version); err != nil {
			return err
		}
	}
	return nil
}

func (e *Emulator) listSecrets(c *call) (answer, error) {
	if err := e.queryFence(c); err != nil {
		return answer{}, err
	}
	v := &c.app.vault
	return ok(map[string]any{"secrets": v.views(slices.Sorted(maps.Keys(v.secrets)))})
}

func (e *Emulator) getSecret(c *call) (answer, error) {
	if err := e.queryFence(c); err != nil {
		return answer{}, err
	}
	name := c.PathValue("name")
	if _, exists := c.app.vault.secrets[name]; !exists {
		return answer{}, fail(http.StatusNotFound, "secret not found")
	}
	return ok(c.app.vault.view(name))
}

func (e *Emulator) updateSecrets(c *call) (answer, error) {
	var in struct {
		Values map[string]*string `json:"values"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Values == nil {
		return answer{}, fail(http.StatusBadRequest, "invalid_argument: values is required")
	}
	e.setSecrets(c.app, in.Values)
	v := &c.app.vault
	names := slices.Sorted(maps.Keys(in.Values))
	if e.switches.SetReturnsAllSecrets {
		names = slices.Sorted(maps.Keys(v.secrets))
	}
	return ok(map[string]any{"secrets": v.views(names), "version": v.version, "Version": v.version})
}

func (e *Emulator) setSecret(c *call) (answer, error) {
	var in struct {
		Value *string `json:"value"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Value == nil {
		return answer{}, fail(http.StatusBadRequest, "invalid_argument: value is required")
	}
	name := c.PathValue("name")
	e.setSecrets(c.app, map[string]*string{name: in.Value})
	v := &c.app.vault
	return created(struct {
		secretView
		Version    uint64 `json:"version"`
		Deprecated uint64 `json:"Version"`
	}{v.view(name), v.version, v.version})
}

func (e *Emulator) deleteSecret(c *call) (answer, error) {
	e.setSecrets(c.app, map[string]*string{c.PathValue("name"): nil})
	v := c.app.vault.version
	return ok(map[string]any{"version": v, "Version": v})
}
