// Command manager is the tenant credential operator. Without arguments it runs the controllers; `manager install-sql` installs or
// upgrades the ledger in a PostgreSQL server.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/cmd/internal/logging"
	"github.com/systempromptio/tenant-credential-operator/cmd/internal/process"
)

func main() {
	ctx := ctrl.SetupSignalHandler()
	err := process.ForbidDumps()
	if err == nil {
		err = runCommand(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

func runCommand(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == "install-sql" {
		return installSQL(ctx, os.Args[2:], os.Stdin, os.Stdout)
	}
	return runManager(ctx)
}

func runManager(ctx context.Context) error {
	var o options
	o.bind(flag.CommandLine)
	var log logging.Options
	log.Bind(flag.CommandLine)
	showVersion := flag.Bool("version", false, "Print the version of the program and of the ledger that it needs, and exit.")
	flag.Parse()
	if *showVersion {
		_, err := fmt.Println(describeVersion())
		return err
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: write flags, or install-sql", flag.Arg(0))
	}
	log.Start()
	ctrl.Log.Info("starting", "version", describeVersion())
	return run(ctx, o)
}
