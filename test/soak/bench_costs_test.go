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
	Statements        float64            `json:"sqlStatements"`
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
	var record struct {
		Children []struct{ PID int }
	}
	content, err := os.ReadFile(os.Getenv("PLAYGROUND_DIR") + "/processes.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &record))
	m := &meter{system: s, processes: map[string][]int{}}
	for _, child := range record.Children {
		if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", child.PID)); err == nil {
			m.processes[filepath.Base(program)] = append(m.processes[filepath.Base(program)], child.PID)
		}
	}
	for _, program := range []string{"manager", "kube-apiserver", "postgres"} {
		require.NotEmpty(t, m.processes[program], program)
	}
	require.NoError(t, s.adminCall(t.Context(), http.MethodDelete, "/admin/requests", nil, nil))
	m.before = m.read(t)
	return m
}

func (m *meter) read(t *testing.T) reading {
	t.Helper()
	r := reading{requests: map[string]float64{}, cpu: map[string]float64{}}
	raw, err := exec.Command("kubectl", "get", "--raw", "/metrics").Output()
	require.NoError(t, err)
	for labels, value := range samples(raw, "apiserver_request_total") {
		if name := requestName(labels); name != "" {
			r.requests[name] += value
		}
	}
	for program, pids := range m.processes {
		for _, pid := range pids {
			r.cpu[program] += cpuOf(pid)
		}
	}
	var requests []struct{}
	require.NoError(t, m.system.adminCall(t.Context(), http.MethodGet, "/admin/requests", nil, &requests))
	r.fly = float64(len(requests))
	r.statements = m.statements(t)
	metrics := managerMetrics(t)
	for _, value := range samples(metrics, "go_memstats_alloc_bytes_total") {
		r.allocatedBytes = value
	}
	for _, value := range samples(metrics, "go_memstats_mallocs_total") {
		r.allocation = value
	}
	return r
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

func managerMetrics(t *testing.T) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, os.Getenv("PLAYGROUND_METRICS_URL"), nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+os.Getenv("PLAYGROUND_METRICS_TOKEN"))
	self := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // the manager signs its certificate itself
	response, err := self.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return text
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

// peakMiB is the most memory that the manager has held (proc(5), VmHWM).
func peakMiB(t *testing.T) float64 {
	t.Helper()
	content, err := os.ReadFile("/proc/" + os.Getenv("MANAGER_PID") + "/status")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(content), "VmHWM:")
	require.True(t, found)
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	require.NoError(t, err)
	return kib / 1024
}
