package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/test/checker"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

const (
	outageTenants   = 1000
	outageLasts     = 2 * time.Minute
	outageBound     = 15 * time.Minute // for the last of them to be Ready, on two cores that others share
	maxConcurrent   = 50
	maxConnections  = 16
	passesAtOnce    = 16 // each pass checks at most one login, as the tenant, beside the operator's own connections
	operatorLogin   = "tcred_operator"
	applicationName = "tenant-credential-operator"
)

// outageFigures are what the run prints and leaves in bin/outage.json.
type outageFigures struct {
	Tenants              int     `json:"tenants"`
	DownSeconds          float64 `json:"secondsDown"`
	MaxConcurrent        int     `json:"maxConcurrent"`
	MaxConnections       int     `json:"maxConnections"`
	DialsWhileDown       int     `json:"dialsWhileDown"`
	PeakDialsPerSecond   int     `json:"peakDialsPerSecondWhileDown"`
	StatusWritesMean     float64 `json:"statusWritesPerTenantWhileDownMean"`
	StatusWritesMax      int     `json:"statusWritesPerTenantWhileDownMax"`
	PeakConnections      int     `json:"peakConnectionsOfTheOperator"`
	PeakLoginChecks      int     `json:"peakLoginChecks"`
	ConnectionsRefused   int     `json:"connectionsRefusedByTheServer"`
	Requests             int     `json:"flyRequestsAfterwards"`
	PeakRequests         int     `json:"peakFlyRequestsPerSecond"`
	PeakRequestsOfOneApp int     `json:"peakFlyRequestsPerSecondOfOneApp"`
	TooManyRequests      int     `json:"flyAnswers429"`
	FirstReadySeconds    float64 `json:"secondsUntilFirstReady"`
	HalfReadySeconds     float64 `json:"secondsUntilHalfAreReady"`
	AllReadySeconds      float64 `json:"secondsUntilAllAreReady"`
}

// TestOutage has a rotation of a thousand tenants become due while PostgreSQL is down. When it is back all of them are made, and neither
// PostgreSQL nor Fly is overrun.
func TestOutage(t *testing.T) {
	if os.Getenv("OUTAGE") == "" {
		t.Skip("make outage runs it")
	}
	s := newSystem(t)
	tenants := outageFleet()
	s.hastenClock(t)
	s.provision(t, tenants)
	s.resize(t, maxConcurrent, maxConnections)
	newManagers(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var beside sync.WaitGroup
	all, writes := &view{}, &statusWrites{}
	beside.Go(func() { s.follow(ctx, all, writes.see) })
	s.adopt(t, all, tenants)
	fmt.Println("outage: all tenants are adopted")
	config, err := checker.FromEnvironment()
	require.NoError(t, err)
	before, err := checker.Take(t.Context(), config)
	require.NoError(t, err)

	f := &outageFigures{Tenants: len(tenants), MaxConcurrent: maxConcurrent, MaxConnections: maxConnections}
	f.outage(t, s, tenants, writes)
	back := time.Now()
	connections := &connectionPeaks{}
	beside.Go(func() { connections.sample(ctx, s) })
	writes.restart()
	all.awaitSettled(t, len(tenants), outageBound)
	f.AllReadySeconds = time.Since(back).Round(100 * time.Millisecond).Seconds()
	f.FirstReadySeconds, f.HalfReadySeconds = writes.readySince(back)
	cancel()
	beside.Wait()
	f.PeakConnections, f.PeakLoginChecks = connections.own, connections.asTenant
	f.gather(t, s)
	f.write(t)

	require.LessOrEqual(t, f.PeakConnections, maxConnections, "connections of the operator's login")
	require.LessOrEqual(t, f.PeakLoginChecks, passesAtOnce, "login checks at once")
	require.Zero(t, f.ConnectionsRefused, "connections that the server refused")
	require.Zero(t, writes.rateLimited, "statuses that showed RateLimited")
	raised := map[string]int{}
	for _, x := range tenants {
		raised[x.id] = 1
	}
	require.Empty(t, checker.CheckServed(t.Context(), withoutLogs(config), before, raised))
}

// outageFleet has few Machines that run: a roll-out is not what this is about.
func outageFleet() []tenant {
	random := rand.New(rand.NewPCG(1, 1))
	var tenants []tenant
	for range outageTenants {
		x := newTenant(random)
		x.machines = pick(random, []weighted[[]string]{{3, []string{"started"}}, {67, []string{"stopped"}}, {30, nil}})
		tenants = append(tenants, x)
	}
	return tenants
}

// outage takes the server away, raises every generation, and brings the server back after two minutes. Meanwhile somebody else listens at
// its port, who counts how often the operator tries, and says nothing.
func (f *outageFigures) outage(t *testing.T, s *system, tenants []tenant, writes *statusWrites) {
	t.Helper()
	require.NoError(t, s.adminCall(t.Context(), http.MethodPut, "/admin/switches", map[string]bool{"rate_limits": true, "retry_after": true}, nil))
	require.NoError(t, s.adminCall(t.Context(), http.MethodDelete, "/admin/requests", nil, nil))
	require.NoError(t, playground("postgres-down", environment))
	down := time.Now()
	dials := listen(t)
	writes.restart()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for i, x := range tenants {
		group.Go(func() error {
			return s.client.Patch(ctx, object(objectName(i), x.id, 0), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"rotationGeneration":1}}`)))
		})
	}
	require.NoError(t, group.Wait())
	fmt.Printf("outage: %d generations were raised %.1f s after PostgreSQL went down\n", len(tenants), time.Since(down).Seconds())
	time.Sleep(outageLasts - time.Since(down)) // this is the fault
	f.DialsWhileDown, f.PeakDialsPerSecond = dials.end()
	f.StatusWritesMean, f.StatusWritesMax = writes.perObject(len(tenants))
	require.NoError(t, playground("postgres-up", environment))
	f.DownSeconds = time.Since(down).Round(100 * time.Millisecond).Seconds()
	fmt.Println("outage: PostgreSQL is back")
}

// dials are those of the operator, at a port where no server listens.
type dials struct {
	listener net.Listener
	mu       sync.Mutex
	at       []time.Time
}

func listen(t *testing.T) *dials {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PGPORT"))
	require.NoError(t, err)
	d := &dials{listener: listener}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go d.note(connection)
		}
	}()
	return d
}

// note counts who introduces himself as the operator, and hangs up: the tenants' apps dial too.
func (d *dials) note(connection net.Conn) {
	defer connection.Close()
	startup := make([]byte, 1024)
	_ = connection.SetReadDeadline(time.Now().Add(time.Second))
	n, _ := connection.Read(startup) // whoever says nothing is nobody
	if bytes.Contains(startup[:n], []byte(applicationName)) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.at = append(d.at, time.Now())
	}
}

func (d *dials) end() (count, peak int) {
	_ = d.listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.at), peakPerSecond(d.at)
}

// peakPerSecond is the largest number within any second; at is in order.
func peakPerSecond(at []time.Time) int {
	peak, first := 0, 0
	for i := range at {
		for at[i].Sub(at[first]) >= time.Second {
			first++
		}
		peak = max(peak, i-first+1)
	}
	return peak
}

// statusWrites counts the writes of each object's status: versions that leave the spec as it was.
type statusWrites struct {
	mu          sync.Mutex
	generation  map[string]int64
	version     map[string]string
	count       map[string]int
	ready       []time.Time // when each was Ready for the first time since restart
	settled     map[string]bool
	rateLimited int
}

func (w *statusWrites) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count, w.settled, w.ready = map[string]int{}, map[string]bool{}, nil
}

func (w *statusWrites) see(o *v1alpha1.TenantCredential, _ bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.generation == nil {
		w.generation, w.version, w.count, w.settled = map[string]int64{}, map[string]string{}, map[string]int{}, map[string]bool{}
	}
	if w.generation[o.Name] == o.Generation && w.version[o.Name] != o.ResourceVersion {
		w.count[o.Name]++
	}
	w.generation[o.Name], w.version[o.Name] = o.Generation, o.ResourceVersion
	if settled(o) && !w.settled[o.Name] && o.AskedGeneration() > 0 {
		w.settled[o.Name] = true
		w.ready = append(w.ready, time.Now())
	}
	for _, c := range o.Status.Conditions {
		if c.Reason == "RateLimited" {
			w.rateLimited++
		}
	}
}

func (w *statusWrites) perObject(objects int) (mean float64, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	total := 0
	for _, n := range w.count {
		total += n
		most = max(most, n)
	}
	return float64(total) / float64(objects), most
}

func (w *statusWrites) readySince(back time.Time) (first, half float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := func(i int) float64 { return w.ready[i].Sub(back).Round(100 * time.Millisecond).Seconds() }
	return at(0), at(len(w.ready) / 2)
}

// connectionPeaks are the most connections that were seen at once: the operator's own, and those with which it tries a tenant's password.
type connectionPeaks struct{ own, asTenant int }

func (c *connectionPeaks) sample(ctx context.Context, s *system) {
	connection, err := s.connect(ctx)
	if err != nil {
		panic(err) // the server is up, and this is its superuser
	}
	defer connection.Close(context.Background())
	for ctx.Err() == nil {
		var own, asTenant int
		err := connection.QueryRow(ctx, "SELECT count(*) FILTER (WHERE usename = $1), count(*) FILTER (WHERE usename <> $1 AND application_name = $2) FROM pg_stat_activity",
			operatorLogin, applicationName).Scan(&own, &asTenant)
		if err == nil {
			c.own, c.asTenant = max(c.own, own), max(c.asTenant, asTenant)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// gather reads the emulator's list of requests and the server's log.
func (f *outageFigures) gather(t *testing.T, s *system) {
	t.Helper()
	var requests []struct {
		At     time.Time
		App    string
		Status int
	}
	require.NoError(t, s.adminCall(t.Context(), http.MethodGet, "/admin/requests", nil, &requests))
	f.Requests = len(requests)
	var every []time.Time
	ofApp := map[string][]time.Time{}
	for _, r := range requests {
		every = append(every, r.At)
		ofApp[r.App] = append(ofApp[r.App], r.At)
		if r.Status == http.StatusTooManyRequests {
			f.TooManyRequests++
		}
	}
	f.PeakRequests = peakPerSecond(every)
	for _, at := range ofApp {
		f.PeakRequestsOfOneApp = max(f.PeakRequestsOfOneApp, peakPerSecond(at))
	}
	log, err := os.ReadFile(os.Getenv("PLAYGROUND_SANDBOX_POSTGRES_LOG"))
	require.NoError(t, err)
	f.ConnectionsRefused = strings.Count(string(log), "too many") + strings.Count(string(log), "remaining connection slots")
}

func (f *outageFigures) write(t *testing.T) {
	t.Helper()
	content, err := json.MarshalIndent(f, "", "  ")
	require.NoError(t, err)
	fmt.Println(string(content))
	require.NoError(t, os.WriteFile(filepath.Join(harness.Repository, "bin", "outage.json"), append(content, '\n'), 0o600))
}
