package fly

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/timing"
)

// Probe says, before anything is committed, whether a rollout could begin: the Machines can be listed, agree with Fly's own
// count, are not leased by others, and their hosts can be reached. Else the failure is Wait, with LeaseHeld, HostUnreachable
// or Unexpected (a list shorter than the count), or that of the call. Progress has Total, OnNextStart (those that do not run)
// Warnings and Hidden. The Machines that it finds unwell do not halt the rollout that follows.
func (c *Client) Probe(ctx context.Context, app App, variable string) (Progress, error) {
	machines, short, err := c.machines(ctx, app, variable)
	if err != nil {
		return Progress{}, err
	}
	if short != "" {
		return Progress{}, failure.New(failure.Wait, reasons.Unexpected, short)
	}
	var p Progress
	for _, m := range inScope(machines) {
		why := blocked(m, c.now())
		if why != nil && why.Reason != reasons.Busy { // a Machine on its way somewhere arrives
			return Progress{}, why
		}
		p.Total++
		if m.resting() {
			p.OnNextStart++
		}
		p.warn(m.settings.hides.shadows(m.ID, variable)...)
		p.Hidden = cmp.Or(p.Hidden, m.settings.hides.hidden(m.ID, variable))
	}
	c.noteUnwell(app.Name, machines)
	return p, nil
}

// maxUnwell bounds the baseline. A Machine beyond it counts as well: if it still is unwell after its update, that halts the rollout.
const maxUnwell = 100

// noteUnwell keeps the baseline of a rollout: which Machines are unwell before the new value is in force.
func (c *Client) noteUnwell(app string, machines []machine) {
	unwellNow := map[string]bool{}
	for _, m := range machines {
		if state, _ := judge(m, c.now()); m.running() && state == unwell && len(unwellNow) < maxUnwell {
			unwellNow[m.ID] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unwell[app] = unwellNow
}

// Advance makes one pass of a rollout: it looks at every Machine and moves those that may move now. The first Machine of an app moves
// alone, and so does the first of each process group; then up to a third of a group at once. A pass takes up to a minute where Fly is
// slow, and waits for no Machine; call it again until the Progress is Done. Progress.Waiting has what is only busy; an error means
// that a step could not be made, and no Machine is harmed by it.
func (c *Client) Advance(ctx context.Context, r Rollout) (Progress, error) {
	ctx, cancel := context.WithTimeout(ctx, timing.Rollout)
	defer cancel()
	machines, short, err := c.machines(ctx, r.App, r.Variable)
	if err != nil {
		return Progress{}, err
	}
	c.recall(machines, r, short == "")
	p, next := plan(machines, r, c.now())
	if short != "" {
		p.waitInstead(short)
		return p, nil
	}
	if len(next) == 0 {
		return p, nil
	}
	p.waitInstead("")
	err = c.carryOut(ctx, r, next, &p)
	return p, err
}

// machines lists an app's Machines; short says in what the list contradicts Fly's own count.
func (c *Client) machines(ctx context.Context, app App, variable string) (machines []machine, short string, err error) {
	if err := checkName(app.Name); err != nil {
		return nil, "", err
	}
	if machines, err = c.list(ctx, app.Name, variable); err != nil {
		return nil, "", err
	}
	if len(machines) < app.MachineCount {
		short = fmt.Sprintf("Fly counts %d Machines of app %s and lists %d", app.MachineCount, app.Name, len(machines))
	}
	return machines, short, nil
}

// carryOut moves Machines side by side and notes what is waited for then. One for which there is no room in time is left to the next pass.
func (c *Client) carryOut(ctx context.Context, r Rollout, next []move, p *Progress) error {
	waits, errs := make([]string, len(next)), make([]error, len(next))
	var moves sync.WaitGroup
	for i := range next {
		moves.Go(func() {
			if c.begin(ctx) {
				defer c.end()
				waits[i], errs[i] = c.replace(ctx, r, next[i])
			}
		})
	}
	moves.Wait()
	for i, err := range errs {
		switch {
		case err == nil:
			p.wait(waits[i])
		case failure.ClassOf(err) == failure.Wait:
			p.waitFor(failure.As(err))
		default:
			return err
		}
	}
	return nil
}

// begin waits for room to change a Machine; false = ctx has ended first. Each begin needs an end.
func (c *Client) begin(ctx context.Context) bool {
	select {
	case c.changes <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Client) end() { <-c.changes }

// replace updates one Machine under its lease and says what is waited for then.
func (c *Client) replace(ctx context.Context, r Rollout, next move) (string, error) {
	app, id := r.App.Name, next.machine.ID
	nonce, err := c.acquire(ctx, app, id)
	if err != nil {
		return "", err
	}
	defer c.releaseLease(ctx, app, id, nonce)
	m, err := c.get(ctx, app, id)
	if err != nil {
		return "", err
	}
	if m.InstanceID != next.machine.InstanceID || m.State != next.machine.State || m.unreachable() {
		return m.title() + " has changed meanwhile", nil
	}
	config, err := withMark(m.Config, next.mark.String())
	if err != nil {
		return "", failure.New(failure.Retry, reasons.Unexpected, "the config of "+m.title()+" is not understood")
	}
	if next.launch {
		c.remember(r, id)
	}
	err = c.update(ctx, app, id, nonce, config, update{
		CurrentVersion: m.InstanceID, MinSecretsVersion: r.SecretVersion, SkipLaunch: !next.launch, SkipServiceRegistration: m.Cordoned,
	})
	if failure.ClassOf(err) == failure.Unknown {
		err = c.reread(ctx, r, id)
	}
	if err != nil {
		return "", err
	}
	return m.title() + " has been updated", nil
}

// reread settles an update whose answer was lost. If Fly has not taken it, the next pass tries again; should the first one
// arrive after all, current_version keeps the Machine from being replaced twice.
func (c *Client) reread(ctx context.Context, r Rollout, id string) error {
	m, err := c.get(ctx, r.App.Name, id)
	if err != nil {
		return err
	}
	if !m.reached(r) {
		return failure.New(failure.Retry, reasons.ConnectionFailed, "the answer to the update of "+m.title()+" was lost")
	}
	return nil
}

// remember notes that a Machine was running before it was first touched.
func (c *Client) remember(r Rollout, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[r.App.Name] == nil {
		c.running[r.App.Name] = map[attempt]bool{}
	}
	c.running[r.App.Name][attempt{id, r.Revision}] = true
}

// recall tells the Machines what was noted of them. It forgets those that have arrived, and, where the list is whole, those that are gone.
func (c *Client) recall(machines []machine, r Rollout, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := map[attempt]bool{}
	for i, m := range machines {
		this := attempt{m.ID, r.Revision}
		machines[i].wasRunning = c.running[r.App.Name][this] && !m.reached(r)
		machines[i].wasUnwell = c.unwell[r.App.Name][m.ID]
		if machines[i].wasRunning {
			left[this] = true
		}
	}
	switch {
	case !whole:
	case len(left) == 0:
		delete(c.running, r.App.Name)
	default:
		c.running[r.App.Name] = left
	}
}
