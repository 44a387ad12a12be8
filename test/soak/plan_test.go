package soak

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// plan is everything that the seed determines: the tenants, and in each lane what is done, when and to whom. The lanes run side by side,
// and what stands in one of them happens one after the other.
type plan struct {
	seed    uint64
	tenants []tenant
	lanes   map[string][]step
}

// tenant is one that the soak makes.
type tenant struct {
	id       string
	machines []string // their states
	// logsInEvery is the interval at which the app of each Machine logs in.
	logsInEvery time.Duration
	raises      int // how often the plan asks for a rotation
}

// step is one thing that is done.
type step struct {
	at     time.Duration // since the beginning
	do     string
	tenant int           // -1 = the whole system
	number int64         // the generation, which Machine, how many requests, which variant
	lasts  time.Duration // how long the fault lasts
	route  string
	mode   string
	status int
}

func (s step) String() string {
	text := fmt.Sprintf("%7.1f s  %s", s.at.Seconds(), s.do)
	if s.tenant >= 0 {
		text += fmt.Sprintf(" tenant %03d", s.tenant)
	}
	if s.route != "" {
		text += fmt.Sprintf(" %q %s %d", s.route, s.mode, s.status)
	}
	return text + fmt.Sprintf(" (%d) for %.1f s", s.number, s.lasts.Seconds())
}

// The lanes of a plan.
const (
	laneTenants  = "tenants"
	laneRequests = "requests"
	laneMachines = "machines"
	laneManager  = "manager"
	laneSecond   = "second manager"
	lanePostgres = "postgres"
	laneCluster  = "cluster"
	laneFly      = "fly"
)

// lanes are in the order in which a plan is printed.
var lanes = []string{laneTenants, laneRequests, laneMachines, laneManager, laneSecond, lanePostgres, laneCluster, laneFly}

// newPlan is the same for the same seed, number of tenants and duration.
func newPlan(seed uint64, tenants int, duration time.Duration) *plan {
	p := &plan{seed: seed, lanes: map[string][]step{}}
	random := p.random("fleet")
	for range tenants {
		p.tenants = append(p.tenants, newTenant(random))
	}
	p.fill(laneTenants, duration, 200*time.Millisecond, 800*time.Millisecond, p.tenantStep())
	p.fill(laneRequests, duration, 3*time.Second, 9*time.Second, p.requestStep)
	p.fill(laneMachines, duration, 500*time.Millisecond, 2*time.Second, p.machineStep)
	p.fill(laneManager, duration, 2*time.Second, 15*time.Second, managerStep)
	p.fill(laneSecond, duration, 10*time.Second, 40*time.Second, secondStep)
	p.fill(lanePostgres, duration, 10*time.Second, 45*time.Second, postgresStep)
	p.fill(laneCluster, duration, 30*time.Second, 90*time.Second, clusterStep)
	p.fill(laneFly, duration, time.Second, 5*time.Second, p.flyStep)
	return p
}

func (p *plan) random(purpose string) *rand.Rand {
	sum := fnv.New64()
	_, _ = sum.Write([]byte(purpose)) // a hash takes everything
	return rand.New(rand.NewPCG(p.seed, sum.Sum64()))
}

// fill puts steps into a lane, with a pause between two of them, so that all of them are over in time.
func (p *plan) fill(lane string, duration, shortest, longest time.Duration, draw func(*rand.Rand) step) {
	random := p.random(lane)
	at := between(random, 0, longest)
	for {
		s := draw(random)
		s.at = at
		if at+s.lasts > duration {
			return
		}
		p.lanes[lane] = append(p.lanes[lane], s)
		at += s.lasts + between(random, shortest, longest)
		if s.do == doRaise || s.do == doSuspend || s.do == doRequest {
			p.tenants[s.tenant].raises++
		}
	}
}

func between(random *rand.Rand, shortest, longest time.Duration) time.Duration {
	return shortest + time.Duration(random.Int64N(int64(longest-shortest))).Round(time.Millisecond)
}

// pick draws one of several, each as likely as its weight.
func pick[T any](random *rand.Rand, choices []weighted[T]) T {
	total := 0
	for _, c := range choices {
		total += c.weight
	}
	n := random.IntN(total)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			return c.value
		}
	}
	panic("unreachable")
}

type weighted[T any] struct {
	weight int
	value  T
}

// newTenant has no Machine or up to three. Not too many of them run: each one that does is a process, and logs in.
func newTenant(random *rand.Rand) tenant {
	bytes := make([]byte, 16)
	for i := range bytes {
		bytes[i] = byte(random.UintN(256))
	}
	id, err := uuid.FromBytes(bytes)
	if err != nil {
		panic(err) // 16 bytes are a UUID
	}
	t := tenant{id: id.String(), logsInEvery: 5 * time.Second} // there are many of them
	for range random.IntN(4) {
		t.machines = append(t.machines, pick(random, []weighted[string]{{12, "started"}, {60, "stopped"}, {28, "suspended"}}))
	}
	return t
}

// The actions on a tenant's object.
const (
	doRaise    = "raise"
	doSuspend  = "suspend and raise"
	doRecreate = "delete and make again"
	doApply    = "apply unchanged"
	doRequest  = "request"
)

// tenantStep counts the generations, so that the plan names each of them.
func (p *plan) tenantStep() func(*rand.Rand) step {
	generations := make([]int64, len(p.tenants))
	return func(random *rand.Rand) step {
		s := step{tenant: random.IntN(len(p.tenants))}
		s.do = pick(random, []weighted[string]{{70, doRaise}, {8, doSuspend}, {10, doRecreate}, {12, doApply}})
		switch s.do {
		case doRaise, doSuspend:
			generations[s.tenant]++
		}
		s.number = generations[s.tenant]
		return s
	}
}

// requestStep is of a tenant whose generation is raised too: an object that is made again has lost its request. One in three is of a
// password that is compromised.
func (p *plan) requestStep(random *rand.Rand) step {
	s := step{do: doRequest, tenant: random.IntN(len(p.tenants)), number: random.Int64N(3)}
	for p.tenants[s.tenant].raises == 0 {
		s.tenant = random.IntN(len(p.tenants))
	}
	return s
}

// The actions on a Machine.
const (
	doDestroy = "destroy a Machine"
	doAdd     = "add a Machine"
	doUpdate  = "update a Machine"
	doLease   = "lease a Machine"
	doStop    = "stop a Machine"
	doStart   = "start a Machine"
)

func (p *plan) machineStep(random *rand.Rand) step {
	s := step{tenant: random.IntN(len(p.tenants)), number: random.Int64N(3)}
	s.do = pick(random, []weighted[string]{{10, doDestroy}, {10, doAdd}, {30, doUpdate}, {20, doLease}, {15, doStop}, {15, doStart}})
	return s
}

// The actions on a manager.
const (
	doKill      = "kill the manager"
	doKillLease = "kill the manager and remove its lease"
	doTerminate = "stop the manager"
	doFreeze    = "freeze the manager"
	doSecond    = "second manager at once"
	doSecondEnd = "second manager at once, killed"
)

func managerStep(random *rand.Rand) step {
	s := step{tenant: -1}
	s.do = pick(random, []weighted[string]{{10, doKill}, {50, doKillLease}, {10, doTerminate}, {30, doFreeze}})
	if s.do == doFreeze {
		s.lasts = pick(random, []weighted[time.Duration]{{60, between(random, time.Second, 12*time.Second)}, {40, between(random, 12*time.Second, 45*time.Second)}})
	}
	return s
}

func secondStep(random *rand.Rand) step {
	return step{tenant: -1, do: pick(random, []weighted[string]{{1, doSecond}, {1, doSecondEnd}}), lasts: between(random, 5*time.Second, 40*time.Second)}
}

// The actions on PostgreSQL and on the cluster.
const (
	doRestart   = "restart PostgreSQL"
	doCrash     = "crash PostgreSQL"
	doAPIKill   = "kill the API server"
	doAPIReboot = "restart API server and etcd"
)

func postgresStep(random *rand.Rand) step {
	return step{tenant: -1, do: pick(random, []weighted[string]{{1, doRestart}, {1, doCrash}}), lasts: between(random, 0, 8*time.Second)}
}

func clusterStep(random *rand.Rand) step {
	return step{tenant: -1, do: pick(random, []weighted[string]{{2, doAPIKill}, {1, doAPIReboot}}), lasts: between(random, 0, 4*time.Second)}
}

// doFly: a fault at Fly.
const doFly = "fault at Fly"

// routes are all that the operator asks, those that matter most more often.
var routes = []weighted[string]{
	{20, "POST /v1/apps/{app}/secrets"}, {5, "GET /v1/apps/{app}/secrets"}, {5, "GET /v1/apps/{app}"},
	{8, "GET /v1/apps/{app}/machines"}, {8, "GET /v1/apps/{app}/machines/{id}"}, {15, "POST /v1/apps/{app}/machines/{id}"},
	{8, "POST /v1/apps/{app}/machines/{id}/lease"}, {8, "DELETE /v1/apps/{app}/machines/{id}/lease"},
	{13, "*"},
}

// flyStep befalls some requests of all tenants or, for longer, all of one app's.
func (p *plan) flyStep(random *rand.Rand) step {
	s := step{do: doFly, tenant: -1, route: pick(random, routes), number: 1 + random.Int64N(5), lasts: between(random, time.Second, 10*time.Second)}
	s.mode = pick(random, []weighted[string]{
		{30, "status"}, {10, "delay"}, {10, "reset-before"}, {15, "reset-after"}, {15, "drop-response"}, {10, "hang"}, {10, "hang-after"}})
	if s.mode == "status" {
		s.status = pick(random, []weighted[int]{{40, 429}, {15, 500}, {15, 502}, {15, 503}, {15, 504}})
	}
	if random.IntN(3) == 0 {
		s.tenant, s.number = random.IntN(len(p.tenants)), -1
	}
	return s
}
