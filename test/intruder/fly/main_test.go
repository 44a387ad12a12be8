// Package fly attacks the operator's client of the Fly.io API with servers that answer as no honest one would. Each attack is a subtest
// that says how it is refused: with which class and reason, and that neither the token nor the secret's value is in what a user reads.
package fly

import (
	"os"
	"testing"
)

// TestMain is also the program that the memory and address attacks start: a client in a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv(childKey) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}
