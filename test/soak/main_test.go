// Package soak runs the whole system for minutes: under faults that a seed determines (make soak), through an outage of PostgreSQL with a
// thousand tenants (make outage), through the rollout of many Machines at Fly's rates (make rollout), as fast as it can (make bench), and with many
// tenants at rest (make scale). It does nothing unless it is asked: SOAK, OUTAGE, ROLLOUT, BENCH or SCALE is set.
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
	if os.Getenv("SOAK") == "" && os.Getenv("OUTAGE") == "" && os.Getenv("ROLLOUT") == "" && os.Getenv("BENCH") == "" && os.Getenv("SCALE") == "" {
		os.Exit(m.Run()) // every test skips itself
	}
	if os.Getenv("BENCH") != "" || os.Getenv("SCALE") != "" {
		log.SetLogger(zap.New(zap.WriteTo(io.Discard)))
		os.Exit(m.Run()) // on playgrounds of its own
	}
	log.SetLogger(zap.New(zap.WriteTo(io.Discard))) // the client's own, which complains where the program sets none
	os.Exit(harness.Run(m))
}
