package faultmatrix

import (
	"os"
	"testing"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// TestMain gives each process that runs cells a playground of its own; the one that hands them out needs none.
func TestMain(m *testing.M) {
	if handsOut() {
		os.Exit(m.Run())
	}
	os.Exit(harness.Run(m))
}

// handsOut says that this process is to run the whole matrix, in several lanes.
func handsOut() bool { return os.Getenv("FAULT_MATRIX") != "" && os.Getenv("FAULT_MATRIX_LANE") == "" }
