// Package harness gives a test package a playground of its own, and kubectl on it.
package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/jsonhttp"
)

// Repository is the checkout; its bin/ holds what make built.
var Repository = func() string {
	path, err := filepath.Abs(".")
	if err != nil {
		panic(err)
	}
	for ; path != "/"; path = filepath.Dir(path) {
		if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
			return path
		}
	}
	panic("no go.mod above the test's package")
}()

// Run runs a package's tests on a playground of their own, has the independent checker look at everything when they are done, and
// returns the exit code.
func Run(m *testing.M) int { return run(m, judge) }

// RunUnjudged is Run for tests that call the checker themselves, and leave something behind that it complains of.
func RunUnjudged(m *testing.M) int { return run(m, func() error { return nil }) }

// judge calls the checker, which is found through PATH: env sets it. A manager that the last test has restarted has a minute to look at
// everything; a finding that lasts longer, or leaves a trace, counts.
func judge() error {
	const patience = time.Minute
	for begun := time.Now(); ; time.Sleep(time.Second) {
		output, err := exec.Command("checker").CombinedOutput()
		if err == nil {
			return nil
		}
		if time.Since(begun) > patience {
			return fmt.Errorf("after all tests the checker says: %w\n%s", err, output)
		}
	}
}

func run(m *testing.M, judge func() error) int {
	if err := startPlayground(); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := judge(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if code != 0 {
		keepLogs()
	}
	if err := Playground("down").Run(); err != nil {
		fmt.Fprintln(os.Stderr, "harness: playground down:", err)
		code = 1
	}
	return code
}

// folder is this run's own, so that two runs do not meet.
var folder = filepath.Join(Repository, "bin", fmt.Sprintf("test-playground-%d", os.Getpid()))

// Playground is a command of the playground, such as postgres-down sandbox.
func Playground(arguments ...string) *exec.Cmd { return playgroundIn(folder, arguments...) }

func playgroundIn(folder string, arguments ...string) *exec.Cmd {
	return exec.Command(filepath.Join(Repository, "bin", "playground-ctl"), append([]string{"-dir", folder}, arguments...)...)
}

// endOrphans ends what a killed run has left.
func endOrphans() error {
	folders, err := filepath.Glob(filepath.Join(Repository, "bin", "test-playground-[0-9]*"))
	for _, left := range folders {
		pid := left[strings.LastIndex(left, "-")+1:]
		if _, running := os.Stat("/proc/" + pid); running != nil {
			err = errors.Join(err, playgroundIn(left, "down").Run())
		}
	}
	return err
}

// startPlayground takes the addresses over into this process's environment, and has the playground's own tenants rest.
func startPlayground() error {
	if err := endOrphans(); err != nil {
		return fmt.Errorf("end what a previous run left: %w", err)
	}
	if output, err := Playground("up").CombinedOutput(); err != nil {
		return fmt.Errorf("playground up (run make test, which builds what it needs): %w\n%s", err, output)
	}
	if err := source(filepath.Join(folder, "env")); err != nil {
		return err
	}
	return restAll()
}

// Quiet starts a playground that logs little and writes to the disk, of the programs in a folder, and ends it with t. It takes the addresses over
// into this process's environment, and has the playground's own tenants rest.
func Quiet(t *testing.T, programs string) {
	t.Helper()
	require.NoError(t, endOrphans())
	output, err := exec.Command(filepath.Join(programs, "playground-ctl"), "-dir", folder, "-quiet", "up").CombinedOutput()
	require.NoError(t, err, "playground up: %s", output)
	t.Cleanup(func() { require.NoError(t, Playground("down").Run()) })
	require.NoError(t, source(filepath.Join(folder, "env")))
	require.NoError(t, restAll())
}

// restAll has the Machines of every app rest.
func restAll() error {
	var apps []string
	if err := jsonhttp.Call(context.Background(), http.MethodGet, os.Getenv("FLY_EMULATOR_ADMIN_URL")+"/admin/apps", "", nil, &apps); err != nil {
		return fmt.Errorf("list the playground's apps: %w", err)
	}
	for _, app := range apps {
		if err := Rest(app); err != nil {
			return fmt.Errorf("have app %s rest: %w", app, err)
		}
	}
	return nil
}

// Rest has the Machines of a Fly app that run now log in no more: each does so every second, which costs PostgreSQL a process.
func Rest(app string) error {
	return jsonhttp.Call(context.Background(), http.MethodPost, os.Getenv("FLY_EMULATOR_ADMIN_URL")+"/admin/apps/"+app+"/rest", "", nil, nil)
}

// source reads lines such as export NAME='value'.
func source(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		value = strings.ReplaceAll(value, `"$PATH"`, os.Getenv("PATH"))
		if err := os.Setenv(name, strings.ReplaceAll(value, "'", "")); err != nil {
			return err
		}
	}
	return os.Setenv("PATH", filepath.Join(Repository, "bin", "k8s")+":"+os.Getenv("PATH"))
}

// Short says that tests of a minute or more are left out, as make test does. It is no -short: that makes rapid's random sequences shorter, too.
func Short() bool { return os.Getenv("SHORT_TESTS") != "" }

// Long skips a test that takes a minute or more where such tests are left out.
func Long(t testing.TB) {
	t.Helper()
	if Short() {
		t.Skip("long: make test-long runs it")
	}
}

// keepLogs leaves the logs of a failed run beside the playground's folder, which is removed.
func keepLogs() {
	kept := filepath.Join(Repository, "bin", "test-logs", filepath.Base(os.Args[0]))
	_ = os.RemoveAll(kept)
	if err := os.CopyFS(kept, os.DirFS(os.Getenv("PLAYGROUND_LOG_DIR"))); err == nil {
		fmt.Fprintln(os.Stderr, "the logs of this run are in", kept)
	}
}

// Try runs kubectl with a manifest as its standard input, and returns everything that it says.
func Try(manifest string, arguments ...string) (string, error) {
	command := exec.Command("kubectl", arguments...)
	command.Stdin = strings.NewReader(manifest)
	output, err := command.CombinedOutput()
	return string(output), err
}

// Kubectl is Try where it must succeed.
func Kubectl(t *testing.T, manifest string, arguments ...string) string {
	t.Helper()
	output, err := Try(manifest, arguments...)
	require.NoError(t, err, "kubectl %s: %s", strings.Join(arguments, " "), output)
	return output
}
