package fly

// maxAway bounds how much of a process group is replaced at once: one Machine in so many. flyctl's own bound is 33 %
// (max_unavailable, https://fly.io/docs/reference/configuration/#the-deploy-section).
const maxAway = 3

// arrival is how a Machine does with the revision that it was moved to.
type arrival int

const (
	coming          arrival = iota // it is on its way up
	arrivedWell                    // it runs, and is well
	arrivedUnproven                // it has the revision, but says nothing about it: it does not run, or was unwell before
)

// pool is a set of Machines that must not all be away at once.
type pool struct {
	// running Machines serve, or are about to.
	running int
	// coming Machines have been moved and do not serve yet.
	coming int
	// proven: one of them is well with the revision.
	proven bool
}

// room is how many more may be moved now: one at a time until the revision is proven, then up to a third of those that run.
func (p *pool) room() int {
	most := 1
	if p.proven {
		most = max(1, p.running/maxAway)
	}
	return most - p.coming
}

// pools are an app's process groups, each of which runs another program, and the app as a whole: before its first Machine is well
// with the revision, no other one moves.
type pools struct {
	app    pool
	groups map[string]*pool
}

func newPools(machines []machine) *pools {
	p := &pools{groups: map[string]*pool{}}
	for _, m := range machines {
		group := m.settings.group
		if p.groups[group] == nil {
			p.groups[group] = &pool{}
		}
		if m.serves() {
			p.groups[group].running++
		}
	}
	return p
}

// note counts a Machine that has been moved.
func (p *pools) note(m machine, how arrival) {
	for _, pool := range []*pool{&p.app, p.groups[m.settings.group]} {
		switch how {
		case coming:
			pool.coming++
		case arrivedWell:
			pool.proven = true
		}
	}
}

// admit says whether a Machine may be moved now, and counts it as coming if so.
func (p *pools) admit(m machine) bool {
	group := p.groups[m.settings.group]
	if group.room() < 1 || !p.app.proven && p.app.coming > 0 {
		return false
	}
	p.note(m, coming)
	return true
}
