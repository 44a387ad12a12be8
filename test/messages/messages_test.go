// Package messages holds docs/messages.md against what the system really shows.
package messages

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/literate"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

func TestMain(m *testing.M) {
	if harness.Short() { // the remaining tests need no playground
		os.Exit(m.Run())
	}
	os.Exit(harness.Run(m))
}

// The page docs/messages.md, as the tests read it.
type (
	page struct {
		prelude string // the commands that the entries use
		entries []entry
	}
	entry struct {
		heading  string
		provoke  string
		heal     string // "" = it heals automatically, or there is nothing to heal
		expected []expectation
		healed   string // the first object's condition after heal
	}
	// expectation is one message. Without an object it is what the provoking command prints.
	expectation struct{ kind, name, namespace, condition, message string }
	// condition is one of a status.
	condition struct{ Type, Status, Reason, Message string }
)

const (
	ready = "Ready=True"
	// patience is how long a message may take: some backoffs, and the rollout of a Machine.
	patience = 120 * time.Second
)

var (
	objectLine = regexp.MustCompile("^Object: `(tcred|tenv)/([a-z0-9-]+)`(?: in `([a-z0-9-]+)`)? · condition: `([A-Za-z]+=[A-Za-z]+ [A-Za-z]+)`$")
	healedLine = regexp.MustCompile("^Healed: `([^`]+)`$")
)

// Every message of docs/messages.md appears word for word after the commands of its entry, and is gone after those that heal it.
func TestMessages(t *testing.T) { // not parallel: it breaks what the other tests use
	harness.Long(t)
	manual := readMessages(t)
	harness.Kubectl(t, "", "apply", "-f", filepath.Join(harness.Repository, "config", "samples", "tenants.yaml"))
	harness.Kubectl(t, "", "-n", "tenants-sandbox", "patch", "tcred", "vandelay", "--type=merge", "-p", `{"spec":{"rotationGeneration":1}}`)
	requireSampleTenantsReady(t)
	for _, e := range manual.entries {
		t.Run(e.heading, func(t *testing.T) {
			if e.expected[0].kind == "" {
				refused(t, manual.prelude, e)
				return
			}
			hurry := sync.OnceFunc(func() { setFlyClock(t, -20*time.Second) }) // every Machine looks older than a rollout watches it
			if e.afterRollOut() {
				hurry()
			}
			shell(t, manual.prelude, e.provoke, true)
			for _, x := range e.expected {
				awaitCondition(t, x, x.condition, pattern(x.message))
			}
			hurry()
			shell(t, manual.prelude, e.heal, true)
			awaitCondition(t, e.expected[0], e.healed, regexp.MustCompile(""))
			requireSampleTenantsReady(t)
			setFlyClock(t, 20*time.Second)
		})
	}
}

// afterRollOut says that the message comes once the Machines have moved, and that none on the way there is to be seen.
func (e entry) afterRollOut() bool {
	return strings.HasPrefix(e.expected[0].condition, "Reconciling=True Retiring")
}

// setFlyClock sets the clock of the emulator forward, or back.
func setFlyClock(t *testing.T, by time.Duration) {
	t.Helper()
	platform.Admin(t, http.MethodPost, "/admin/clock", fmt.Sprintf(`{"advance_ms":%d}`, by.Milliseconds()), nil)
}

// refused compares what a command prints, whether it succeeds or not.
func refused(t *testing.T, prelude string, e entry) {
	t.Helper()
	output := shell(t, prelude, e.provoke, false)
	assert.Regexp(t, pattern(e.expected[0].message), strings.TrimSpace(output))
	shell(t, prelude, e.heal, true)
}

// shell runs commands of the page in the root of the repository, like a reader who follows it, and returns their output.
func shell(t *testing.T, prelude, commands string, mustSucceed bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	if commands == "" {
		return ""
	}
	script := prelude + "\n" + commands
	if mustSucceed {
		script = "set -euo pipefail\n" + script
	}
	command := exec.CommandContext(ctx, "bash", "-c", script)
	command.Dir = harness.Repository
	output, err := command.CombinedOutput()
	if mustSucceed {
		require.NoError(t, err, "%s\n%s", commands, output)
	}
	return string(output)
}

// pattern matches a message in which … stands for anything.
func pattern(message string) *regexp.Regexp {
	return regexp.MustCompile("(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(message), "…", ".*") + "$")
}

// awaitCondition waits until an object shows a condition ("Type=Status", or "Type=Status Reason") with a message. An object that was
// made by an entry, and is gone, counts as Ready. A message that does not come is not fatal: the entry has to be healed.
func awaitCondition(t *testing.T, x expectation, want string, message *regexp.Regexp) {
	t.Helper()
	if want == ready && len(list(t, x.path()).Items) == 0 {
		return
	}
	kind, _, _ := strings.Cut(want, "=")
	var shown string
	found := watch(t, x.path()+"&watch=true", func(o object) bool {
		c := o.condition(kind)
		shown = fmt.Sprintf("%s=%s %s\n%s", c.Type, c.Status, c.Reason, c.Message)
		// Facts of PostgreSQL end with a full stop, to which the message adds another.
		return strings.HasPrefix(shown, want) && message.MatchString(c.Message)
	})
	assert.True(t, found, "the message did not come: %s/%s\nexpected: %s\n%s\nshown: %s", x.kind, x.name, want, message, shown)
}

// path is where the API server has a list with the object alone.
func (x expectation) path() string {
	kind := "/tenantenvironments"
	if x.kind == "tcred" {
		kind = "/namespaces/" + x.namespace + "/tenantcredentials"
	}
	return harness.Resources + kind + "?fieldSelector=metadata.name%3D" + x.name
}

// list reads the objects at a path.
func list(t *testing.T, path string) (found struct{ Items []object }) {
	t.Helper()
	answer, err := harness.Read(t.Context(), path)
	require.NoError(t, err)
	defer answer.Close()
	require.NoError(t, json.NewDecoder(answer).Decode(&found))
	return found
}

// watch follows a path until an object is the right one, and says whether one was.
func watch(t *testing.T, path string, right func(object) bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answer, err := harness.Read(ctx, path)
	require.NoError(t, err)
	defer answer.Close()
	for events := json.NewDecoder(answer); ; {
		var event struct{ Object object }
		if events.Decode(&event) != nil {
			return false
		}
		if right(event.Object) {
			return true
		}
	}
}

// object is what is read of one.
type object struct {
	Metadata struct{ Name string }
	Status   struct{ Conditions []condition }
}

func (o object) condition(kind string) condition {
	for _, c := range o.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return condition{}
}

// requireSampleTenantsReady waits until the playground is as it was: every tenant Ready but umbrella, which has no app.
func requireSampleTenantsReady(t *testing.T) {
	t.Helper()
	samples := []string{"sandbox", "prod", "acme", "globex", "initech", "vandelay", "hooli", "soylent"}
	var notReady []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		notReady = samples
		for _, kind := range []string{"/tenantenvironments", "/tenantcredentials"} {
			for _, o := range list(t, harness.Resources+kind).Items {
				if o.condition("Ready").Status == "True" {
					notReady = slices.DeleteFunc(slices.Clone(notReady), func(name string) bool { return name == o.Metadata.Name })
				}
			}
		}
		if len(notReady) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond) // between two looks
	}
	require.Fail(t, "the playground is not as it was", "not Ready: %v", notReady)
}

// readMessages reads the page: an entry's first sh block provokes, those after its messages heal.
func readMessages(t *testing.T) page {
	t.Helper()
	var p page
	r := messageReader{page: &p}
	require.NoError(t, literate.Read(filepath.Join(harness.Repository, "docs", "messages.md"), r.line, r.block))
	require.NotEmpty(t, p.entries)
	for _, e := range p.entries {
		require.NotEmpty(t, e.provoke, "%s: no command", e.heading)
		require.NotEmpty(t, e.expected, "%s: no message", e.heading)
	}
	return p
}

// messageReader follows the page line by line.
type messageReader struct {
	page   *page
	object expectation // of the last Object line
}

func (r *messageReader) line(text string) {
	if heading, is := strings.CutPrefix(text, "### "); is {
		r.page.entries = append(r.page.entries, entry{heading: heading, healed: ready})
		r.object = expectation{}
	}
	if found := objectLine.FindStringSubmatch(text); found != nil {
		r.object = expectation{kind: found[1], name: found[2], namespace: found[3], condition: found[4]}
	}
	if found := healedLine.FindStringSubmatch(text); found != nil {
		r.page.entries[len(r.page.entries)-1].healed = found[1]
	}
}

func (r *messageReader) block(language, text string) {
	if len(r.page.entries) == 0 {
		r.page.prelude += text + "\n"
		return
	}
	e := &r.page.entries[len(r.page.entries)-1]
	switch {
	case language == "text":
		r.object.message = text
		e.expected = append(e.expected, r.object)
	case len(e.expected) == 0:
		e.provoke += text + "\n"
	default:
		e.heal += text + "\n"
	}
}

// notProvoked are the reasons that no command brings about, and why.
var notProvoked = map[string]string{
	"Superseded":    "two processes have to meet within milliseconds; it is settled by the next pass",
	"LoginUnproved": "stands for the instant between a commit and the login that proves it",
	"Unexpected":    "stands for answers that the operator does not know",
}

// A reason that a user can meet is explained on the page.
func TestEveryMessageIsDocumented(t *testing.T) {
	t.Parallel()
	named := map[string]bool{}
	for _, e := range readMessages(t).entries {
		for _, x := range e.expected {
			_, reason, _ := strings.Cut(x.condition, " ")
			named[reason] = true
		}
		for _, word := range strings.FieldsFunc(e.heading, func(r rune) bool { return strings.ContainsRune(" ,·", r) }) {
			named[word] = true
		}
	}
	for constant, reason := range reasons(t) {
		_, excepted := notProvoked[constant]
		require.NotEqual(t, named[reason], excepted, "docs/messages.md and reason %s (%s)", reason, constant)
	}
}

// reasons reads the constants of the API's reasons.
func reasons(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(harness.Repository, "api", "reasons", "reasons.go"), nil, 0)
	require.NoError(t, err)
	found := map[string]string{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, is := node.(*ast.ValueSpec)
		if !is {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		found[spec.Names[0].Name] = value
		return true
	})
	require.NotEmpty(t, found)
	return found
}
