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

// TestPages types every command of a page into one shell, from the top to the bottom, and compares what is printed with what stands there.
// UPDATE_PAGES=1 writes what is printed into the page instead.
func TestPages(t *testing.T) { // not parallel: it stops PostgreSQL
	endExternalAccessSoon(t)
	for _, name := range []string{"endpoint.md", "tcred.md"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(harness.Repository, "docs", name)
			page, err := os.ReadFile(path)
			require.NoError(t, err)
			harness.Kubectl(t, "", "apply", "-f", filepath.Join(harness.Repository, "config", "samples", "tenants.yaml"))
			harness.Kubectl(t, "", "-n", "tenants-sandbox", "wait", "tcred", "acme", "globex", "--for=condition=Ready", "--timeout=3m")
			typed := typeAll(t, string(page))
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

// typeAll is a page with what each command prints.
func typeAll(t *testing.T, page string) string {
	t.Helper()
	var script strings.Builder
	for _, block := range console.FindAllString(page, -1) {
		for _, typed := range command.FindAllStringSubmatch(block, -1) {
			script.WriteString(typed[1] + "\nprintf '%s\\n' " + boundary + "\n")
		}
	}
	home := t.TempDir()
	shell := exec.Command("bash", "-s")
	shell.Stdin = strings.NewReader(script.String())
	shell.Dir = home
	shell.Env = append(os.Environ(), "HOME="+home)
	output, err := shell.CombinedOutput()
	require.NoError(t, err, string(output))
	printed := strings.Split(strings.NewReplacer("\r", "", home, "/home/ada").Replace(string(output)), boundary+"\n")
	require.Len(t, printed, strings.Count(script.String(), boundary)+1, string(output))
	return console.ReplaceAllStringFunc(page, func(block string) string {
		said := "```console\n"
		for _, typed := range command.FindAllStringSubmatch(block, -1) {
			said += "$ " + typed[1] + "\n"
			if text := strings.Trim(printed[0], "\n"); text != "" {
				said += text + "\n"
			}
			printed = printed[1:]
		}
		return said + "```"
	})
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
	// How often tcred has news to show depends on how long a Machine, or the end of an access, takes.
	{regexp.MustCompile(`(?m)^(\d+ of \d+ Machines run with revision \d+|Revision \d+: .*|External access: \w+)\n`), ""},
}

func constant(page string) string {
	for _, v := range volatile {
		page = v.pattern.ReplaceAllString(page, v.instead)
	}
	return page
}
