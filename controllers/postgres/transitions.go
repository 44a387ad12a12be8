package postgres

import (
	"fmt"
	"slices"
	"strings"
)

//go:generate go test -run ^TestGeneratedFilesAreCurrent$ . -update

// The states of a rotation.
const (
	StateOpen       = "open"       // begun: an intent, nothing has changed
	StateIssued     = "issued"     // the idle login of the pair has the new password, and no consumer uses it yet
	StateStaged     = "staged"     // inside the transaction only: role and hash are changed, and the row cannot be committed so
	StateCommitted  = "committed"  // role, hash and ledger changed together; from here only forward
	StateRolled     = "rolled"     // every consumer has the new value, and the previous login is still open
	StateCompleted  = "completed"  // every consumer has the new value
	StateSuperseded = "superseded" // a newer rotation was committed before this one was completed
	StateDiscarded  = "discarded"  // given up before it was committed
)

// stateNone is the state before a row is inserted.
const stateNone = ""

// transition is one step that a rotation may take. The trigger on the ledger allows these and no others.
type transition struct {
	from, to string
	function string // the SQL function that takes the step
	meaning  string // one sentence, for the documentation
}

// transitions is the only place where the steps are written down: the trigger's data, the documentation and the property test are
// made from it.
var transitions = []transition{
	{stateNone, StateOpen, "open", "The intent to rotate is recorded and committed before anything changes, so that a crash is never forgotten."},
	{StateOpen, StateIssued, "issue", "Of two logins the idle one is given the new password; the other one is in use as before."},
	{StateIssued, StateIssued, "issue", "An attempt was not committed, so the idle login is given yet another password."},
	{StateOpen, StateStaged, "stage", "The role's verifier and the stored hash are changed. Only the transaction itself sees this: it cannot be committed."},
	{StateIssued, StateStaged, "stage", "The stored hash is changed to that of the password that was issued. It cannot be committed so, either."},
	{StateStaged, StateCommitted, "commit", "Fly's answer is recorded, and COMMIT makes role, hash and ledger change at one moment."},
	{StateCommitted, StateCompleted, "complete", "Every consumer has the new value; the claim's generation is the row's."},
	{StateCommitted, StateRolled, "rolled", "Every consumer has the new value, and with it the other login; the grace period of the previous login begins."},
	{StateRolled, StateCompleted, "complete", "The previous login was retired: it has no password and may not log in."},
	{StateCommitted, StateSuperseded, "commit", "A newer rotation was committed first, so this one's consumers are moved by the newer one."},
	{StateRolled, StateSuperseded, "commit", "A newer rotation was committed before the previous login was retired; it does that."},
	{StateOpen, StateDiscarded, "discard", "The rotation is given up. Nothing had changed."},
	{StateIssued, StateDiscarded, "discard", "The rotation is given up, and the login that was issued is closed again."},
	{StateDiscarded, StateOpen, "open", "What was given up is begun again, where no newer rotation was begun: revisions count rotations, not attempts."},
}

// Allowed says whether a rotation may go from one state to another; "" is before it is there. The trigger on the ledger goes by the same
// table; this is for stand-ins of the ledger.
func Allowed(from, to string) bool {
	return slices.ContainsFunc(transitions, func(t transition) bool { return t.from == from && t.to == to })
}

// transitionsSQL is the migration that fills the table which the ledger's trigger reads.
func transitionsSQL() string {
	var b strings.Builder
	b.WriteString("-- Generated from transitions.go by go generate. DO NOT EDIT.\n-- +goose Up\n")
	b.WriteString("insert into tenant_credentials.transitions (from_state, to_state) values\n")
	for i, t := range transitions {
		end := ","
		if i == len(transitions)-1 {
			end = ";"
		}
		fmt.Fprintf(&b, "  ('%s', '%s')%s\n", t.from, t.to, end)
	}
	return b.String()
}

// transitionsMarkdown is docs/ledger-states.md.
func transitionsMarkdown() string {
	var b strings.Builder
	b.WriteString("<!-- Generated from controllers/postgres/transitions.go by go generate. DO NOT EDIT. -->\n")
	b.WriteString("# The states of a rotation\n\n")
	b.WriteString("Every rotation is one row of `tenant_credentials.rotations`. A trigger refuses every step that is not in this picture,\n")
	b.WriteString("rows are never deleted, and a tenant has at most one row before COMMIT (`open`, `issued`) and one after it (`committed`, `rolled`) that is unfinished.\n\n")
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	for _, t := range transitions {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", mermaidState(t.from), t.to, t.function)
	}
	for _, state := range finalStates() {
		fmt.Fprintf(&b, "    %s --> [*]\n", state)
	}
	b.WriteString("```\n\n| from | to | function | what it means |\n|---|---|---|---|\n")
	for _, t := range transitions {
		from := "–"
		if t.from != stateNone {
			from = "`" + t.from + "`"
		}
		fmt.Fprintf(&b, "| %s | `%s` | `%s` | %s |\n", from, t.to, t.function, t.meaning)
	}
	b.WriteString("\n`staged` is never visible to another transaction: a deferred constraint refuses to commit a row in that state,\n")
	b.WriteString("so that no order of calls changes a password without `commit`.\n")
	return b.String()
}

func mermaidState(state string) string {
	if state == stateNone {
		return "[*]"
	}
	return state
}

// finalStates are those that no step leaves, each once, in the order in which they are first reached.
func finalStates() []string {
	var final []string
	for _, t := range transitions {
		left := false
		for _, next := range transitions {
			left = left || next.from == t.to
		}
		if !left && !slices.Contains(final, t.to) {
			final = append(final, t.to)
		}
	}
	return final
}
