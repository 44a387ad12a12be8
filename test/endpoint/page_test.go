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
func TestPages(t *testing.T) { // not parallel: it stops PostgreSQL
	for _, name := range []string{"endpoint.md"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(harness.Repository, "docs", name)
			page, err := os.ReadFile(path)
			require.NoError(t, err)
			home := t.TempDir()
			harness.Kubectl(t, "", "apply", "-f", filepath.Join(harness.Repository, "config", "samples", "tenants.yaml"))
			harness.Kubectl(t, "", "-n", "tenants-sandbox", "wait", "tcred", "acme", "globex", "--for=condition=Ready", "--timeout=3m")
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
	command = regexp.MustCompile(`(?m)^\$ ((?:.*\\\n)*.*)$`)
)

// session is a block with its commands, typed into one shell, and what each of them prints.
func session(t *testing.T, home, block string) string {
	t.Helper()
	var script, said strings.Builder
	commands := command.FindAllStringSubmatch(block, -1)
	for _, typed := range commands {
		script.WriteString(typed[1] + "\nprintf '%s\\n' " + boundary + "\n")
	}
	shell := exec.Command("bash", "-s")
	shell.Stdin = strings.NewReader(script.String())
	shell.Dir = home
	shell.Env = append(os.Environ(), "HOME="+home, "NO_COLOR=1")
	output, err := shell.CombinedOutput()
	require.NoError(t, err, string(output))
	printed := strings.Split(strings.ReplaceAll(string(output), "\r", ""), boundary+"\n")
	require.Len(t, printed, len(commands)+1, string(output))
	said.WriteString("```console\n")
	for i, typed := range commands {
		said.WriteString("$ " + typed[1] + "\n")
		if text := strings.Trim(printed[i], "\n"); text != "" {
			said.WriteString(text + "\n")
		}
	}
	return said.String() + "```"
}

// boundary is printed after each command.
const boundary = "-o-o-o-"

// volatile is what differs from run to run.
var volatile = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "<time>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:<port>"},
	{regexp.MustCompile(`port=\d+`), "port=<port>"},
	{regexp.MustCompile(`(?mi)^date: .*$`), "date: <date>"},
	{regexp.MustCompile(`(?mi)^x-request-id: .*$`), "x-request-id: <id>"},
	{regexp.MustCompile(`"updated":\d+`), `"updated":<number>`},
	{regexp.MustCompile(`(?m)^(429|503) \d+$`), "$1 <seconds>"},
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
