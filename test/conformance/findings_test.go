package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

// finding is the answer to a question.
type finding struct {
	Item    string `json:"item"`
	Found   string `json:"found"`
	Assumed string `json:"assumed"`
	Switch  string `json:"switch,omitempty"` // of the emulator
}

// notEstablished begins what is found where no answer was found.
const notEstablished = "not established: "

// findings are those of this run.
var findings []finding

func questions() []question {
	return slices.Concat(questionsOfSecrets, questionsOfMachines, questionsOfReleases)
}

func TestFindings(t *testing.T) {
	for _, q := range questions() {
		t.Run(q.item, func(t *testing.T) {
			found := q.answeredBy(t, fly)
			findings = append(findings, finding{q.item, found, q.assumed(flyemulator.DefaultSwitches()), q.setting})
			fmt.Printf("finding: %s %s\n", q.item, found)
			if fly.emulator != nil {
				require.Equal(t, q.assumed(flyemulator.DefaultSwitches()), found, "the emulator behaves as its switch says")
			}
		})
	}
}

// TestFindingsTellTheSwitchesApart proves that the questions can be answered otherwise.
func TestFindingsTellTheSwitchesApart(t *testing.T) {
	var known map[string]any
	content, err := json.Marshal(flyemulator.DefaultSwitches())
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &known))
	for _, q := range questions() {
		if q.other == nil {
			continue
		}
		t.Run(q.setting, func(t *testing.T) {
			require.Contains(t, known, q.setting, "the emulator has such a switch")
			g, err := emulate(q.other)
			require.NoError(t, err)
			t.Cleanup(g.close) // after what the question cleans up
			found := q.answeredBy(t, g)
			require.NotEqual(t, q.assumed(flyemulator.DefaultSwitches()), found)
			require.Truef(t, strings.HasPrefix(found, q.assumed(g.emulator.Switches())), "found %q", found)
		})
	}
}

// answeredBy asks the target. An unexpected answer, on the way to the finding, is the finding; it fails no test.
func (q question) answeredBy(t *testing.T, g *target) (found string) {
	t.Helper()
	a := &asking{T: t}
	defer func() {
		a.over = true
		if recovered := recover(); recovered == nil {
			return
		} else if recovered != (givenUp{}) {
			panic(recovered)
		}
		found = notEstablished + g.redact(a.problem)
	}()
	return q.ask(fixtureOn(a, g))
}

// asking is a test that notes its failure instead of failing, until the question has been answered. The cleanup afterwards fails
// as in any test: a Machine that is left costs money.
type asking struct {
	*testing.T
	problem string
	over    bool
}

type givenUp struct{}

// Errorf replaces testing.T's.
func (a *asking) Errorf(format string, args ...any) {
	if a.over {
		a.T.Helper()
		a.T.Errorf(format, args...)
		return
	}
	a.problem = strings.Join(strings.Fields(a.problem+" "+fmt.Sprintf(format, args...)), " ")
}

// FailNow replaces testing.T's.
func (a *asking) FailNow() {
	if a.over {
		a.T.FailNow()
	}
	panic(givenUp{})
}

// report prints the table, and leaves it in bin/ for a run that was asked for.
func report() error {
	if len(findings) == 0 {
		return nil
	}
	all := append(slices.Clone(findings), retryAfter())
	fmt.Printf("\nfindings about %s (≠ is not as assumed, ? is not established)\n%s\n", fly.name, table(all))
	if os.Getenv("FLY_CONFORMANCE") == "" {
		return nil
	}
	content, err := json.MarshalIndent(map[string]any{"against": fly.name, "findings": all}, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join("..", "..", "bin", "fly-conformance.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(content, '\n'), 0o644)
}

// retryAfter is the one finding that no test asks for: a 429 happens, or it does not.
func retryAfter() finding {
	f := finding{"does a 429 carry Retry-After?", notEstablished + "no 429 happened", yes(flyemulator.DefaultSwitches().RetryAfter), "retry_after"}
	if len(fly.refused) > 0 {
		f.Found = yes(!slices.Contains(fly.refused, ""))
	}
	return f
}

func table(all []finding) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  \titem\tfound\tassumed\tswitch")
	for _, f := range all {
		mark := " "
		switch {
		case strings.HasPrefix(f.Found, notEstablished):
			mark = "?"
		case f.Found != f.Assumed:
			mark = "≠"
		}
		fmt.Fprintf(w, "%s \t%s\t%s\t%s\t%s\n", mark, f.Item, f.Found, f.Assumed, f.Switch)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return text.String()
}
