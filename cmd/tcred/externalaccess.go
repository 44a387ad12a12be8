package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"
	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/connection"
	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/endpoint"
)

// accessCommand is `tcred external-access`.
func (p *program) accessCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "external-access",
		Short: "Enable, disable or show external access: logins from outside the platform's network",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, verb := range []struct{ name, short string }{
		{"enable", "Enable external access for the tenant's logins"},
		{"disable", "Disable external access, and end the external sessions"},
		{"show", "Show whether the tenant's logins are accepted from outside, and how to connect"},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: verb.name + " <tenant-id>", Short: verb.short, Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
			RunE: p.runE(func(ctx context.Context, args []string) (*result, error) { return p.access(ctx, verb.name, args[0]) }),
		})
	}
	return cmd
}

func (p *program) access(ctx context.Context, verb, id string) (*result, error) {
	tenant, err := parseTenant(id)
	if err != nil {
		return nil, err
	}
	c, err := p.server.open(p.in, p.progress.note)
	if err != nil {
		return nil, err
	}
	if verb == "show" {
		a, err := c.Access(ctx, tenant, false)
		if err != nil {
			return nil, err
		}
		return describeAccess(tenant, a)
	}
	a, err := p.setAccess(ctx, c, tenant, verb == "enable")
	if err != nil {
		return nil, err
	}
	return describeAccess(tenant, a)
}

// setAccess asks for it, and waits until it is so.
func (p *program) setAccess(ctx context.Context, c *endpoint.Client, tenant string, enabled bool) (client.ExternalAccess, error) {
	want := client.Disabled
	if enabled {
		want = client.Enabled
	}
	a, err := c.SetAccess(ctx, tenant, enabled)
	for err == nil && a.Status != want {
		p.progress.show(fmt.Sprintf("External access: %s", a.Status))
		select {
		case <-ctx.Done():
		case <-time.After(pollPeriod):
			a, err = c.Access(ctx, tenant, true)
		}
		if ctx.Err() != nil {
			words := append([]string{"tcred", "external-access", "show", tenant}, p.server.arguments()...)
			return a, &timeOver{fmt.Errorf("%s, and the change continues automatically. To look again: %s", p.whyOver(ctx), commandLine(words...))}
		}
	}
	return a, err
}

func describeAccess(tenant string, a client.ExternalAccess) (*result, error) {
	enabled := a.Enabled
	r := &result{
		TenantID: tenant, Status: string(a.Status), Message: endpoint.Printable(a.Message), Enabled: &enabled,
		headline: fmt.Sprintf("External access: %s. %s", a.Status, endpoint.Printable(a.Message)),
	}
	if a.ExternalDatabaseURL == "" {
		return r, nil
	}
	url, err := connection.Parse(a.ExternalDatabaseURL)
	if err != nil {
		return r, fmt.Errorf("the endpoint's answer has no external_database_url that can be used")
	}
	r.DatabaseURL = url.String()
	return r, nil
}
