// Package status holds docs/status.md against what the API server shows: it brings tenants of a real system into every state of the page's tables,
// and asks kstatus and kubectl wait about each.
package status

import (
	"flag"
	"os"
	"testing"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

func TestMain(m *testing.M) {
	if harness.Short() { // the remaining tests need no playground
		os.Exit(m.Run())
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // the tests wait most of the time
		panic(err)
	}
	os.Exit(harness.RunUnjudged(m)) // most states are left as they are
}
