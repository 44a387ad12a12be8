// Package failover loses what databases lose: the last commits in a failover, an hour in a restored backup, a table, a status. Each test
// has a PostgreSQL server and an environment of its own, and the independent checker judges it when the operator is done.
package failover

import (
	"os"
	"testing"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Run(m)) }
