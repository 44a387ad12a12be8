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

// ownerSubject is the subject of the owner's token.
const ownerSubject = "3f0c9a52-7b1e-4d6a-8f25-90b1c2d3e4f5"

// patience is how long something may take on a machine that is busy with other tests.
const patience = 3 * time.Minute

// newOwned is a tenant of the owner, adopted.
func newOwned(t *testing.T, machines ...string) tenant {
	t.Helper()
	x := platform.NewTenant(t, machines...)
	x.SQL("UPDATE management.tenants SET owner = '" + ownerSubject + "' WHERE id = '" + x.ID + "'")
	x.Apply()
	x.WaitReady()
	return x
}
