// Package endpoint calls the HTTP endpoint as its callers do, with curl and with a client like the one that the platform has, and the real operator,
// PostgreSQL and Machines behind it.
package endpoint

import (
	"os"
	"testing"
	"time"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

func TestMain(m *testing.M) { os.Exit(harness.Run(m)) }

type tenant = platform.Tenant

// patience is how long something may take on a machine that is busy with other tests.
const patience = 3 * time.Minute

// newOwned is a tenant of the owner, adopted.
func newOwned(t *testing.T, machines ...string) tenant {
	t.Helper()
	x := platform.NewTenant(t, machines...)
	x.GiveTo(os.Getenv("GATEWAY_OWNER"))
	x.Apply()
	x.WaitReady()
	return x
}
