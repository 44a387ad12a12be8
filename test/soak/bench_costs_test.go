package soak

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// costs are what one rotation takes. The benchmark's own request, which raises the generation, is left out.
type costs struct {
	APIRequests       map[string]float64 `json:"apiRequests"` // by verb and resource
	APIRequestsInAll  float64            `json:"apiRequestsInAll"`
	Statements        float64            `json:"sqlStatements"` // BEGIN and COMMIT are two
	RoundTrips        map[string]int     `json:"sqlRoundTrips"` // by function; what begins a connection and the login check are left out
	FlyCalls          float64            `json:"flyCalls"`
	ManagerCPU        float64            `json:"managerCPUMilliseconds"`
	APIServerCPU      float64            `json:"apiServerCPUMilliseconds"`
	PostgresCPU       float64            `json:"postgresCPUMilliseconds"`
	ManagerAllocated  float64            `json:"managerKiBAllocated"`
	ManagerAllocation float64            `json:"managerAllocations"`
}

// meter reads what the parts have done so far.
type meter struct {
	system    *system
	processes map[string][]int // PIDs by program
	before    reading
}

type reading struct {
	requests                   map[string]float64
	statements, fly            float64
	cpu                        map[string]float64 // milliseconds, by program
	allocatedBytes, allocation float64
}

func newMeter(t *testing.T, s *system) *meter {
	t.Helper()
	m := &meter{system: s, processes: playgroundProcesses(t)}
	for _, program := range []string{"manager", "kube-apiserver", "postgres"} {
		require.NotEmpty(t, m.processes[program], program)
	}
	require.NoError(t, s.adminCall(t.Context(), http.MethodDelete, "/admin/requests", nil, nil))
	m.before = m.read(t)
	return m
}

// playgroundProcesses are the PIDs of the playground's processes that run, by program.
func playgroundProcesses(t *testing.T) map[string][]int {
	t.Helper()
	var record struct {
		Children []struct{ PID int }
	}
	content, err := os.ReadFile(os.Getenv("PLAYGROUND_DIR") + "/processes.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &record))
	processes := map[string][]int{}
	for _, child := range record.Children {
		if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", child.PID)); err == nil {
			processes[filepath.Base(program)] = append(processes[filepath.Base(program)], child.PID)
		}
	}
	return processes
}

func (m *meter) read(t *testing.T) reading {
	t.Helper()
	r := reading{requests: m.requests(t), statements: m.statements(t), fly: m.flyCalls(t), cpu: map[string]float64{}}
	for program, pids := range m.processes {
		for _, pid := range pids {
			r.cpu[program] += cpuOf(pid)
		}
	}
	metrics, err := readMetrics(t.Context())
	require.NoError(t, err)
	for _, value := range samples(metrics, "go_memstats_alloc_bytes_total") {
		r.allocatedBytes = value
	}
	for _, value := range samples(metrics, "go_memstats_mallocs_total") {
		r.allocation = value
	}
	return r
}

// requests are the API server's, by verb and resource.
func (m *meter) requests(t *testing.T) map[string]float64 {
	t.Helper()
	raw, err := exec.Command("kubectl", "get", "--raw", "/metrics").Output()
	require.NoError(t, err)
	requests := map[string]float64{}
	for labels, value := range samples(raw, "apiserver_request_total") {
		if name := requestName(labels); name != "" {
			requests[name] += value
		}
	}
	return requests
}

func (m *meter) flyCalls(t *testing.T) float64 {
	t.Helper()
	var requests []struct{}
	require.NoError(t, m.system.adminCall(t.Context(), http.MethodGet, "/admin/requests", nil, &requests))
	return float64(len(requests))
}

// statements counts those of the operator's login; a login that is checked is the tenant's.
func (m *meter) statements(t *testing.T) (count float64) {
	t.Helper()
	connection, err := m.system.connect(t.Context())
	require.NoError(t, err)
	defer connection.Close(context.WithoutCancel(t.Context()))
	require.NoError(t, connection.QueryRow(t.Context(), "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements WHERE toplevel AND userid = $1::regrole", operatorLogin).Scan(&count))
	return count
}

func (r reading) since(before reading, rotations int) costs {
	per := func(after, before float64) float64 { return (after - before) / float64(rotations) }
	c := costs{
		APIRequests:       map[string]float64{},
		Statements:        per(r.statements, before.statements),
		FlyCalls:          per(r.fly, before.fly),
		ManagerCPU:        per(r.cpu["manager"], before.cpu["manager"]),
		APIServerCPU:      per(r.cpu["kube-apiserver"], before.cpu["kube-apiserver"]),
		PostgresCPU:       per(r.cpu["postgres"], before.cpu["postgres"]),
		ManagerAllocated:  per(r.allocatedBytes, before.allocatedBytes) / 1024,
		ManagerAllocation: per(r.allocation, before.allocation),
	}
	for name, count := range r.requests {
		made := per(count, before.requests[name])
		if name == "PATCH tenantcredentials" {
			made-- // the benchmark's own
		}
		if made > 0 {
			c.APIRequests[name] = made
			c.APIRequestsInAll += made
		}
	}
	return c
}

// requestName is the verb and the resource of a request that the operator makes for a tenant; "" = another one. Its lease, and what runs for as long as
// it does, is not a rotation's.
func requestName(labels map[string]string) string {
	resource := strings.TrimSuffix(labels["resource"]+"/"+labels["subresource"], "/")
	if labels["verb"] == "WATCH" || !slices.Contains([]string{"tenantcredentials", "tenantcredentials/status", "tenantenvironments", "tenantenvironments/status", "events", "secrets", "namespaces"}, resource) {
		return ""
	}
	return labels["verb"] + " " + resource
}

// samples are those of one metric in Prometheus' text format, of which the label values have no comma or quote.
func samples(text []byte, metric string) func(yield func(map[string]string, float64) bool) {
	return func(yield func(map[string]string, float64) bool) {
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			rest, is := strings.CutPrefix(lines.Text(), metric)
			if !is || rest == "" || rest[0] != '{' && rest[0] != ' ' {
				continue
			}
			at := strings.LastIndexByte(rest, ' ')
			value, err := strconv.ParseFloat(rest[at+1:], 64)
			if err != nil {
				continue
			}
			labels := map[string]string{}
			for _, pair := range strings.Split(strings.Trim(rest[:at], "{} "), ",") {
				name, quoted, _ := strings.Cut(pair, "=")
				labels[name] = strings.Trim(quoted, `"`)
			}
			if !yield(labels, value) {
				return
			}
		}
	}
}

// readMetrics reads the manager's.
func readMetrics(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv("PLAYGROUND_METRICS_URL"), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("PLAYGROUND_METRICS_TOKEN"))
	self := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} //nolint:gosec // the manager signs its certificate itself
	response, err := self.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the manager's metrics: %s", response.Status)
	}
	return io.ReadAll(response.Body)
}

// cpuOf is the CPU time of a process and of its children, ended or not, in milliseconds: a hundredth of a second is its unit (proc(5)).
func cpuOf(pid int) float64 {
	own := stat(pid)
	total := own.user + own.system + own.endedChildren
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		if child, err := strconv.Atoi(filepath.Base(folder)); err == nil {
			if s := stat(child); s.parent == pid {
				total += s.user + s.system
			}
		}
	}
	return total * 10
}

type processStat struct {
	parent                      int
	user, system, endedChildren float64
}

// stat reads /proc/<pid>/stat; one that has ended has none, and is zero.
func stat(pid int) (s processStat) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s
	}
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:])) // from field 3 on
	s.parent, _ = strconv.Atoi(fields[1])
	number := func(field int) float64 { n, _ := strconv.ParseFloat(fields[field-3], 64); return n }
	s.user, s.system, s.endedChildren = number(14), number(15), number(16)+number(17)
	return s
}
