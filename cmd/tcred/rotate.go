package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"
	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/endpoint"
)

// serverWait is how long the endpoint itself waits: long enough for an app without Machines, and short enough to show how far the others are.
const serverWait = 2 * time.Second

var plainKey = regexp.MustCompile(`^[!-~]{1,64}$`)

// rotate is `tcred rotate-credentials`.
type rotate struct {
	*program
	delivery
	reason, until, key  string
	compromised, noWait bool
}

func (p *program) rotateCommand() *cobra.Command {
	r := &rotate{program: p, delivery: delivery{program: p}}
	cmd := &cobra.Command{
		Use:   "rotate-credentials <tenant-id>",
		Short: "Rotate a tenant's credentials, and say how to connect with the new ones",
		Long: `Asks the endpoint for a rotation, waits until every Machine of the tenant's app runs with the new password, and reads the new URL out of
a running Machine with your own Fly token (FLY_API_TOKEN). Without that token it prints the command that reads it.

Calls that arrive while a rotation is in progress are answered by that rotation. A call that is cut off, or that the endpoint could not
take, is repeated by itself with the same key: it never rotates twice.

With --save, "psql service=NAME" connects from then on: the URL's parts go into the connection service file (PGSERVICEFILE, or
~/.pg_service.conf), the password into the password file (PGPASSFILE, or ~/.pgpass).`,
		Example: `  tcred rotate-credentials 7dd06cd6-2f8e-4b1c-9a5e-0c3d4e5f6a7b --server https://credentials.example.com --token-file token
  tcred rotate-credentials 7dd06cd6-2f8e-4b1c-9a5e-0c3d4e5f6a7b --external --save=acme && psql service=acme`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              p.runE(r.run),
	}
	flags := cmd.Flags()
	flags.StringVar(&r.reason, "reason", "", "why, in one line, for people; it is kept with the rotation")
	flags.BoolVar(&r.compromised, "compromised", false, "a third party may know the password: also end the sessions that were opened with it")
	// The default is completed: before that, a Machine may still hold the previous password, and so would a URL that is read out of it.
	flags.StringVar(&r.until, "until", "completed", "committed: the new password is in force; completed: every Machine runs with it, too")
	flags.BoolVar(&r.noWait, "no-wait", false, "end as soon as the endpoint has accepted the rotation")
	flags.StringVar(&r.key, "idempotency-key", "", "the key of an earlier call whose outcome is not known, to find out that outcome")
	_ = cmd.RegisterFlagCompletionFunc("until", cobra.FixedCompletions([]string{"committed", "completed"}, cobra.ShellCompDirectiveNoFileComp))
	r.delivery.bind(flags)
	return cmd
}

func (r *rotate) run(ctx context.Context, args []string) (*result, error) {
	tenant, err := parseTenant(args[0])
	if err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := r.delivery.prepare(tenant); err != nil {
		return nil, err
	}
	c, err := r.server.open(r.in, r.progress.note)
	if err != nil {
		return nil, err
	}
	if err := r.externalIsEnabled(ctx, c, tenant); err != nil {
		return nil, err
	}
	s, err := r.ask(ctx, c, tenant)
	if err != nil {
		return nil, r.explain(ctx, tenant, err)
	}
	f := &follower{program: r.program, delivery: &r.delivery, client: c, tenant: tenant, until: client.RotationRequestUntil(r.until)}
	if r.noWait {
		return f.asItIs(s)
	}
	return f.finish(ctx, s)
}

// check finds flags that contradict each other before anything is asked for.
func (r *rotate) check() error {
	switch {
	case r.key != "" && !plainKey.MatchString(r.key):
		return &usageError{"--idempotency-key has 64 characters at most, and no white space"}
	case r.until != "committed" && r.until != "completed":
		return &usageError{fmt.Sprintf("--until is committed or completed, and not %q", r.until)}
	case r.delivery.needsValue() && (r.noWait || r.until == "committed"):
		return &usageError{"--save and --show-password need the new password, which can be read once every Machine has it: " +
			"leave --no-wait and --until=committed out"}
	}
	return nil
}

// externalIsEnabled asks before anything is rotated: to enable it afterwards, and ask again, would rotate a second time.
func (r *rotate) externalIsEnabled(ctx context.Context, c *endpoint.Client, tenant string) error {
	if !r.external {
		return nil
	}
	access, err := c.Access(ctx, tenant, false)
	if err == nil && access.ExternalDatabaseURL == "" {
		err = r.notEnabled(tenant)
	}
	if err != nil {
		return fmt.Errorf("nothing was rotated: %w", err)
	}
	return nil
}

func (r *rotate) ask(ctx context.Context, c *endpoint.Client, tenant string) (endpoint.State, error) {
	if r.key == "" {
		r.key = rand.Text()
	}
	in := endpoint.Rotate{
		Key: r.key, Reason: r.reason, Compromised: r.compromised, Until: client.RotationRequestUntil(r.until), Wait: serverWait,
	}
	if r.noWait {
		in.Wait = 0
	}
	r.progress.show("Requesting the rotation")
	return c.Rotate(ctx, tenant, in)
}

// explain says how to find out what became of a call without an answer.
func (r *rotate) explain(ctx context.Context, tenant string, err error) error {
	var unknown *endpoint.Unknown
	if !errors.As(err, &unknown) {
		return err
	}
	err = fmt.Errorf("%w; if it did, the rotation continues automatically. To find out, without a second rotation: %s", err, r.sameCall(tenant))
	if ctx.Err() != nil {
		return &timeOver{err}
	}
	return err
}

// sameCall is the command that makes the call once more, with its key and its body.
func (r *rotate) sameCall(tenant string) string {
	words := append([]string{"tcred", "rotate-credentials", tenant, "--idempotency-key", r.key}, r.server.arguments()...)
	if r.reason != "" {
		words = append(words, "--reason", r.reason)
	}
	if r.compromised {
		words = append(words, "--compromised")
	}
	if r.until != "completed" {
		words = append(words, "--until", r.until)
	}
	return commandLine(append(words, r.delivery.arguments()...)...)
}
