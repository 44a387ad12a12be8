package fly

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

const updateTimeout = 20 * time.Second

// machine is what a roll-out looks at. Config stays raw: whatever this program does not know must survive an update.
type machine struct {
	ID         string          `json:"id"`
	State      string          `json:"state"`
	InstanceID string          `json:"instance_id"`
	HostStatus string          `json:"host_status"`
	Config     json.RawMessage `json:"config"`
	Checks     []check         `json:"checks"`
	Events     []event         `json:"events"`
	Lease      *lease          `json:"lease"`
	UpdatedAt  string          `json:"updated_at"`
	Cordoned   bool            `json:"cordoned"`

	// settings are the parts of Config that decisions need.
	settings settings
	// wasRunning: it ran when this roll-out first tried to update it.
	wasRunning bool
	// wasUnwell: the last Probe of the app, before the new value came into force, found it so. What is unwell only since then may be
	// so because the old value is refused, and is no baseline.
	wasUnwell bool
}

type check struct {
	Name   string `json:"name"`
	Status string `json:"status"` // passing, warning or critical
}

type event struct {
	Type      string `json:"type"`
	Status    string `json:"status"`
	Timestamp int64  `json:"timestamp"` // milliseconds since 1970
	Request   struct {
		ExitEvent    *exit `json:"exit_event"`
		MonitorEvent *struct {
			ExitEvent *exit `json:"exit_event"`
		} `json:"MonitorEvent"`
	} `json:"request"`
}

type exit struct {
	ExitCode      int  `json:"exit_code"`
	OOMKilled     bool `json:"oom_killed"`
	RequestedStop bool `json:"requested_stop"`
}

func (e event) at() time.Time { return time.UnixMilli(e.Timestamp) }

// exit is nil for any event but the end of the Machine's main process.
func (e event) exit() *exit {
	if e.Type != "exit" {
		return nil
	}
	if m := e.Request.MonitorEvent; m != nil && m.ExitEvent != nil {
		return m.ExitEvent
	}
	return e.Request.ExitEvent
}

// list returns the app's Machines with their leases.
func (c *Client) list(ctx context.Context, app string) ([]machine, error) {
	r := request{
		action: "list machines", id: app, method: http.MethodGet,
		path: "/apps/" + app + "/machines?include_leases=true", timeout: readTimeout,
	}
	var answer []json.RawMessage
	if err := c.call(ctx, r, &answer); err != nil {
		return nil, err
	}
	machines := make([]machine, len(answer))
	for i, raw := range answer {
		var ok bool
		if machines[i], ok = readMachine(raw); !ok {
			return nil, answerFailure(r)
		}
	}
	return machines, nil
}

func (c *Client) get(ctx context.Context, app, id string) (machine, error) {
	r := machineRequest(app, id, getMachine, http.MethodGet, "")
	var answer json.RawMessage
	if err := c.call(ctx, r, &answer); err != nil {
		return machine{}, err
	}
	m, ok := readMachine(answer)
	if !ok || m.ID != id {
		return machine{}, answerFailure(r)
	}
	return m, nil
}

// readMachine skips a member of an unexpected type, as encoding/json does: one odd Machine must not hide the others.
func readMachine(raw []byte) (machine, bool) {
	var m machine
	var mismatch *json.UnmarshalTypeError
	if err := json.Unmarshal(raw, &m); err != nil && !errors.As(err, &mismatch) {
		return machine{}, false
	}
	m.readSettings()
	return m, name.MatchString(m.ID)
}

// changedAt is the time of the last change that Fly noted; zero = not known.
func (m machine) changedAt() time.Time {
	at, _ := time.Parse(time.RFC3339, m.UpdatedAt)
	return at
}

// update is what is asked of a Machine beside its config.
type update struct {
	CurrentVersion    string `json:"current_version"`
	MinSecretsVersion uint64 `json:"min_secrets_version,omitempty"`
	SkipLaunch        bool   `json:"skip_launch"`
	// SkipServiceRegistration keeps Fly's proxy from sending requests to it: a Machine that somebody has cordoned stays so.
	SkipServiceRegistration bool `json:"skip_service_registration,omitempty"`
}

// update replaces the Machine's config, which goes out as the bytes given.
func (c *Client) update(ctx context.Context, app, id, nonce string, config []byte, u update) error {
	members, err := json.Marshal(u)
	if err != nil {
		return failure.New(failure.Retry, failure.Unexpected, "the update of Machine "+id+" can not be built")
	}
	r := machineRequest(app, id, "update machine", http.MethodPost, "")
	r.nonce, r.timeout = nonce, updateTimeout
	r.body = append(append([]byte(`{"config":`), config...), ',')
	r.body = append(r.body, members[1:]...)
	var answer machine
	if err := c.call(ctx, r, &answer); err != nil {
		return err
	}
	if answer.InstanceID == "" {
		return answerFailure(r)
	}
	return nil
}

func machineRequest(app, id, action, method, rest string) request {
	return request{
		action: action, id: id, ofMachine: true, method: method,
		path: "/apps/" + app + "/machines/" + id + rest, timeout: readTimeout,
	}
}
