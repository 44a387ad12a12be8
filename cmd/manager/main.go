// Command manager is the tenant credential operator. Without arguments it runs the controllers; `manager install-sql` installs or
// upgrades the ledger in a PostgreSQL server.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

func main() {
	ctx := ctrl.SetupSignalHandler()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "install-sql" {
		err = installSQL(ctx, os.Args[2:], os.Stdin, os.Stdout)
	} else {
		err = runManager(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

func runManager(ctx context.Context) error {
	var o options
	o.bind(flag.CommandLine)
	logging := zap.Options{}
	logging.BindFlags(flag.CommandLine)
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: write flags, or install-sql", flag.Arg(0))
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	return run(ctx, o)
}
