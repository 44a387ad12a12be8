package status

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/literate"
)

// row is one of the tables of docs/status.md.
type row struct {
	// Ready is the condition's status and reason.
	Ready string
	// Beside is the type and reason of Reconciling or Stalled; "" = neither is there.
	Beside string
	// Kstatus is what kstatus computes.
	Kstatus string
	// Wait is what kubectl wait --for=condition=Ready does that begins right after the apply: it waits, or it returns.
	Wait string
}

const (
	waits   = "waits"
	returns = "returns"
)

// readPage reads the rows of all tables by state.
func readPage(t *testing.T) map[string]row {
	t.Helper()
	rows := map[string]row{}
	line := func(text string) {
		cells := strings.Split(strings.Trim(text, "|"), "|")
		if !strings.HasPrefix(text, "|") || len(cells) != 5 {
			return
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "`", ""))
		}
		if cells[4] != waits && cells[4] != returns { // a heading, or the line below it
			return
		}
		require.NotContains(t, rows, cells[0])
		rows[cells[0]] = row{Ready: cells[1], Beside: strings.Trim(cells[2], "–"), Kstatus: cells[3], Wait: cells[4]}
	}
	require.NoError(t, literate.Read(filepath.Join(harness.Repository, "docs", "status.md"), line, func(string, string) {}))
	require.NotEmpty(t, rows)
	return rows
}
