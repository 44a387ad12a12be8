package secrecy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// rotateByEndpoint rotates as the platform's callers do: by curl, which shows all that is sent, and by tcred at a terminal. Their output goes
// into files beside the logs, where the checker looks for passwords.
func rotateByEndpoint(t *testing.T) {
	t.Helper()
	x := platform.NewTenant(t, "started")
	x.GiveTo(os.Getenv("GATEWAY_OWNER"))
	x.Apply()
	x.WaitReady()
	curl := exec.Command("curl", "-sS", "--trace-ascii", "-", "--cacert", os.Getenv("GATEWAY_CA"), "-H", "Authorization: Bearer "+os.Getenv("GATEWAY_OWNER_TOKEN"),
		"-X", "POST", os.Getenv("GATEWAY_URL")+"/api/v1/tenants/"+x.ID+"/rotate-credentials", "--json", `{"reason":"laptop lost"}`)
	said, err := curl.CombinedOutput()
	require.NoError(t, err, string(said))
	leave(t, "curl.log", string(said))
	x.WaitReady()
	rotateAtATerminal(t, x)
	require.Equal(t, 2, x.Rows()["completed"])
}

// rotateAtATerminal has a user type at a shell that keeps a history: tcred rotates, fetches the password and saves it, and psql logs in with that.
func rotateAtATerminal(t *testing.T, x tenant) {
	t.Helper()
	home := t.TempDir()
	typed := "HISTFILE=" + filepath.Join(home, "history") + "\nset -o history\ntcred rotate-credentials " + x.ID + ` --server "$GATEWAY_URL" --ca-file "$GATEWAY_CA" --save=acme` +
		"\npsql -X service=acme -c 'SELECT session_user'\nhistory -w\n"
	require.NoError(t, os.WriteFile(filepath.Join(home, "typed"), []byte(typed), 0o600))
	shell := exec.Command("script", "--quiet", "--return", "--command", "bash "+filepath.Join(home, "typed"), "/dev/null")
	shell.Env = append(withoutLibpq(os.Environ()), "HOME="+home, "PAGER=cat", "TCRED_TOKEN="+os.Getenv("GATEWAY_OWNER_TOKEN"))
	seen := watchProcesses()
	screen, err := shell.CombinedOutput()
	processes := seen()
	require.NoError(t, err, string(screen))

	history := read(t, filepath.Join(home, "history"))
	require.Contains(t, string(screen), "Saved:")
	require.Contains(t, string(screen), x.Role()+"\r\n", "psql has not logged in")
	require.Contains(t, history, "rotate-credentials")
	require.Contains(t, processes, "--save=acme")
	require.Contains(t, processes, "service=acme")
	require.NotEmpty(t, read(t, filepath.Join(home, ".pgpass")))
	for name, left := range map[string]string{"terminal.log": string(screen), "history.log": history, "processes.log": processes} {
		require.NotContains(t, left, os.Getenv("GATEWAY_OWNER_TOKEN"), name)
		leave(t, name, left)
	}
}

// watchProcesses collects what the process list shows from now on, until the function that it returns is called.
func watchProcesses() (seen func() string) {
	lines, stop, done := map[string]bool{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range files {
				line, _ := os.ReadFile(file) // a process may have ended
				lines[strings.ReplaceAll(string(line), "\x00", " ")] = true
			}
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() string {
		close(stop)
		<-done
		var all strings.Builder
		for line := range lines {
			if !strings.Contains(line, "--trace-ascii") { // curl has the token as an argument, as its manual warns
				all.WriteString(line + "\n")
			}
		}
		return all.String()
	}
}

// withoutLibpq leaves out the playground's own login.
func withoutLibpq(environment []string) []string {
	var left []string
	for _, variable := range environment {
		if !strings.HasPrefix(variable, "PG") {
			left = append(left, variable)
		}
	}
	return left
}

// leave puts a text where the checker looks.
func leave(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(os.Getenv("PLAYGROUND_LOG_DIR"), name), []byte(text), 0o600))
}
