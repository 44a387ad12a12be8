package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/tenant-credential-operator/cmd/internal/process"
	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/endpoint"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitTimeOver    = 124 // as timeout(1) has it
	exitInterrupted = 130 // as shells have it
)

// version is set where a release is built. Elsewhere Go names it after the repository's tag and commit.
var version string

// program is one run of tcred.
type program struct {
	in       io.Reader
	out      io.Writer
	progress *progress

	server  serverFlags
	output  string
	timeout time.Duration
	// began: the arguments were understood.
	began bool
}

// run returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.root(filepath.Base(args[0]))
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	p.progress.end()
	if err == nil {
		return 0
	}
	p.progress.note("tcred: " + err.Error())
	var usage *usageError
	var over *timeOver
	switch {
	case !p.began || errors.As(err, &usage):
		p.progress.note("See: tcred --help")
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &over):
		return exitTimeOver
	default:
		return exitFailed
	}
}

func (p *program) root(name string) *cobra.Command {
	root := &cobra.Command{
		Use:   "tcred",
		Short: "Rotate a tenant's database credentials",
		Long: `Rotates a tenant's database credentials through the platform's endpoint, and says how to connect with the new ones.

The endpoint is --server, or TCRED_SERVER. The bearer token for it is read from --token-file ("-" is standard input), or from TCRED_TOKEN.
No argument takes a token or a password, and none is printed without --show-password.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 124 the time is over, and the operation continues automatically.`,
		Version:       process.Version(version),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	if plugin, isPlugin := strings.CutPrefix(name, "kubectl-"); isPlugin {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl " + plugin}
	}
	root.SetVersionTemplate("tcred {{.Version}}\n")
	root.SetOut(p.out)
	root.SetErr(p.progress.w)
	flags := root.PersistentFlags()
	p.server.bind(flags)
	flags.StringVarP(&p.output, "output", "o", "text", "what is printed on standard output: text or json")
	flags.DurationVar(&p.timeout, "timeout", 10*time.Minute, "the total time to try and to wait")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(p.rotateCommand(), p.rotationCommand(), p.accessCommand())
	return root
}

// runE makes a command of a function that returns what is to be printed, also beside an error.
func (p *program) runE(act func(ctx context.Context, args []string) (*result, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if p.output != "text" && p.output != "json" {
			return &usageError{fmt.Sprintf("--output is text or json, and not %q", p.output)}
		}
		p.began = true
		if p.timeout <= 0 {
			return &usageError{"--timeout must be above 0"}
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), p.timeout)
		defer cancel()
		r, err := act(ctx, args)
		p.progress.end()
		return errors.Join(err, p.print(r, err))
	}
}

// print writes the result to standard output. In text an error stands on standard error alone.
func (p *program) print(r *result, failure error) error {
	if p.output != "json" {
		if failure == nil {
			_, err := io.WriteString(p.out, r.text())
			return err
		}
		return nil
	}
	if r == nil {
		r = &result{}
	}
	if failure != nil {
		r.Error = &problem{Code: codeOf(failure), Message: failure.Error()}
	}
	e := json.NewEncoder(p.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// usageError is a mistake in the arguments that only the command itself can see.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// timeOver: the endpoint has accepted the request, and it is not done yet.
type timeOver struct{ error }

func (e *timeOver) Unwrap() error { return e.error }

// whyOver says what has ended the wait: the time, or the user.
func (p *program) whyOver(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Sprintf("the wait ended (--timeout %v)", p.timeout)
	}
	return "the wait was interrupted"
}

// codeOf names an error for programs: the endpoint's own code, or one of tcred's.
func codeOf(err error) string {
	var refused *endpoint.Refusal
	var unknown *endpoint.Unknown
	var unreachable *endpoint.Unreachable
	var unexpected *endpoint.Unexpected
	var usage *usageError
	var over *timeOver
	switch {
	case errors.As(err, &unknown):
		return "outcome_unknown"
	case errors.As(err, &refused):
		return string(refused.Code)
	case errors.As(err, &unreachable):
		return "unreachable"
	case errors.As(err, &unexpected):
		return "unexpected_answer"
	case errors.As(err, &usage):
		return "usage"
	case errors.As(err, &over):
		return "time_over"
	default:
		return "failed"
	}
}
