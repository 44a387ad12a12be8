package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// version is set where an image is built, which sees no Git repository (Dockerfile). Elsewhere Go names it after the repository's tag and commit.
var version string

// describeVersion says which program this is, and which version of the ledger it installs and needs.
func describeVersion() string {
	own := version
	if build, known := debug.ReadBuildInfo(); known {
		own = cmp.Or(own, build.Main.Version)
	}
	return fmt.Sprintf("tenant-credential-operator %s, ledger version %d, %s", cmp.Or(own, "(unknown)"), postgres.LedgerVersion, runtime.Version())
}
