package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
)

const (
	howMany         = 1000
	outageLasts     = 2 * time.Minute
	outageBound     = 15 * time.Minute // for the last of them to be Ready, on two cores that others share
	maxConcurrent   = 50
	passesAtOnce    = 16 // each pass checks at most one login, as the tenant, beside the operator's own connections
	operatorLogin   = "tcred_operator"
	applicationName = "tenant-credential-operator"
)

// closing is how many connections that the operator has closed already the server may still show: it ends their processes a moment later.
const closing = 2

// outageFigures are what the run prints and leaves in bin/outage.json.
type outageFigures struct {
	flyTraffic
	Tenants            int     `json:"tenants"`
	DownSeconds        float64 `json:"secondsDown"`
	MaxConcurrent      int     `json:"maxConcurrent"`
	MaxConnections     int     `json:"maxConnections"`
	DialsWhileDown     int     `json:"dialsWhileDown"`
	PeakDialsPerSecond int     `json:"peakDialsPerSecondWhileDown"`
	StatusWritesMean   float64 `json:"statusWritesPerTenantWhileDownMean"`
	StatusWritesMax    int     `json:"statusWritesPerTenantWhileDownMax"`
	PeakConnections    int     `json:"peakConnectionsOfTheOperator"`
	PeakLoginChecks    int     `json:"peakLoginChecks"`
	ConnectionsRefused int     `json:"connectionsRefusedByTheServer"`
	FirstReadySeconds  float64 `json:"secondsUntilFirstReady"`
	HalfReadySeconds   float64 `json:"secondsUntilHalfAreReady"`
	AllReadySeconds    float64 `json:"secondsUntilAllAreReady"`
}

// TestOutage has a rotation of a thousand tenants become due while PostgreSQL is down. When it is back all of them are made, and neither
// PostgreSQL nor Fly is overrun.
func TestOutage(t *testing.T) {
	if os.Getenv("OUTAGE") == "" {
		t.Skip("make outage runs it")
	}
	tenants, writes := outageTenants(), &statusWrites{}
	s := startFleet(t, tenants, maxConcurrent, writes.see)
	fmt.Println("outage: all tenants are adopted")

	f := &outageFigures{Tenants: len(tenants), MaxConcurrent: maxConcurrent, MaxConnections: maxConnections}
	f.outage(t, s.system, tenants, writes)
	back := time.Now()
	connections := &connectionPeaks{}
	s.meanwhile(func(ctx context.Context) { connections.sample(ctx, s.system) })
	writes.restart()
	s.all.awaitSettled(t, len(tenants), outageBound)
	f.AllReadySeconds = time.Since(back).Round(100 * time.Millisecond).Seconds()
	f.FirstReadySeconds, f.HalfReadySeconds = writes.readySince(back)
	s.rest()
	f.PeakConnections, f.PeakLoginChecks = connections.own, connections.asTenant
	f.gather(t, s.system)
	leave(t, "outage.json", f)

	require.LessOrEqual(t, f.PeakConnections, maxConnections+closing, "connections of the operator's login")
	require.LessOrEqual(t, f.PeakLoginChecks, passesAtOnce, "login checks at once")
	require.Zero(t, f.ConnectionsRefused, "connections that the server refused")
	require.Zero(t, writes.rateLimited, "statuses that showed RateLimited")
	raised := map[string]int{}
	for _, x := range tenants {
		raised[x.id] = 1
	}
	require.Empty(t, checker.CheckServed(t.Context(), s.config, s.before, raised))
}

// outageTenants have few Machines that run: a rollout is not what this is about.
func outageTenants() []tenant {
	random := rand.New(rand.NewPCG(1, 1))
	var tenants []tenant
	for range howMany {
		x := newTenant(random)
		x.machines = pick(random, []weighted[[]string]{{3, []string{"started"}}, {67, []string{"stopped"}}, {30, nil}})
		tenants = append(tenants, x)
	}
	return tenants
}

// outage takes the server away, raises every generation, and brings the server back after two minutes. Meanwhile a listener at
// its port counts how often the operator tries, and says nothing.
func (f *outageFigures) outage(t *testing.T, s *system, tenants []tenant, writes *statusWrites) {
	t.Helper()
	require.NoError(t, s.adminCall(t.Context(), http.MethodPut, "/admin/switches", map[string]bool{"rate_limits": true, "retry_after": true}, nil))
	require.NoError(t, s.adminCall(t.Context(), http.MethodDelete, "/admin/requests", nil, nil))
	require.NoError(t, playground("postgres-down", environment))
	down := time.Now()
	dials := listen(t)
	writes.restart()
	s.raiseAll(t, tenants)
	fmt.Printf("outage: %d generations were raised %.1f s after PostgreSQL went down\n", len(tenants), time.Since(down).Seconds())
	time.Sleep(outageLasts - time.Since(down)) // this is the fault
	f.DialsWhileDown, f.PeakDialsPerSecond = dials.end()
	f.StatusWritesMean, f.StatusWritesMax = writes.perObject(len(tenants))
	require.NoError(t, playground("postgres-up", environment))
	f.DownSeconds = time.Since(down).Round(100 * time.Millisecond).Seconds()
	fmt.Println("outage: PostgreSQL is back")
}

// raiseAll asks for the first rotation of every tenant.
func (s *system) raiseAll(t *testing.T, tenants []tenant) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for i, x := range tenants {
		group.Go(func() error {
			return s.client.Patch(ctx, object(objectName(i), x.id, 0), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"rotationGeneration":1}}`)))
		})
	}
	require.NoError(t, group.Wait())
}

// flyTraffic is what the emulator was asked since its list of requests was cleared.
type flyTraffic struct {
	Requests             int `json:"flyRequests"`
	PeakRequests         int `json:"peakFlyRequestsPerSecond"`
	PeakRequestsOfOneApp int `json:"peakFlyRequestsPerSecondOfOneApp"`
	TooManyRequests      int `json:"flyAnswers429"`
}

func (s *system) traffic(t *testing.T) (f flyTraffic) {
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
	return f
}

// gather reads the emulator's list of requests and the server's log.
func (f *outageFigures) gather(t *testing.T, s *system) {
	t.Helper()
	f.flyTraffic = s.traffic(t)
	log, err := os.ReadFile(os.Getenv("PLAYGROUND_SANDBOX_POSTGRES_LOG"))
	require.NoError(t, err)
	f.ConnectionsRefused = strings.Count(string(log), "too many") + strings.Count(string(log), "remaining connection slots")
}
