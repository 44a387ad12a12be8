package soak

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
)

const (
	rolloutApps     = 50
	rolloutMachines = 4
	// startTime is how long the emulator takes to replace a Machine; smokeTime is how long the operator watches it after that.
	startTime = 2 * time.Second
	smokeTime = 10 * time.Second
	// rolloutMargin is how much longer than the bound it may take.
	rolloutMargin = 1.5
)

// rolloutFigures are what the run prints and leaves in bin/rollout.json.
type rolloutFigures struct {
	flyTraffic
	Apps         int     `json:"apps"`
	Machines     int     `json:"machinesOfEach"`
	Batches      int     `json:"batches"`
	BoundSeconds float64 `json:"boundSeconds"`
	Seconds      float64 `json:"secondsUntilAllAreReady"`
	Ratio        float64 `json:"ratio"`
}

// TestRollout rotates fifty apps of four Machines each at once, at the rates that Fly documents.
func TestRollout(t *testing.T) {
	if os.Getenv("ROLLOUT") == "" {
		t.Skip("make rollout runs it")
	}
	tenants, writes := rolloutTenants(), &statusWrites{}
	s := startFleet(t, tenants, rolloutApps, writes.see)
	require.NoError(t, s.adminCall(t.Context(), http.MethodPost, "/admin/clock", map[string]int{"advance_ms": 20_000}, nil)) // undoes hastenClock
	require.NoError(t, s.adminCall(t.Context(), http.MethodPut, "/admin/switches",
		map[string]any{"rate_limits": true, "transition_ms": startTime.Milliseconds()}, nil))
	require.NoError(t, s.adminCall(t.Context(), http.MethodDelete, "/admin/requests", nil, nil))
	fmt.Println("rollout: all tenants are adopted")

	began := time.Now()
	s.raiseAll(t, tenants)
	s.all.awaitSettled(t, len(tenants), outageBound)
	f := rolloutFigures{Apps: rolloutApps, Machines: rolloutMachines, Batches: batches(rolloutMachines), Seconds: time.Since(began).Seconds()}
	f.BoundSeconds = rolloutBound(rolloutMachines).Seconds()
	f.Ratio = f.Seconds / f.BoundSeconds
	s.rest()
	f.flyTraffic = s.traffic(t)
	leave(t, "rollout.json", f)

	require.Zero(t, writes.rateLimited, "statuses that showed RateLimited")
	require.LessOrEqual(t, f.Ratio, rolloutMargin, "of the time taken to the bound")
	raised := map[string]int{}
	for _, x := range tenants {
		raised[x.id] = 1
	}
	require.Empty(t, checker.CheckServed(t.Context(), s.config, s.before, raised))
}

func rolloutTenants() []tenant {
	random := rand.New(rand.NewPCG(2, 2))
	tenants := make([]tenant, rolloutApps)
	for i := range tenants {
		tenants[i] = newTenant(random)
		tenants[i].machines, tenants[i].logsInEvery = nil, time.Minute // two hundred apps that log in all the time would leave little of two cores
		for range rolloutMachines {
			tenants[i].machines = append(tenants[i].machines, "started")
		}
	}
	return tenants
}

// batches is in how many steps the Machines of one process group move: the first alone, then up to a third at once.
func batches(machines int) int {
	third := max(1, machines/3)
	return 1 + (machines-1+third-1)/third
}

// rolloutBound is the least time that the rollout of an app takes: each batch starts, and is watched. All apps move at the same time, as
// Fly's rates are per app and per Machine. A pass asks each thing of an app once, so that the rate allows one a second; to see a batch
// through takes two passes (one moves it, one sees it well), which is less than it takes to start and to watch it.
func rolloutBound(machines int) time.Duration {
	const passes = 2 * time.Second
	return time.Duration(batches(machines)) * max(startTime+smokeTime, passes)
}
