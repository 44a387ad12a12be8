package endpoint

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// TestPages types every command of the pages, from the top to the bottom, and compares what is printed with what stands there. UPDATE_PAGES=1 writes
// what is printed into the page instead.
func TestPages(t *testing.T) {
	for _, name := range []string{"endpoint.md", "tcred.md"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(harness.Repository, "docs", name)
			page, err := os.ReadFile(path)
			require.NoError(t, err)
			home := t.TempDir()
			typed := console.ReplaceAllStringFunc(string(page), func(block string) string { return session(t, home, block) })
			if os.Getenv("UPDATE_PAGES") != "" {
				require.NoError(t, os.WriteFile(path, []byte(typed), 0o600))
				return
			}
			require.Equal(t, constant(string(page)), constant(typed))
		})
	}
}

var (
	console = regexp.MustCompile("(?ms)^```console\n.*?^```$")
	// command is a line after the prompt, and the lines that go on with it.
	command = regexp.MustCompile(`(?m)^\$ (.*(?:\\\n.*)*)$`)
)

// session is a block with its commands and what they print.
func session(t *testing.T, home, block string) string {
	t.Helper()
	var said strings.Builder
	said.WriteString("```console\n")
	for _, typed := range command.FindAllStringSubmatch(block, -1) {
		shell := exec.Command("bash", "-c", typed[1])
		shell.Dir = home
		shell.Env = append(os.Environ(), "HOME="+home, "NO_COLOR=1")
		output, err := shell.CombinedOutput()
		if err != nil && !strings.Contains(typed[1], "exit") {
			t.Logf("%s: %v", typed[1], err)
		}
		said.WriteString("$ " + typed[1] + "\n" + strings.ReplaceAll(strings.TrimRight(string(output), "\n"), "\r", "") + "\n")
	}
	return said.String() + "```"
}

// volatile is what differs from run to run.
var volatile = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "<time>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:<port>"},
	{regexp.MustCompile(`port=\d+`), "port=<port>"},
	{regexp.MustCompile(`(?mi)^date: .*$`), "date: <date>"},
	{regexp.MustCompile(`(?mi)^content-length: \d+$`), "content-length: <length>"},
	{regexp.MustCompile(`(?mi)^retry-after: \d+$`), "retry-after: <seconds>"},
	{regexp.MustCompile(`in \d+ s`), "in <seconds> s"},
}

func constant(page string) string {
	for _, v := range volatile {
		page = v.pattern.ReplaceAllString(page, v.instead)
	}
	return page
}
