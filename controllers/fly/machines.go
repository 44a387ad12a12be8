package fly

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

const updateTimeout = 20 * time.Second

// machine has the parts of a Machine that a rollout looks at. All of them are bounded, whatever Fly sends.
type machine struct {
	ID         string `json:"id"`
	State      string `json:"state"`
	InstanceID string `json:"instance_id"`
	HostStatus string `json:"host_status"`
	// Config stays raw: fields that this program does not know must survive an update. A Machine of a list does not keep it.
	Config    json.RawMessage `json:"config"`
	Checks    checks          `json:"checks"`
	Events    events          `json:"events"`
	Lease     *lease          `json:"lease"`
	UpdatedAt string          `json:"updated_at"`
	Cordoned  bool            `json:"cordoned"`

	// configured: Fly has sent a config.
	configured bool
	// settings are the parts of Config that decisions need.
	settings settings
	// wasRunning: it ran when this rollout first tried to update it.
	wasRunning bool
	// wasUnwell: the last Probe of the app, before the new value came into force, found it so. A Machine that is unwell only since then may be
	// so because the old value is refused, and is no baseline.
	wasUnwell bool
}

type check struct {
	Name   string `json:"name"`
	Status string `json:"status"` // passing, warning or critical
}

// checks is the first of a Machine's checks that does not pass, or else its first one: decisions need no more.
type checks []check

// UnmarshalJSON reads any number of checks.
func (c *checks) UnmarshalJSON(array []byte) error {
	*c = nil
	_ = elements(array, func(value []byte) error {
		var one check
		_ = json.Unmarshal(value, &one) // a value of an unexpected type counts as absent
		one = check{shown(one.Name), word(one.Status)}
		if len(*c) == 0 {
			*c = checks{one}
		} else if (*c)[0].Status == passing && one.Status != passing {
			(*c)[0] = one
		}
		return nil
	})
	return nil
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

// events are a Machine's last launch, last start and last exit: decisions need no more.
type events []event

// UnmarshalJSON reads any number of events.
func (e *events) UnmarshalJSON(array []byte) error {
	*e = nil
	_ = elements(array, func(value []byte) error {
		var one event
		_ = json.Unmarshal(value, &one) // a value of an unexpected type counts as absent
		if kind := one.kind(); kind != other {
			e.keep(one, kind)
		}
		return nil
	})
	return nil
}

// keep puts an event in the place of an older one of its kind.
func (e *events) keep(one event, kind eventKind) {
	if kind != start {
		one.Status = "" // says nothing, and may be long
	}
	i := slices.IndexFunc(*e, func(kept event) bool { return kept.kind() == kind })
	switch {
	case i < 0:
		*e = append(*e, one)
	case !one.at().Before((*e)[i].at()):
		(*e)[i] = one
	}
}

type eventKind int

const (
	other  eventKind = iota
	launch           // a config came to the Machine
	start            // it is up
	finish           // its main process has ended
)

func (e event) kind() eventKind {
	switch {
	case e.Type == "launch" || e.Type == "update":
		return launch
	case e.Type == "start" && e.Status == "started":
		return start
	case e.exit() != nil:
		return finish
	}
	return other
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

// list returns the app's Machines with their leases, without their configs; variable is the secret that they are to have.
func (c *Client) list(ctx context.Context, app, variable string) (machines []machine, err error) {
	r := request{
		action: "list machines", id: app, method: http.MethodGet, list: true,
		path: "/apps/" + app + "/machines?include_leases=true", timeout: readTimeout,
	}
	err = c.exchange(ctx, r, func(a *answer) (err error) {
		machines, err = readMachines(a, variable)
		return err
	})
	return machines, err
}

func (c *Client) get(ctx context.Context, app, id string) (m machine, err error) {
	r := machineRequest(app, id, getMachine, http.MethodGet, "")
	err = c.exchange(ctx, r, func(a *answer) (err error) {
		d := json.NewDecoder(a)
		if m, err = readMachine(d, ""); err != nil {
			return err
		}
		if m.ID != id {
			return errUnreadable
		}
		return ended(d)
	})
	return m, err
}

// errUnreadable is an answer that is JSON and not what was asked for.
var errUnreadable = errors.New("not what was asked for")

// readMachines reads a list one Machine at a time.
func readMachines(a *answer, variable string) ([]machine, error) {
	d := json.NewDecoder(a)
	a.next(0)
	switch token, err := d.Token(); {
	case err != nil:
		return nil, err
	case token == nil: // null
		return nil, ended(d)
	case token != json.Delim('['):
		return nil, errUnreadable
	}
	var machines []machine
	known := map[string]bool{}
	for a.next(d.InputOffset()); d.More(); a.next(d.InputOffset()) {
		from := d.InputOffset()
		m, err := readMachine(d, variable)
		switch {
		case err != nil:
			return nil, err
		case d.InputOffset()-from > maxMachine:
			return nil, errLongMachine
		case known[m.ID]: // each would be moved, side by side
			return nil, errUnreadable
		case len(machines) == maxMachines:
			return nil, errManyMachines
		}
		m.Config = nil
		known[m.ID] = true
		machines = append(machines, m)
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return nil, err
	}
	return machines, ended(d)
}

// readMachine skips a member of an unexpected type: one odd Machine must not hide the others.
func readMachine(d *json.Decoder, variable string) (machine, error) {
	var m machine
	if err := unlessMismatch(d.Decode(&m)); err != nil {
		return machine{}, err
	}
	if !name.MatchString(m.ID) || (m.InstanceID != "" && !name.MatchString(m.InstanceID)) {
		return machine{}, errUnreadable
	}
	m.State, m.HostStatus = word(m.State), word(m.HostStatus)
	if len(m.UpdatedAt) > maxText {
		m.UpdatedAt = ""
	}
	if m.Lease != nil {
		m.Lease.Nonce = "" // of use to its holder alone
	}
	m.configured = len(m.Config) > 0 && !bytes.Equal(m.Config, []byte("null"))
	m.settings = readSettings(m.Config, variable)
	return m, nil
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
	// SkipServiceRegistration keeps Fly's proxy from sending requests to it: a Machine that a user has cordoned stays so.
	SkipServiceRegistration bool `json:"skip_service_registration,omitempty"`
}

// update replaces the Machine's config, which goes out as the bytes given.
func (c *Client) update(ctx context.Context, app, id, nonce string, config []byte, u update) error {
	members, err := json.Marshal(u)
	if err != nil {
		return failure.New(failure.Retry, reasons.Unexpected, "the update of Machine "+id+" cannot be built")
	}
	r := machineRequest(app, id, "update machine", http.MethodPost, "")
	r.nonce, r.timeout = nonce, updateTimeout
	r.body = append(append([]byte(`{"config":`), config...), ',')
	r.body = append(r.body, members[1:]...)
	var answer struct {
		InstanceID string `json:"instance_id"`
	}
	if err := c.call(ctx, r, &answer); err != nil {
		return err
	}
	if !name.MatchString(answer.InstanceID) {
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
