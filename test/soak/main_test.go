// Package soak runs the whole system for minutes, under faults that a seed determines (make soak) and through an outage of PostgreSQL
// with a thousand tenants (make outage). It does nothing unless it is asked: SOAK or OUTAGE is set.
package soak

import (
	"io"
	"os"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

func TestMain(m *testing.M) {
	if os.Getenv("SOAK") == "" && os.Getenv("OUTAGE") == "" {
		os.Exit(m.Run()) // every test skips itself
	}
	log.SetLogger(zap.New(zap.WriteTo(io.Discard))) // the client's own, which complains where nobody sets it
	os.Exit(harness.Run(m))
}
