// Package gitops has a pipeline apply the same manifest again and again while people and the operator write to the same objects.
package gitops

import (
	"os"
	"testing"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

func TestMain(m *testing.M) {
	if harness.Short() {
		os.Exit(m.Run()) // every test skips itself
	}
	os.Exit(harness.Run(m))
}
