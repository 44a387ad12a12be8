package flyemulator

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/oklog/ulid/v2"
)

// The states that a Machine goes through.
const (
	stateCreated    = "created"
	stateStarting   = "starting"
	stateStarted    = "started"
	stateStopping   = "stopping"
	stateStopped    = "stopped"
	stateSuspending = "suspending"
	stateSuspended  = "suspended"
	stateRestarting = "restarting"
	stateReplacing  = "replacing"
	stateDestroyed  = "destroyed"
)

const hostOK = "ok"

// Boot says what becomes of a Machine when it starts.
type Boot string

// The kinds of boot.
const (
	BootHealthy   Boot = "healthy"   // its checks pass (with a tenant app: when the app's do)
	BootUnhealthy Boot = "unhealthy" // it runs, and its checks stay critical
	BootCrash     Boot = "crash"     // it exits with status 1, again and again, until its restarts are used up
)

// machine is a Fly Machine. Its config is kept as it was sent.
type machine struct {
	id, name, region   string
	state, instance    string
	hostStatus         string
	config             json.RawMessage
	parsed             config
	versions           []versionView // newest first
	events             []eventView   // newest first
	cordoned           bool
	createdAt, changed time.Time

	env            map[string]string // the values that it booted with, or will start with
	secretsVersion uint64
	lease          *lease

	boot     Boot
	epoch    int // rises with each change of course; work that was begun under an earlier one must not act any more
	restarts int // since it was last started or updated
	process  *process
	ended    <-chan struct{} // closed once the previous process is gone; nil: there was none
	past     *counters       // the counts of the processes before this one
}

type versionView struct {
	Version    string          `json:"version"`
	UserConfig json.RawMessage `json:"user_config"`
}

// config is what the emulator itself needs to know of a Machine's config.
type config struct {
	Env      map[string]string          `json:"env"`
	Metadata map[string]string          `json:"metadata"`
	Image    string                     `json:"image"`
	Standbys []string                   `json:"standbys"` // the Machines that this one stands in for: it is not started before one fails
	Checks   map[string]json.RawMessage `json:"checks"`
	Services []struct {
		InternalPort int `json:"internal_port"`
		Checks       []struct {
			Type string `json:"type"`
			Port int    `json:"port"`
		} `json:"checks"`
	} `json:"services"`
	Restart struct {
		Policy     string `json:"policy"`
		MaxRetries *int   `json:"max_retries"`
	} `json:"restart"`
}

func parseConfig(raw json.RawMessage) (config, error) {
	var parsed *config
	if err := json.Unmarshal(raw, &parsed); err != nil || parsed == nil {
		return config{}, fail(http.StatusBadRequest, "invalid_argument: config is not a Machine config")
	}
	return *parsed, nil
}

// defaultConfig is that of a Machine which the admin API creates without one: that of a small app deployed by the CLI.
func defaultConfig(r *release) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"image":%q,`+
		`"env":{"PRIMARY_REGION":"fra"},`+
		`"guest":{"cpu_kind":"shared","cpus":1,"memory_mb":256},`+
		`"metadata":{"fly_platform_version":"v2","fly_process_group":"app","fly_release_id":%q,"fly_release_version":"%d"},`+
		`"restart":{"policy":"on-failure","max_retries":3},`+
		`"checks":{"health":{"type":"http","port":8080,"method":"get","path":"/health","interval":"15s","timeout":"2s","grace_period":"5s"}}}`,
		r.image, r.id, r.version))
}

func newULID() string { return ulid.MustNew(ulid.Now(), ulid.DefaultEntropy()).String() }

// newMachine adds a Machine to an app. The caller holds mu and starts it, if it is to start.
func (e *Emulator) newMachine(a *app, name, region string, raw json.RawMessage) (*machine, error) {
	parsed, err := parseConfig(raw)
	if err != nil {
		return nil, err
	}
	m := &machine{
		id: hex.EncodeToString(randomBytes(7)), name: name, region: region,
		state: stateCreated, instance: newULID(), hostStatus: hostOK,
		config: raw, parsed: parsed, createdAt: e.now(), changed: e.now(),
		boot: BootHealthy, past: &counters{},
	}
	if m.name == "" {
		m.name = "machine-" + m.id[:6]
	}
	if m.region == "" {
		m.region = "fra"
	}
	m.versions = []versionView{{m.instance, raw}}
	e.note(m, "launch", stateCreated, "user", nil)
	a.machines[m.id] = m
	return m, nil
}

// snapshot gives the Machine the environment of its config and of the app's secrets at a version. The caller holds mu.
func (e *Emulator) snapshot(a *app, m *machine, version uint64, skipSecrets bool) {
	env := maps.Clone(m.parsed.Env)
	if env == nil {
		env = map[string]string{}
	}
	if !skipSecrets {
		for name, value := range a.vault.at(version) {
			if _, inConfig := m.parsed.Env[name]; !inConfig || !e.switches.ConfigEnvOverridesSecrets {
				env[name] = value
			}
		}
	}
	maps.Copy(env, m.platformEnv(a))
	m.env, m.secretsVersion = env, version
}

// platformEnv is what Fly itself puts into a Machine's environment.
func (m *machine) platformEnv(a *app) map[string]string {
	return map[string]string{
		"FLY_APP_NAME": a.name, "FLY_MACHINE_ID": m.id, "FLY_ALLOC_ID": m.id, "FLY_MACHINE_VERSION": m.instance,
		"FLY_REGION": m.region, "FLY_PROCESS_GROUP": m.parsed.Metadata["fly_process_group"], "FLY_IMAGE_REF": m.parsed.Image,
	}
}

// note records an event. The caller holds mu.
func (e *Emulator) note(m *machine, kind, status, source string, request any) {
	m.events = append([]eventView{{newULID(), kind, status, source, e.now().UnixMilli(), request}}, m.events...)
	if len(m.events) > 50 {
		m.events = m.events[:50]
	}
}

// enter puts the Machine into a state. The caller holds mu.
func (e *Emulator) enter(m *machine, state, kind, source string) {
	m.state, m.changed = state, e.now()
	e.note(m, kind, state, source, nil)
	e.announce()
}
