package fly

import (
	"context"
	"fmt"
	"slices"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Instances are what an app's Machines are now: every update makes a new instance of a Machine, and only an update brings it the app's
// secrets. Wait/Unexpected: the list is shorter than Fly's own count.
func (c *Client) Instances(ctx context.Context, app App) ([]string, error) {
	machines, short, err := c.machines(ctx, app, "")
	if err != nil {
		return nil, err
	}
	if short != "" {
		return nil, failure.New(failure.Wait, reasons.Unexpected, short)
	}
	instances := []string{}
	for _, m := range inScope(machines) {
		instances = append(instances, m.InstanceID)
	}
	return instances, nil
}

// Deployed says how far the user's own deploy has come since the app's Machines were these instances. Nothing is moved.
func (c *Client) Deployed(ctx context.Context, app App, variable string, before []string) (Progress, error) {
	machines, short, err := c.machines(ctx, app, variable)
	if err != nil {
		return Progress{}, err
	}
	p := Progress{Waiting: short}
	left := 0
	for _, m := range inScope(machines) {
		p.Total++
		p.warn(m.settings.hides.shadows(m.ID, variable)...)
		if slices.Contains(before, m.InstanceID) {
			left++
			continue
		}
		c.countDeployed(&p, m)
	}
	if left > 0 {
		p.waitInstead(fmt.Sprintf("%d of %d Machines take it with your next deploy, or with fly secrets deploy -a %s", left, p.Total, app.Name))
	}
	return p, nil
}

// countDeployed adds a Machine that the user has replaced. One that is unwell since then halts nothing, as nothing is being moved.
func (c *Client) countDeployed(p *Progress, m machine) {
	if m.unreachable() {
		p.waitFor(hostUnreachable(m))
		return
	}
	if m.resting() {
		p.OnNextStart++
		return
	}
	switch state, why := judge(m, c.now()); state {
	case well:
		p.Updated++
	case pending:
		p.wait(m.title() + " has been deployed and is coming up: " + why)
	default:
		p.Failed++
		p.wait(m.title() + " is unhealthy since it was deployed: " + why)
	}
}
