package flyemulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// machineView is a Machine as the API shows it.
type machineView struct {
	ID               string            `json:"id"`
	Name             string            `json:"name"`
	State            string            `json:"state"`
	Region           string            `json:"region"`
	InstanceID       string            `json:"instance_id"`
	Version          string            `json:"version"`
	PrivateIP        string            `json:"private_ip"`
	ImageRef         map[string]string `json:"image_ref"`
	Config           json.RawMessage   `json:"config"` // null while the host is unreachable
	IncompleteConfig json.RawMessage   `json:"incomplete_config"`
	HostStatus       string            `json:"host_status"`
	Checks           []checkView       `json:"checks"`
	Events           []eventView       `json:"events"`
	CreatedAt        string            `json:"created_at"`
	UpdatedAt        string            `json:"updated_at"`
	Cordoned         bool              `json:"cordoned"`
	Lease            *leaseView        `json:"lease,omitempty"`
	Nonce            string            `json:"nonce,omitempty"`
}

type checkView struct {
	Name      string `json:"name"`
	Status    string `json:"status"`
	Output    string `json:"output"`
	UpdatedAt string `json:"updated_at"`
}

type eventView struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status"`
	Source    string `json:"source"`
	Timestamp int64  `json:"timestamp"` // milliseconds since 1970
	Request   any    `json:"request,omitempty"`
}

// view is the Machine as the API shows it. The caller holds mu.
func (e *Emulator) view(m *machine) machineView {
	v := machineView{
		ID: m.id, Name: m.name, State: m.state, Region: m.region, InstanceID: m.instance, Version: m.instance,
		PrivateIP: fmt.Sprintf("fdaa:0:%s:%s:%s:0:0:2", m.id[:4], m.id[4:8], m.id[8:12]),
		ImageRef:  imageRef(m.parsed.Image), HostStatus: m.hostStatus, Checks: e.checks(m), Events: slices.Clone(m.events),
		CreatedAt: m.createdAt.UTC().Format(time.RFC3339Nano), UpdatedAt: m.changed.UTC().Format(time.RFC3339Nano), Cordoned: m.cordoned,
	}
	if m.hostStatus == hostOK {
		v.Config = m.config
	} else {
		v.IncompleteConfig = m.config
	}
	return v
}

func imageRef(image string) map[string]string {
	ref := map[string]string{"registry": "registry.fly.io", "digest": "sha256:" + strings.Repeat("0", 64)}
	if registry, rest, found := strings.Cut(image, "/"); found {
		ref["registry"], image = registry, rest
	}
	ref["repository"], ref["tag"], _ = strings.Cut(image, ":")
	return ref
}

// checks shows the configured checks of a Machine that runs: critical first, passing once the app is healthy. A Machine that does
// not run has none.
func (e *Emulator) checks(m *machine) []checkView {
	list := []checkView{}
	if m.state != stateStarted {
		return list
	}
	status, output := "passing", "200 OK"
	if e.switches.HoldChecks || m.boot == BootUnhealthy || !e.healthy(m) {
		status, output = "critical", "connect: connection refused"
	}
	for _, name := range m.parsed.checkNames() {
		list = append(list, checkView{name, status, output, m.changed.UTC().Format(time.RFC3339Nano)})
	}
	if e.switches.CompatChecks {
		list = append(list, checkView{"bg_deployments_compat", "passing", "", m.changed.UTC().Format(time.RFC3339Nano)})
	}
	return list
}

// healthy tells whether the app on a started Machine is. The caller holds mu.
func (e *Emulator) healthy(m *machine) bool {
	return e.tenantApp == "" || m.process != nil && m.process.healthy.Load()
}

func (c config) checkNames() []string {
	names := slices.Sorted(maps.Keys(c.Checks))
	for i, service := range c.Services {
		for _, check := range service.Checks {
			port := check.Port
			if port == 0 {
				port = service.InternalPort
			}
			names = append(names, fmt.Sprintf("servicecheck-%02d-%s-%d", i, check.Type, port))
		}
	}
	return names
}

func (e *Emulator) getMachine(c *call) (answer, error) { return ok(e.view(c.machine)) }

func (e *Emulator) listVersions(c *call) (answer, error) { return ok(c.machine.versions) }

func (e *Emulator) listMachines(c *call) (answer, error) {
	query := c.URL.Query()
	list := []machineView{}
	for _, m := range c.app.inOrder() {
		if !m.matches(query.Get("state"), query.Get("region"), query.Get("include_deleted") == "true", query) {
			continue
		}
		v := e.view(m)
		if query.Get("include_leases") == "true" {
			v.Lease = e.activeLease(m).view(m)
		}
		list = append(list, v)
	}
	return ok(list)
}

func (m *machine) matches(state, region string, deleted bool, query map[string][]string) bool {
	if m.state == stateDestroyed && !deleted || state != "" && m.state != state || region != "" && m.region != region {
		return false
	}
	for key, values := range query {
		if name, isMetadata := strings.CutPrefix(key, "metadata."); isMetadata && m.parsed.Metadata[name] != values[0] {
			return false
		}
	}
	return true
}

// listProcesses shows one process on a Machine that runs.
func (e *Emulator) listProcesses(c *call) (answer, error) {
	if c.machine.state != stateStarted {
		return answer{}, fail(http.StatusPreconditionFailed, "failed_precondition: machine is not started")
	}
	return ok([]map[string]any{{
		"pid": 1, "stime": 0, "rtime": 0, "command": "app", "directory": "/", "cpu": 0, "rss": 0, "listen_sockets": []any{},
	}})
}
