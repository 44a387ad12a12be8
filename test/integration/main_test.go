// Package integration drives the whole system as its users do: kubectl against a real kube-apiserver, real PostgreSQL, the Fly
// emulator through the operator's own fly-go, and the manager as a process with its own least-privileged rights. Nothing of the
// operator is called from here.
package integration

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository is the checkout; its bin/ holds what make built.
var repository = func() string {
	path, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return path
}()

// TestMain runs the tests on a playground of their own, and has the independent checker look at everything when they are done.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		if err := startPlayground(); err != nil {
			fmt.Fprintln(os.Stderr, "integration:", err)
			return 1
		}
		code := m.Run()
		if code == 0 {
			if output, err := exec.Command("checker").CombinedOutput(); err != nil { // found through PATH, which env sets
				fmt.Fprintf(os.Stderr, "after all tests the checker says: %v\n%s", err, output)
				code = 1
			}
		}
		if code != 0 {
			keepLogs()
		}
		if err := playground("down").Run(); err != nil {
			fmt.Fprintln(os.Stderr, "integration: playground down:", err)
			code = 1
		}
		return code
	}())
}

// folder is this run's own, so that two runs do not meet.
var folder = filepath.Join(repository, "bin", fmt.Sprintf("test-playground-%d", os.Getpid()))

func playground(arguments ...string) *exec.Cmd { return playgroundIn(folder, arguments...) }

func playgroundIn(folder string, arguments ...string) *exec.Cmd {
	return exec.Command(filepath.Join(repository, "bin", "playground-ctl"), append([]string{"-dir", folder}, arguments...)...)
}

// endOrphans ends what a killed run has left.
func endOrphans() error {
	folders, err := filepath.Glob(filepath.Join(repository, "bin", "test-playground-[0-9]*"))
	for _, left := range folders {
		pid := left[strings.LastIndex(left, "-")+1:]
		if _, running := os.Stat("/proc/" + pid); running != nil {
			err = errors.Join(err, playgroundIn(left, "down").Run())
		}
	}
	return err
}

// startPlayground takes the addresses over into this process's environment.
func startPlayground() error {
	if err := endOrphans(); err != nil {
		return fmt.Errorf("end what a former run left: %w", err)
	}
	if output, err := playground("up").CombinedOutput(); err != nil {
		return fmt.Errorf("playground up (run make test, which builds what it needs): %w\n%s", err, output)
	}
	return source(filepath.Join(folder, "env"))
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
	return os.Setenv("PATH", filepath.Join(repository, "bin", "k8s")+":"+os.Getenv("PATH"))
}

// keepLogs leaves the logs of a failed run beside the playground's folder, which is removed.
func keepLogs() {
	kept := filepath.Join(repository, "bin", "test-logs")
	_ = os.RemoveAll(kept)
	if err := os.CopyFS(kept, os.DirFS(os.Getenv("PLAYGROUND_LOG_DIR"))); err == nil {
		fmt.Fprintln(os.Stderr, "the logs of this run are in", kept)
	}
}
