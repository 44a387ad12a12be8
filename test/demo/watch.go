package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// lookEvery is how often the watch looks; the timeline is no finer.
	lookEvery = 250 * time.Millisecond
	// calmLimit is how long it may take until every Machine has logged in as often as is waited for.
	calmLimit = 2 * time.Minute
)

// reading is what was seen of one tenant's Machines at one moment. All counts are those of whole lives.
type reading struct {
	at       time.Time
	machines [machinesOfEach]machine
}

func (r *reading) tally() (t tally) {
	for _, m := range r.machines {
		t.logins += m.AppTotal.Logins
		t.failures += m.AppTotal.Failures
	}
	return t
}

// watch reads the Machines' counters all the time.
type watch struct {
	pair   []*side
	cancel context.CancelFunc
	ended  sync.WaitGroup
	failed error // why it could not look; valid after stop

	mu       sync.Mutex
	readings map[*side][]reading
}

func newWatch(pair []*side) *watch {
	return &watch{pair: pair, cancel: func() {}, readings: map[*side][]reading{}}
}

func (w *watch) start(ctx context.Context) {
	ctx, w.cancel = context.WithCancel(ctx)
	w.ended.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for w.failed == nil {
			for _, s := range w.pair {
				if err := w.look(ctx, s); err != nil && ctx.Err() == nil {
					w.failed = err
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

func (w *watch) stop() {
	w.cancel()
	w.ended.Wait()
}

func (w *watch) look(ctx context.Context, s *side) error {
	seen := view{app: s.view.app}
	if err := seen.seeFly(ctx); err != nil {
		return err
	}
	r := reading{at: time.Now()}
	if copy(r.machines[:], seen.machines) != machinesOfEach {
		return errors.New("app " + seen.app + " has lost a Machine")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if former := w.last(s); former != nil {
		for i := range r.machines { // between the end of a process and its last word what it has counted is missing
			now, before := &r.machines[i].AppTotal, former.machines[i].AppTotal
			now.Logins, now.Failures = max(now.Logins, before.Logins), max(now.Failures, before.Failures)
		}
	}
	w.readings[s] = append(w.readings[s], r)
	return nil
}

// last is the newest reading; nil = there is none yet. The caller holds mu.
func (w *watch) last(s *side) *reading {
	if all := w.readings[s]; len(all) > 0 {
		return &all[len(all)-1]
	}
	return nil
}

// awaitLogins waits until each Machine has logged in so many times more.
func (w *watch) awaitLogins(ctx context.Context, times int64) error {
	ctx, cancel := context.WithTimeout(ctx, calmLimit)
	defer cancel()
	goal := map[string]int64{}
	for {
		reached := true
		w.mu.Lock()
		for _, s := range w.pair {
			last := w.last(s)
			reached = reached && last != nil
			if last == nil {
				continue
			}
			for _, m := range last.machines {
				if goal[m.ID] == 0 {
					goal[m.ID] = m.AppTotal.Logins + times
				}
				reached = reached && m.AppTotal.Logins >= goal[m.ID]
			}
		}
		w.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return errors.New("the apps do not log in any more")
		}
	}
}

// moves says when each Machine was seen with a new configuration between two moments, by its place in the app; zero = not at all.
func (w *watch) moves(s *side, from, to time.Time) (at [machinesOfEach]time.Time) {
	all := w.readings[s]
	for i := 1; i < len(all); i++ {
		for n, m := range all[i].machines {
			if m.Updates > all[i-1].machines[n].Updates && all[i].at.After(from) && !all[i].at.After(to) {
				at[n] = all[i].at
			}
		}
	}
	return at
}

// until is what had been counted by a moment.
func (w *watch) until(s *side, moment time.Time) (t tally) {
	for i := range w.readings[s] {
		if r := &w.readings[s][i]; !r.at.After(moment) {
			t = r.tally()
		}
	}
	return t
}
