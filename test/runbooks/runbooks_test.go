// Package runbooks follows docs/runbooks/by-hand.md: it brings tenants into each of the states that the page is for, takes the operator
// away, runs the page's commands with psql and fly, and has the operator and the checker look at what came of it.
package runbooks

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/literate"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "fly" {
		os.Exit(harness.Run(m))
	}
	if err := flyCommand(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

type tenant = platform.Tenant

// page is one of the runbook.
type page struct {
	// arrange brings a tenant into the state that the page is for, while the operator runs. The function that it returns is called when the operator is
	// gone.
	arrange func(t *testing.T, x tenant) (then func(x tenant))
	// completed is how many rotations are completed at the end. keeps: no new password was made.
	completed int
	keeps     bool
	// oneLogin: with two logins a rotation does not come into this state.
	oneLogin bool
}

var pages = map[string]page{
	"1. A tenant is locked out now": {completed: 2, arrange: func(t *testing.T, x tenant) func(tenant) {
		x.Apply("rotationGeneration: 1")
		x.WaitReady()
		return func(x tenant) {
			present, err := url.Parse(x.URL())
			require.NoError(t, err)
			x.SQL("ALTER ROLE " + present.User.Username() + " PASSWORD 'another-client'")
		}
	}},
	"2. Nothing is unfinished: rotate from the beginning": {completed: 2, arrange: func(_ *testing.T, x tenant) func(tenant) {
		x.Apply("rotationGeneration: 1")
		x.WaitReady()
		return func(x tenant) { x.Apply("rotationGeneration: 2") }
	}},
	"3. A row is open": {completed: 1, arrange: func(t *testing.T, x tenant) func(tenant) {
		old := x.URL()
		mend := x.Fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"drop-response","count":-1}`)
		x.Apply("rotationGeneration: 1")
		x.WaitReason("OutcomeUnknown")
		if x.Rows()["open"] == 1 { // with two logins it is that of the idle one, and valid for now
			platform.RequireRefused(t, x.URL())
		}
		platform.RequireAccepted(t, old)
		return func(tenant) { mend() }
	}},
	"4. A row is committed": {completed: 1, keeps: true, arrange: func(t *testing.T, x tenant) func(tenant) {
		mend := x.Fault(`{"route":"POST /v1/apps/{app}/machines/{id}","status":503,"count":-1}`)
		x.Apply("rotationGeneration: 1")
		require.Eventually(t, func() bool { return x.Rows()["committed"] == 1 }, time.Minute, 50*time.Millisecond)
		return func(tenant) { mend() }
	}},
	"5. Committed, and the login is refused": {completed: 1, oneLogin: true, arrange: func(_ *testing.T, x tenant) func(tenant) {
		x.SQL(`COPY (SELECT 1) TO PROGRAM 'sed -i "1i host all ` + x.Role() + ` all reject" pg_hba.conf'`)
		x.SQL("SELECT pg_reload_conf()")
		x.Apply("rotationGeneration: 1")
		x.WaitReason("VerificationFailed")
		return func(tenant) {}
	}},
	"6. After a failover that lost commits": {completed: 1, arrange: func(_ *testing.T, x tenant) func(tenant) {
		verifier, _ := x.Hashes()
		x.Apply("rotationGeneration: 1")
		x.WaitReady()
		x.Apply("rotationGeneration: 2")
		x.WaitReady()
		return func(x tenant) { // both are lost
			x.SQL(fmt.Sprintf(`SET session_replication_role = 'replica';
				ALTER ROLE %s PASSWORD '%s';
				UPDATE management.tenants SET password_hash = '%[2]s' WHERE id = '%[3]s';
				DELETE FROM tenant_credentials.rotations WHERE tenant_id = '%[3]s';
				UPDATE tenant_credentials.claims SET generation = 0 WHERE tenant_id = '%[3]s'`, x.Role(), verifier, x.ID))
		}
	}},
}

func TestByHand(t *testing.T) {
	platform.Admin(t, http.MethodPost, "/admin/clock", `{"advance_ms":-20000}`, nil) // every Machine looks older than a rollout watches it
	manual := readManual(t)
	fly := installFly(t)
	cases := map[string]*trial{}
	for name := range pages {
		require.NotEmpty(t, manual.sections[name].commands, "the manual has no page %q", name)
		cases[name] = &trial{page: pages[name], name: name}
		if !pages[name].oneLogin {
			cases[name+" (two logins)"] = &trial{page: pages[name], name: name, overlap: true}
		}
	}
	each := func(stage string, do func(t *testing.T, c *trial)) {
		t.Run(stage, func(t *testing.T) {
			for name, c := range cases {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					do(t, c)
				})
			}
		})
	}
	each("arranged", func(t *testing.T, c *trial) { c.prepare(t) })
	killOperator(t)
	each("by hand", func(t *testing.T, c *trial) { c.follow(t, manual, fly) })
	require.NoError(t, harness.Playground("manager-up").Run())
	each("the operator is back", func(t *testing.T, c *trial) { c.requireLeftAlone(t) })
}

// killOperator kills it at any point of its work.
func killOperator(t *testing.T) {
	t.Helper()
	pid, err := strconv.Atoi(os.Getenv("MANAGER_PID"))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.NoError(t, harness.Playground("manager-down").Run())
	harness.Kubectl(t, "", "-n", "tcred-system", "delete", "lease", "tenant-credential-operator") // a dead process has no use for it
}

// trial is one page on its way through the test.
type trial struct {
	page
	name        string // the page's
	overlap     bool   // the tenant has two logins
	tenant      tenant
	then        func(tenant)
	old, former string // the values at Fly before anything was asked for, and before the page was followed
	value       string // the one after it
	writes      int
}

func (c *trial) prepare(t *testing.T) {
	c.tenant = platform.NewTenant(t, "started", "started", "stopped")
	c.tenant.Apply()
	c.tenant.WaitReady()
	if c.overlap {
		c.tenant.SQL("SELECT tenant_credentials.prepare_overlap('" + c.tenant.Role() + "')")
		harness.Kubectl(t, "", "-n", "tenants-sandbox", "patch", "tcred", c.tenant.Name, "--type=merge", "-p", `{"spec":{"rotation":{"strategy":"Overlap"}}}`)
	}
	c.old = c.tenant.URL()
	c.then = c.arrange(t, c.tenant)
}

// follow does what the page says, and requires what it promises.
func (c *trial) follow(t *testing.T, m manual, fly string) {
	x := c.tenant.For(t)
	c.then(x)
	c.former = x.URL()
	said := run(t, x, fly, m.sections["Before you begin"].commands+m.sections[c.name].commands)
	for _, expected := range append(m.sections["Before you begin"].expected, m.sections[c.name].expected...) {
		require.Regexp(t, pattern(expected), said)
	}
	c.value, c.writes = x.URL(), x.Writes()
	require.Equal(t, c.keeps, c.value == c.former)
	require.NotContains(t, said, c.value)
	platform.RequireRefused(t, c.old)
	platform.RequireAccepted(t, c.value)
	for _, machine := range x.Look().Machines {
		require.Equal(t, c.value, machine.Env["DATABASE_URL"], "Machine %s (%s)", machine.ID, machine.State)
	}
	require.Equal(t, c.completed, x.Rows()["completed"])
	for _, state := range []string{"open", "issued", "committed", "rolled"} {
		require.Zero(t, x.Rows()[state])
	}
}

// requireLeftAlone waits for the operator, which has nothing to do.
func (c *trial) requireLeftAlone(t *testing.T) {
	x := c.tenant.For(t)
	x.WaitReady()
	x.Poke()
	x.WaitReady()
	require.Equal(t, c.value, x.URL(), "the operator rotated once more")
	require.Equal(t, c.writes, x.Writes(), "the operator wrote to Fly")
	require.Equal(t, c.completed, x.Rows()["completed"])
}

// installFly makes a folder with a program fly in it, which is this one.
func installFly(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, filepath.Join(folder, "fly")))
	return folder
}

// run runs commands of the page for a tenant, like a reader who pastes them, and returns the output.
func run(t *testing.T, x tenant, fly, commands string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	commands = regexp.MustCompile(`(?m)^TENANT=\S+`).ReplaceAllString(commands, "TENANT="+x.ID)
	commands = regexp.MustCompile(`(?m)^ADDRESS=\S+`).ReplaceAllString(commands, "ADDRESS=127.0.0.1:"+os.Getenv("PGPORT"))
	command := exec.CommandContext(ctx, "bash", "-c", "set -euo pipefail\n"+commands)
	command.Env = append(os.Environ(), "PATH="+fly+":"+os.Getenv("PATH"), "FLY_CONFIG_DIR="+t.TempDir())
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return string(output)
}

// pattern matches a text in which … stands for anything.
func pattern(text string) *regexp.Regexp {
	return regexp.MustCompile("(?s)" + strings.ReplaceAll(regexp.QuoteMeta(text), "…", ".*"))
}

// manual is docs/runbooks/by-hand.md.
type manual struct{ sections map[string]section }

type section struct {
	commands string
	expected []string
}

func readManual(t *testing.T) manual {
	t.Helper()
	m := manual{map[string]section{}}
	heading := ""
	err := literate.Read(filepath.Join(harness.Repository, "docs", "runbooks", "by-hand.md"), func(line string) {
		if text, is := strings.CutPrefix(line, "## "); is {
			heading = text
		}
	}, func(language, text string) {
		s := m.sections[heading]
		switch language {
		case "sh":
			s.commands += text + "\n"
		case "text":
			s.expected = append(s.expected, text)
		}
		m.sections[heading] = s
	})
	require.NoError(t, err)
	for heading, s := range m.sections {
		_, followed := pages[heading]
		require.Equal(t, heading != "Before you begin", followed, "page %q", heading)
		require.NotEmpty(t, s.expected, "page %q does not say what one should see", heading)
	}
	return m
}
