// Command manager is the tenant credential operator. Without arguments it runs the controllers; `manager install-sql` installs or
// upgrades the ledger in a PostgreSQL server.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"go.uber.org/zap/zapcore"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

func main() {
	ctx := ctrl.SetupSignalHandler()
	err := forbidDumps()
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

// mostVerbose is the highest level that is logged. From level 8 on client-go writes down whole answers of the API server, and among them
// are the Secrets with the Fly tokens and the database logins.
const mostVerbose = 7

func runManager(ctx context.Context) error {
	var o options
	o.bind(flag.CommandLine)
	logging := zap.Options{StacktraceLevel: zapcore.DPanicLevel} // an error says what is wrong, and not where in the program that was noticed
	logging.BindFlags(flag.CommandLine)
	showVersion := flag.Bool("version", false, "Print the version of the program and of the ledger that it needs, and end.")
	flag.Parse()
	if *showVersion {
		_, err := fmt.Println(describeVersion())
		return err
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: write flags, or install-sql", flag.Arg(0))
	}
	if logging.Level != nil && logging.Level.Enabled(-mostVerbose-1) {
		logging.Level = zapcore.Level(-mostVerbose)
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	ctrl.Log.Info("starting", "version", describeVersion())
	return run(ctx, o)
}
