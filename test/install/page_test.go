package install

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/literate"
)

// page is what a page has a reader type, in its order. A test takes one step after the other, so that none is left out.
type page struct {
	name  string
	steps []step
}

// step is one block of commands under a heading.
type step struct{ heading, commands string }

// readPage takes the blocks under the headings from the first one named to the next one that is named; "" = all.
func readPage(t *testing.T, name, from, to string) *page {
	t.Helper()
	p := &page{name: name}
	heading, inside := "", from == ""
	require.NoError(t, literate.Read(filepath.Join(harness.Repository, name), func(line string) {
		marks, text, is := strings.Cut(line, " ")
		if !is || strings.Trim(marks, "#") != "" || marks == "" {
			return
		}
		heading = text
		if text == from || text == to {
			inside = text == from
		}
	}, func(language, text string) {
		if language == "sh" && inside {
			p.steps = append(p.steps, step{heading, text})
		}
	}))
	require.NotEmpty(t, p.steps, name)
	return p
}

// next is the page's next block, which stands under the heading.
func (p *page) next(t *testing.T, heading string) string {
	t.Helper()
	require.NotEmpty(t, p.steps, "%s has no block %q any more", p.name, heading)
	first := p.steps[0]
	require.Equal(t, heading, first.heading, "the next block of %s", p.name)
	p.steps = p.steps[1:]
	return first.commands
}

func (p *page) requireDone(t *testing.T) {
	t.Helper()
	require.Empty(t, p.steps, "%s has more than the test has typed", p.name)
}

var assignment = regexp.MustCompile(`(?m)^[A-Z]+=\S+$`)

// typed runs commands in the checkout, like a reader who pastes them one after the other into a shell: variables that were set stay set. input is
// typed where a command asks.
func (s *site) typed(t *testing.T, commands, input string) string {
	t.Helper()
	said, err := s.try(t, commands, input)
	require.NoError(t, err, "%s\n%s", commands, said)
	return said
}

// refused is typed for commands that must fail.
func (s *site) refused(t *testing.T, commands string) string {
	t.Helper()
	said, err := s.try(t, commands, "")
	require.Error(t, err, "%s\n%s", commands, said)
	return said
}

func (s *site) try(t *testing.T, commands, input string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-c", "set -euo pipefail\n"+strings.Join(s.variables, "\n")+"\n"+commands)
	command.Dir = s.checkout
	command.Stdin = strings.NewReader(input)
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal: psql reads a password from its input
	command.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig, "KUBECACHEDIR="+filepath.Join(s.folder, "cache"),
		"PATH="+filepath.Join(s.folder, "path")+":"+filepath.Join(harness.Repository, "bin", "k8s")+":"+os.Getenv("PATH"))
	output, err := command.CombinedOutput()
	s.variables = append(s.variables, assignment.FindAllString(commands, -1)...)
	return string(output), err
}
