// Command tcred is the command line of the tenant credential endpoint's callers: it rotates a tenant's credentials, follows the rotation until the
// app's Machines run with the new password, and saves that for psql.
//
// Nothing that it starts, prints or writes has a password or token in it, but for the password file that --save asks for, and for
// --show-password. It starts no other program.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/systempromptio/tenant-credential-operator/cmd/internal/process"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends tcred at once
	if err := process.ForbidDumps(); err != nil {
		fmt.Fprintln(os.Stderr, "tcred:", err)
		os.Exit(exitFailed)
	}
	p := &program{in: os.Stdin, out: os.Stdout, progress: newProgress(os.Stderr)}
	os.Exit(p.run(ctx, os.Args))
}
