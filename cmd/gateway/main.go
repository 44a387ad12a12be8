// Command gateway is the HTTP endpoint at which the platform's customers, services and staff have a tenant's credentials rotated.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"go.uber.org/zap/zapcore"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// version is set where an image is built, as the manager's.
var version string

func main() {
	ctx := ctrl.SetupSignalHandler()
	err := forbidDumps()
	if err == nil {
		err = runCommand(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

// mostVerbose is the highest level that is logged. From level 8 on client-go writes down the bodies of requests, and the callers' tokens are in those of
// TokenReviews.
const mostVerbose = 7

func runCommand(ctx context.Context) error {
	var o options
	o.bind(flag.CommandLine)
	logging := zap.Options{StacktraceLevel: zapcore.DPanicLevel}
	logging.BindFlags(flag.CommandLine)
	showVersion := flag.Bool("version", false, "Print the version of the program, and end.")
	flag.Parse()
	if *showVersion {
		_, err := fmt.Println(describeVersion())
		return err
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: write flags", flag.Arg(0))
	}
	if logging.Level != nil && logging.Level.Enabled(-mostVerbose-1) {
		logging.Level = zapcore.Level(-mostVerbose)
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	ctrl.Log.Info("starting", "version", describeVersion())
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no way to the API server: run in a pod, or write --kubeconfig: %w", err)
	}
	return run(ctx, config, o)
}

func describeVersion() string {
	own := version
	if build, known := debug.ReadBuildInfo(); known {
		own = cmp.Or(own, build.Main.Version)
	}
	return fmt.Sprintf("tenant-credential-gateway %s, %s", cmp.Or(own, "(unknown)"), runtime.Version())
}
