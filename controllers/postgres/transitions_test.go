package postgres

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the generated files instead of comparing them")

func TestGeneratedFilesAreCurrent(t *testing.T) {
	for path, want := range map[string]string{
		"migrations/00002_transitions.sql": transitionsSQL(),
		"../../docs/ledger-states.md":      transitionsMarkdown(),
	} {
		if *update {
			require.NoError(t, os.WriteFile(path, []byte(want), 0o644)) //nolint:gosec // a source file
			continue
		}
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(got), "%s is not what transitions.go says: run go generate ./controllers/postgres", path)
	}
}
