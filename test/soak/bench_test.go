package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

const (
	benchTenants = 600 // of the flood, and as many of the floor
	benchAlone   = 100 // rotations one after another, each of another tenant
	benchPersons = 60  // tenants of which one is rotated every second while all others are
	benchRounds  = 3   // the median counts
	benchBound   = 5 * time.Minute
)

// benchFigures are what the run prints and leaves in bin/bench.json: of apps without a Machine, and of apps with a stopped one.
type benchFigures struct {
	Tenants           int         `json:"tenants"`
	Rounds            int         `json:"rounds"`
	WithoutMachines   benchSeries `json:"withoutMachines"`
	OneStoppedMachine benchSeries `json:"oneStoppedMachine"`
}

// benchSeries are the rates, in rotations a second, and what goes with them. Previous is the operator of another commit on the same machine.
type benchSeries struct {
	Floor       float64     `json:"floorPerSecond"`
	SQL         float64     `json:"sqlAPIPerSecond"`
	Operator    float64     `json:"operatorPerSecond"`
	Previous    float64     `json:"previousOperatorPerSecond,omitempty"`
	ToFloor     float64     `json:"operatorToFloor"`
	ToPrevious  float64     `json:"operatorToPrevious,omitempty"`
	PerRotation costs       `json:"perRotation"`
	Alone       percentiles `json:"aloneSeconds"`
	Person      percentiles `json:"personInTheFloodSeconds"`
	PeakMiB     float64     `json:"managerPeakMiB"`
}

// TestBench measures how many rotations a second the operator makes, beside what its parts make without it. BENCH_PREVIOUS is the bin folder of
// another checkout, whose operator is measured in the same run.
func TestBench(t *testing.T) {
	if os.Getenv("BENCH") == "" {
		t.Skip("make bench runs it")
	}
	f := benchFigures{Tenants: benchTenants, Rounds: benchRounds}
	for _, series := range []struct {
		name     string
		machines []string
		into     *benchSeries
	}{{"without Machines", nil, &f.WithoutMachines}, {"one stopped Machine", []string{"stopped"}, &f.OneStoppedMachine}} {
		if previous := os.Getenv("BENCH_PREVIOUS"); previous != "" {
			t.Run(series.name+", previous operator", func(t *testing.T) {
				b := startBench(t, previous, series.machines)
				series.into.Previous = b.rounds(t, func(round int) float64 { return b.flood(t, round) })
			})
		}
		t.Run(series.name, func(t *testing.T) {
			series.into.measure(t, startBench(t, filepath.Join(harness.Repository, "bin"), series.machines))
		})
	}
	leave(t, "bench.json", f)
}

func (s *benchSeries) measure(t *testing.T, b *bench) {
	floor := b.newFloor(t)
	s.Floor = b.rounds(t, func(int) float64 { return floor.rate(t, floor.rotate) })
	s.SQL = b.rounds(t, func(int) float64 { return floor.rate(t, floor.rotateSQL) })
	meter := newMeter(t, b.system)
	s.Operator = b.rounds(t, func(round int) float64 { return b.flood(t, round) })
	s.PerRotation = meter.read(t).since(meter.before, benchRounds*benchTenants)
	s.Alone = b.alone(t)
	s.Person = b.personInTheFlood(t)
	s.PeakMiB = memoryMiB(t, playgroundProcesses(t)["manager"][0], "VmHWM")
	s.PerRotation.RoundTrips = b.roundTrips(t)
	s.ToFloor = s.Operator / s.Floor
	if s.Previous > 0 {
		s.ToPrevious = s.Operator / s.Previous
	}
}

// bench is a quiet system with adopted tenants: those of the flood, those that are rotated one by one, and, last, those of the floor, which have
// no object.
type bench struct {
	*system
	tenants []tenant
	all     *view
}

func startBench(t *testing.T, programs string, machines []string) *bench {
	harness.Quiet(t, programs)
	b := &bench{system: newSystem(t), all: &view{}}
	random := rand.New(rand.NewPCG(3, 3))
	for range 2*benchTenants + benchAlone + benchPersons {
		x := newTenant(random)
		x.id = "1" + x.id[1:] // rotated in place
		x.machines, x.logsInEvery = machines, time.Hour
		b.tenants = append(b.tenants, x)
	}
	b.provision(t, b.tenants)
	b.resize(t, maxConcurrent, maxConnections)
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		b.follow(ctx, b.all, namespace, func(*v1alpha1.TenantCredential, bool) {})
	}()
	t.Cleanup(func() { stop(); <-followed })
	b.adopt(t, b.all, b.tenants[:benchTenants+benchAlone+benchPersons])
	return b
}

// rounds is the median of what is measured again and again.
func (b *bench) rounds(t *testing.T, measure func(round int) float64) float64 {
	t.Helper()
	var rates []float64
	for round := range benchRounds {
		rates = append(rates, measure(round))
	}
	fmt.Printf("%s: %.1f a second\n", t.Name(), rates)
	slices.Sort(rates)
	return rates[len(rates)/2]
}

// flood raises every generation at once, and returns how many rotations a second are made until all are Ready.
func (b *bench) flood(t *testing.T, round int) float64 {
	t.Helper()
	began := time.Now()
	b.raise(t, int64(round+1))
	b.all.awaitSettled(t, benchTenants+benchAlone+benchPersons, benchBound)
	return benchTenants / time.Since(began).Seconds()
}

func (b *bench) raise(t *testing.T, generation int64) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for i := range benchTenants {
		group.Go(func() error { return b.patch(ctx, i, "rotationGeneration", strconv.FormatInt(generation, 10)) })
	}
	require.NoError(t, group.Wait())
}

// patch writes one field of a tenant's spec.
func (b *bench) patch(ctx context.Context, i int, field, value string) error {
	return b.client.Patch(ctx, object(objectName(i), b.tenants[i].id, 0), client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{%q:%s}}`, field, value)))
}

// alone is how long rotations take of which there is one at a time.
func (b *bench) alone(t *testing.T) percentiles {
	t.Helper()
	var took []time.Duration
	for i := benchTenants; i < benchTenants+benchAlone; i++ {
		began := time.Now()
		require.NoError(t, b.patch(t.Context(), i, "rotationGeneration", "1"))
		b.awaitRevision(t, i, 1)
		took = append(took, time.Since(began))
	}
	return summary(took)
}

// personInTheFlood is how long the rotations take that one person asks for, one every second, while all others' are made.
func (b *bench) personInTheFlood(t *testing.T) percentiles {
	t.Helper()
	b.raise(t, benchRounds+1)
	var took []time.Duration
	next := time.NewTicker(time.Second)
	defer next.Stop()
	for i := benchTenants + benchAlone; i < benchTenants+benchAlone+benchPersons; i++ {
		began := time.Now()
		require.NoError(t, b.patch(t.Context(), i, "rotationRequest", `{"replacesRevision":0}`))
		b.awaitRevision(t, i, 1)
		took = append(took, time.Since(began))
		if unsettled, _ := b.all.unsettled(); len(unsettled) == 0 {
			break
		}
		<-next.C
	}
	b.all.awaitSettled(t, benchTenants+benchAlone+benchPersons, benchBound)
	fmt.Printf("%s: %d requests in the flood\n", t.Name(), len(took))
	return summary(took)
}

// awaitRevision waits until the object is Ready with a revision.
func (b *bench) awaitRevision(t *testing.T, i int, revision int64) {
	t.Helper()
	b.await(t, i, func(status *v1alpha1.TenantCredentialStatus) bool { return status.Revision >= revision })
}

func (b *bench) await(t *testing.T, i int, reached func(*v1alpha1.TenantCredentialStatus) bool) {
	t.Helper()
	for deadline := time.Now().Add(benchBound); ; time.Sleep(time.Millisecond) {
		o := b.all.get(objectName(i))
		if o != nil && settled(o) && reached(&o.Status) {
			return
		}
		require.True(t, time.Now().Before(deadline), "%s", describe(o))
	}
}

func (v *view) get(name string) *v1alpha1.TenantCredential {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.objects[name]
}
