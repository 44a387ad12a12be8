// Package install follows the pages that a new user follows: the README's installation and first rotation, docs/upgrade.md and docs/uninstall.md,
// on an empty API server, with wrong inputs on the way. Stand-ins replace what a cluster has beside its API server (standins_test.go).
package install

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "docker" {
		ctrl.SetLogger(logr.Discard()) // envtest's
		os.Exit(m.Run())
	}
	if err := docker(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "docker:", err)
		os.Exit(1)
	}
}
