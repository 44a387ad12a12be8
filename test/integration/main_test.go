// Package integration drives the whole system as its users do: kubectl against a real kube-apiserver, real PostgreSQL, the Fly
// emulator through the operator's own fly-go, and the manager as a process with its own least-privileged rights. Nothing of the
// operator is called from here.
package integration

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // the tests wait most of the time
		panic(err)
	}
	os.Exit(harness.Run(m))
}

var (
	playground      = harness.Playground
	long            = harness.Long
	try             = harness.Try
	kubectl         = harness.Kubectl
	admin           = platform.Admin
	newTenant       = platform.NewTenant
	newTenantIn     = platform.NewTenantIn
	newRow          = platform.NewRow
	newEnvironment  = platform.NewEnvironment
	requireAccepted = platform.RequireAccepted
	requireRefused  = platform.RequireRefused
)

type tenant = platform.Tenant

// patience is how long something may take on a machine that is busy with other tests.
const patience = 3 * time.Minute
