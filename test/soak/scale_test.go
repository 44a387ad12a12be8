package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

const (
	scaleTenants  = 20_000
	scaleBound    = time.Hour
	perNamespace  = 500 // each tenant is a label of its namespace, and etcd bounds an object at 1.5 MB
	restsFor      = time.Minute
	leaseDuration = 15 * time.Second // the manager's, which one that was killed does not give back
)

// scaleFigures are what the run prints and leaves in bin/scale.json.
type scaleFigures struct {
	Tenants        int      `json:"tenants"`
	EmptyMiB       float64  `json:"emptyManagerMiB"`
	AdoptedSeconds float64  `json:"secondsUntilAllAreAdopted"`
	Start          start    `json:"start"`
	KiBPerTenant   float64  `json:"managerKiBPerTenantAboveTheEmptyOne"`
	Minute         activity `json:"aMinuteAtRest"`
	Killed         start    `json:"afterKill9"`
}

// start is one of the operator, until its queues are empty.
type start struct {
	Seconds float64  `json:"secondsUntilSynced"`
	MiB     float64  `json:"managerMiB"`
	PeakMiB float64  `json:"managerPeakMiB"`
	Calls   activity `json:"calls"`
}

// activity is what all parts have done in some time.
type activity struct {
	API        map[string]float64 `json:"apiRequests"` // by verb and resource
	Statements float64            `json:"sqlStatements"`
	FlyCalls   float64            `json:"flyCalls"`
	ManagerCPU float64            `json:"managerCPUMilliseconds"`
}

// TestScale has many tenants adopted, and measures what the operator takes while nothing is due: at its start, over a minute, and when it was killed.
func TestScale(t *testing.T) {
	if os.Getenv("SCALE") == "" {
		t.Skip("make scale runs it")
	}
	tenants := scaleTenants
	if n := os.Getenv("N"); n != "" {
		var err error
		tenants, err = strconv.Atoi(n)
		require.NoError(t, err)
	}
	harness.Quiet(t, filepath.Join(harness.Repository, "bin"))
	s := &scale{system: newSystem(t), all: &view{}}
	f := &scaleFigures{Tenants: tenants}
	f.EmptyMiB = memoryMiB(t, s.manager(t), "VmRSS")

	s.make(t, tenants)
	f.AdoptedSeconds = s.adoptAll(t)
	require.NoError(t, harness.Playground("manager-down").Run())
	f.Start = s.measureStart(t)
	f.KiBPerTenant = (f.Start.MiB - f.EmptyMiB) * 1024 / float64(tenants)
	f.Minute = s.meanwhile(t, func() { time.Sleep(restsFor) }) // this is what is measured
	require.NoError(t, syscall.Kill(s.manager(t), syscall.SIGKILL))
	time.Sleep(leaseDuration) // that nothing can hasten
	f.Killed = s.measureStart(t)
	leave(t, "scale.json", f)
}

// scale is a quiet system with many tenants, in namespaces of a few hundred.
type scale struct {
	*system
	tenants []tenant
	all     *view
}

// make provides for the tenants as the platform would.
func (s *scale) make(t *testing.T, tenants int) {
	t.Helper()
	random := rand.New(rand.NewPCG(4, 4))
	for i := range tenants {
		x := newTenant(random)
		x.id, x.machines = fmt.Sprintf("%08x", 0x10000000+i)+x.id[8:], nil // eight digits at random would collide
		s.tenants = append(s.tenants, x)
	}
	s.provision(t, s.tenants)
	for first := 0; first < tenants; first += perNamespace {
		labels := map[string]string{"example.com/environment": environment}
		for _, x := range s.tenants[first:min(first+perNamespace, tenants)] {
			labels[v1alpha1.TenantLabelPrefix+x.id] = v1alpha1.TenantLabelAllowed
		}
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceOf(first), Labels: labels}}
		require.NoError(t, s.client.Create(t.Context(), ns))
	}
}

func namespaceOf(i int) string { return fmt.Sprintf("scale-%d", i/perNamespace) }

// adoptAll makes the objects and returns in how many seconds all of them were Ready.
func (s *scale) adoptAll(t *testing.T) float64 {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		s.follow(ctx, s.all, "", func(*v1alpha1.TenantCredential, bool) {})
	}()
	defer func() { stop(); <-followed }()
	began := time.Now()
	group, creating := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for i, x := range s.tenants {
		group.Go(func() error {
			o := object(objectName(i), x.id, 0)
			o.Namespace = namespaceOf(i)
			return s.client.Create(creating, o)
		})
	}
	require.NoError(t, group.Wait())
	s.all.awaitSettled(t, len(s.tenants), scaleBound)
	return time.Since(began).Seconds()
}

// measureStart starts the operator, and returns when its queues are empty.
func (s *scale) measureStart(t *testing.T) (f start) {
	t.Helper()
	began := time.Now()
	f.Calls = s.meanwhile(t, func() {
		require.NoError(t, harness.Playground("manager-up").Run())
		s.awaitSynced(t)
	})
	f.Seconds = time.Since(began).Seconds()
	f.MiB, f.PeakMiB = memoryMiB(t, s.manager(t), "VmRSS"), memoryMiB(t, s.manager(t), "VmHWM")
	return f
}

// awaitSynced returns when each environment has been looked at, and nothing is left to be looked at.
func (s *scale) awaitSynced(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(scaleBound); ; time.Sleep(100 * time.Millisecond) {
		if metrics, err := readMetrics(t.Context()); err == nil {
			looked := total(metrics, "controller_runtime_reconcile_total", "tenantenvironment")
			left := total(metrics, "workqueue_depth", "tenantcredential") + total(metrics, "controller_runtime_active_workers", "tenantcredential")
			if looked >= 2 && left == 0 { // two environments
				return
			}
		}
		require.True(t, time.Now().Before(deadline), "the operator is busy")
	}
}

// total adds up the samples of a metric that are a controller's.
func total(metrics []byte, name, controller string) (sum float64) {
	for labels, value := range samples(metrics, name) {
		if labels["controller"] == controller {
			sum += value
		}
	}
	return sum
}

// meanwhile returns what has been done while something was.
func (s *scale) meanwhile(t *testing.T, do func()) activity {
	t.Helper()
	before, cpu := s.reading(t), 0.0
	if pid := s.manager(t); pid != 0 {
		cpu = cpuOf(pid)
	}
	started := s.manager(t)
	do()
	if s.manager(t) != started {
		cpu = 0
	}
	after := s.reading(t)
	a := activity{API: map[string]float64{}, Statements: after.statements - before.statements, FlyCalls: after.fly - before.fly, ManagerCPU: cpuOf(s.manager(t)) - cpu}
	for name, count := range after.requests {
		if made := count - before.requests[name]; made > 0 {
			a.API[name] = made
		}
	}
	return a
}

// reading reads what a meter does, but for the processes.
func (s *scale) reading(t *testing.T) reading {
	t.Helper()
	m := &meter{system: s.system}
	return reading{requests: m.requests(t), statements: m.statements(t), fly: m.flyCalls(t)}
}

// manager is the operator's process; 0 = it does not run.
func (s *scale) manager(t *testing.T) int {
	t.Helper()
	for _, pid := range playgroundProcesses(t)["manager"] {
		if stat(pid).parent != 0 {
			return pid
		}
	}
	return 0
}

// memoryMiB reads VmRSS, what a process holds, or VmHWM, the most that it has held (proc(5)).
func memoryMiB(t *testing.T, pid int, name string) float64 {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(content), name+":")
	require.True(t, found)
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	require.NoError(t, err)
	return kib / 1024
}
