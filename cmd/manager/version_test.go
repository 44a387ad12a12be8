package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersion(t *testing.T) {
	require.Regexp(t, `^tenant-credential-operator \(devel\), ledger version \d+, go1\.`, describeVersion(), "a test has no version")
	version = "v1.2.3"
	t.Cleanup(func() { version = "" })
	require.Regexp(t, `^tenant-credential-operator v1\.2\.3, ledger version \d+, go1\.`, describeVersion())
}
