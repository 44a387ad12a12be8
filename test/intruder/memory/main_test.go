// Package memory attacks the manager itself, as it is shipped, under a memory limit: by tenants whose databases answer the login check, and by an
// endpoint that answers in the place of Fly.
package memory

import (
	"os"
	"testing"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

func TestMain(m *testing.M) {
	if harness.Short() { // nothing is left to run
		os.Exit(m.Run())
	}
	os.Exit(harness.RunUnjudged(m)) // attacked tenants cannot be whole
}
