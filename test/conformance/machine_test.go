package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// view is what the operator reads of a Machine.
type view struct {
	ID         string          `json:"id"`
	State      string          `json:"state"`
	InstanceID string          `json:"instance_id"`
	HostStatus string          `json:"host_status"`
	Config     json.RawMessage `json:"config"`
	Events     []event         `json:"events"`
	Lease      *lease          `json:"lease"`
	UpdatedAt  string          `json:"updated_at"`
	Cordoned   bool            `json:"cordoned"`
}

type event struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status"`
	Timestamp int64  `json:"timestamp"` // milliseconds since 1970
	Request   struct {
		ExitEvent *exit `json:"exit_event"`
		Monitor   *struct {
			ExitEvent *exit `json:"exit_event"`
		} `json:"MonitorEvent"`
	} `json:"request"`
}

type exit struct {
	RequestedStop bool `json:"requested_stop"`
}

// exit is nil for any event but the end of the main process.
func (e event) exit() *exit {
	if e.Type != "exit" {
		return nil
	}
	if e.Request.Monitor != nil && e.Request.Monitor.ExitEvent != nil {
		return e.Request.Monitor.ExitEvent
	}
	return e.Request.ExitEvent
}

// last is the newest event of a type and a status; "" is any.
func (v view) last(kind, status string) (found event, exists bool) {
	for _, e := range v.Events {
		if e.Type == kind && (status == "" || e.Status == status) && e.Timestamp >= found.Timestamp {
			found, exists = e, true
		}
	}
	return found, exists
}

// metadata is that of the Machine's config.
func (v view) metadata() map[string]string {
	var config struct{ Metadata map[string]string }
	_ = json.Unmarshal(v.Config, &config) // a field that cannot be read counts as absent
	return config.Metadata
}

// machine is a Machine that a test has created.
type machine struct {
	*fixture
	id, path string
	nonce    string // of the lease that the test holds, if it does
}

// members are those of a request's body or of a config.
type members map[string]any

// config is that of a small Machine that does nothing, with more members.
func (f *fixture) config(more members) members {
	c := members{
		"image":    f.image,
		"init":     members{"cmd": []string{"sh", "-c", noteBoot(bootDirectory) + "\nexec sleep infinity"}},
		"guest":    members{"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
		"metadata": members{"conformance": "throwaway"},
	}
	maps.Copy(c, more)
	return c
}

// create makes a Machine, which is destroyed when the test ends, and waits until it has started.
func (f *fixture) create(config, more members) *machine {
	f.Helper()
	m := f.createOnly(config, more)
	m.wait("started", m.get().InstanceID)
	return m
}

func (f *fixture) createOnly(config, more members) *machine {
	f.Helper()
	body := members{"config": config}
	maps.Copy(body, more)
	var v view
	f.decode(f.call(200, request{method: "POST", path: f.path + "/machines", body: body}), &v)
	m := &machine{fixture: f, id: v.ID, path: f.path + "/machines/" + v.ID}
	f.Cleanup(m.destroy)
	// Fly has been seen to not know a Machine for a moment after its creation.
	for try := 0; try < 20 && f.try(request{method: "GET", path: m.path}).status == 404; try++ {
	}
	return m
}

// destroy returns when the Machine is gone, so that the next test does not count it.
func (m *machine) destroy() {
	m.Helper()
	a := m.try(request{method: "DELETE", path: m.path + "?force=true", nonce: m.nonce})
	if a.status == 409 { // a lease was lost sight of; it runs out, and nothing tells when
		_ = m.clock.sleep(context.Background(), leaseTime+time.Second) // without a deadline it never fails
		a = m.try(request{method: "DELETE", path: m.path + "?force=true"})
	}
	timeout, _ := m.patience(1)
	m.try(request{method: "GET", path: fmt.Sprintf("%s/wait?state=destroyed&timeout=%d", m.path, timeout)}) // 404 says so as well
	if !a.ok() && a.status != 404 {
		m.Errorf("Machine %s could not be destroyed (%d): fly machine destroy --force %s -a %s", m.id, a.status, m.id, m.app)
	}
}

func (m *machine) get() (v view) {
	m.Helper()
	m.read(m.path, &v)
	return v
}

// listed is the Machine as the list of the app's Machines shows it.
func (m *machine) listed() view {
	m.Helper()
	var list []view
	m.read(m.fixture.path+"/machines?include_leases=true", &list)
	for _, v := range list {
		if v.ID == m.id {
			return v
		}
	}
	m.Errorf("the list does not show Machine %s", m.id)
	m.FailNow()
	return view{}
}

// post makes a call below the Machine that has to succeed.
func (m *machine) post(call string) {
	m.Helper()
	if a := m.try(request{method: "POST", path: m.path + call, nonce: m.nonce}); !a.ok() {
		m.Errorf("POST %s%s was answered with %d: %s", m.path, call, a.status, m.redact(string(a.body)))
		m.FailNow()
	}
}

// wait returns once the Machine is in the state in that version. Fly answers 408 after a minute, within which an image may not have come.
func (m *machine) wait(state, instance string) {
	m.Helper()
	timeout, tries := m.patience(10)
	path := fmt.Sprintf("%s/wait?state=%s&version=%s&timeout=%d", m.path, state, instance, timeout)
	a := m.try(request{method: "GET", path: path})
	for try := 1; a.status == 408 && try < tries; try++ {
		a = m.try(request{method: "GET", path: path})
	}
	if a.status != 200 {
		m.Errorf("GET %s was answered with %d: %s", path, a.status, m.redact(string(a.body)))
		m.FailNow()
	}
}

// patience is how many seconds to wait for a state, and how often. On the emulator nothing takes long.
func (m *machine) patience(emulated int) (timeout, tries int) {
	if m.emulated {
		return emulated, 1
	}
	return 60, 5
}

// update is an update of the Machine as the operator makes it: its config goes out as the bytes that were read.
func (m *machine) update(config json.RawMessage, more members) answer {
	m.Helper()
	body := members{"config": config}
	maps.Copy(body, more)
	return m.try(request{method: "POST", path: m.path, body: body, nonce: m.nonce})
}

// updated is the Machine after an update that has to succeed, once it is in the state.
func (m *machine) updated(state string, config json.RawMessage, more members) view {
	m.Helper()
	a := m.update(config, more)
	if a.status != 200 {
		m.Errorf("the update of Machine %s was answered with %d: %s", m.id, a.status, m.redact(string(a.body)))
		m.FailNow()
	}
	var v view
	m.decode(a, &v)
	m.wait(state, v.InstanceID)
	return m.get()
}

// stop and start return once the Machine is there.
func (m *machine) stop() {
	m.Helper()
	m.post("/stop")
	m.wait("stopped", m.get().InstanceID)
}

func (m *machine) start() {
	m.Helper()
	m.post("/start")
	m.wait("started", m.get().InstanceID)
}

// restart returns once there is a new start: the state alone may still be the previous one.
func (m *machine) restart() {
	m.Helper()
	before, _ := m.get().last("start", "started")
	m.post("/restart")
	for range 100 { // at 5 a second
		v := m.get()
		m.wait("started", v.InstanceID)
		if now, _ := v.last("start", "started"); now.ID != before.ID {
			return
		}
	}
	m.Errorf("Machine %s shows no new start after a restart", m.id)
	m.FailNow()
}

// bootHash is the hash of a variable that the Machine booted with. The emulator runs no image: there the environment of exec has to do.
func (m *machine) bootHash(variable string) string {
	m.Helper()
	if m.emulated {
		return m.execHash(variable)
	}
	return m.shell(readBoot(bootDirectory, variable))
}

// execHash is the hash of a variable in the environment of exec.
func (m *machine) execHash(variable string) string {
	m.Helper()
	return m.shell(readExec(variable))
}

func (m *machine) shell(script string) string {
	m.Helper()
	a := m.call(200, request{method: "POST", path: m.path + "/exec", body: members{"cmd": "sh -c '" + script + "'", "timeout": 30}})
	var out struct {
		ExitCode int `json:"exit_code"`
		Stdout   string
	}
	m.decode(a, &out)
	if out.ExitCode != 0 {
		m.Errorf("a command on Machine %s exited with %d", m.id, out.ExitCode)
		m.FailNow()
	}
	return hashIn(out.Stdout)
}

type lease struct {
	Nonce     string `json:"nonce"`
	ExpiresAt int64  `json:"expires_at"` // seconds since 1970
}

// leaseTime is how long each lease is asked for.
const leaseTime = 60 * time.Second

func (l lease) expires() time.Time { return time.Unix(l.ExpiresAt, 0) }

// lease takes the Machine's lease, or prolongs that of the nonce.
func (m *machine) lease(nonce string) lease {
	m.Helper()
	var out struct{ Data lease }
	m.decode(m.call(201, request{method: "POST", path: fmt.Sprintf("%s/lease?ttl=%.0f", m.path, leaseTime.Seconds()), nonce: nonce}), &out)
	m.nonce = out.Data.Nonce
	return out.Data
}

// release gives the lease back.
func (m *machine) release() {
	m.Helper()
	m.call(200, request{method: "DELETE", path: m.path + "/lease", nonce: m.nonce})
	m.nonce = ""
}
