// Command gateway is the HTTP endpoint at which the platform's customers, services and staff have a tenant's credentials rotated.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/cmd/internal/logging"
	"github.com/systempromptio/tenant-credential-operator/cmd/internal/process"
)

// version is set where an image is built, as the manager's.
var version string

func main() {
	ctx := ctrl.SetupSignalHandler()
	err := process.ForbidDumps()
	if err == nil {
		err = runCommand(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

func runCommand(ctx context.Context) error {
	var o options
	o.bind(flag.CommandLine)
	var log logging.Options
	log.Bind(flag.CommandLine)
	showVersion := flag.Bool("version", false, "Print the version of the program, and exit.")
	flag.Parse()
	if *showVersion {
		_, err := fmt.Println(describeVersion())
		return err
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: write flags", flag.Arg(0))
	}
	log.Start()
	ctrl.Log.Info("starting", "version", describeVersion())
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no configuration for the API server: run in a pod, or write --kubeconfig: %w", err)
	}
	return run(ctx, config, o)
}

func describeVersion() string {
	return fmt.Sprintf("tenant-credential-gateway %s, %s", process.Version(version), runtime.Version())
}
