package main

import (
	"fmt"
	"runtime"

	"github.com/systempromptio/tenant-credential-operator/cmd/internal/process"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// version is set where an image is built, which sees no Git repository (Dockerfile). Elsewhere Go names it after the repository's tag and commit.
var version string

// describeVersion says which program this is, and which version of the ledger it installs and needs.
func describeVersion() string {
	return fmt.Sprintf("tenant-credential-operator %s, ledger version %d, %s", process.Version(version), postgres.LedgerVersion, runtime.Version())
}
