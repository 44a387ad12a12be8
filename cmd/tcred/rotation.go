package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"
	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/endpoint"
)

// rotationCommand is `tcred rotation`: the part of rotate-credentials after its call. It goes on after a timeout, and reads or saves
// present credentials without rotating them.
func (p *program) rotationCommand() *cobra.Command {
	d := &delivery{program: p}
	noWait := false
	cmd := &cobra.Command{
		Use:   "rotation <tenant-id> [<revision>]",
		Short: "Wait for a requested rotation, and say how to connect; rotates nothing",
		Long: `Waits until every Machine of the tenant's app runs with the rotation's password, then reads, shows and saves as rotate-credentials does.
Without a revision it is the tenant's newest rotation. It rotates nothing.`,
		Example: `  tcred rotation 7dd06cd6-2f8e-4b1c-9a5e-0c3d4e5f6a7b 7 --save=acme
  tcred rotation 7dd06cd6-2f8e-4b1c-9a5e-0c3d4e5f6a7b --no-wait -o json`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: p.runE(func(ctx context.Context, args []string) (*result, error) {
			return p.showRotation(ctx, args, d, noWait)
		}),
	}
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "show the progress, and exit")
	d.bind(cmd.Flags())
	return cmd
}

func (p *program) showRotation(ctx context.Context, args []string, d *delivery, noWait bool) (*result, error) {
	tenant, err := parseTenant(args[0])
	if err != nil {
		return nil, err
	}
	var revision int64
	if len(args) == 2 {
		if revision, err = strconv.ParseInt(args[1], 10, 64); err != nil || revision < 1 {
			return nil, &usageError{fmt.Sprintf("%q is not a revision", args[1])}
		}
	}
	if noWait && d.needsValue() {
		return nil, &usageError{"--save and --show-password need the new password, which can be read once every Machine has it: leave --no-wait out"}
	}
	if err := d.prepare(tenant); err != nil {
		return nil, err
	}
	c, err := p.server.open(p.in, p.progress.note)
	if err != nil {
		return nil, err
	}
	s, err := find(ctx, c, tenant, revision)
	if err != nil {
		return nil, err
	}
	f := &follower{program: p, delivery: d, client: c, tenant: tenant, until: client.Completed}
	if noWait {
		return f.asItIs(s)
	}
	return f.finish(ctx, s)
}

func find(ctx context.Context, c *endpoint.Client, tenant string, revision int64) (endpoint.State, error) {
	if revision == 0 {
		return c.Latest(ctx, tenant)
	}
	return c.Rotation(ctx, tenant, revision)
}
