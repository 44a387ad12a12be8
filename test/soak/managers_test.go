package soak

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// managers runs the operator as a Deployment would: it restarts a manager that ends. There is one that asks for the lease, and now and then a
// second one that does not.
type managers struct {
	system  *system
	program string // a copy of its own, which no build replaces meanwhile
	mark    string // in the environment of everything that the playground's end has to end

	mu      sync.Mutex
	first   *exec.Cmd
	stopped bool
	starts  int
	exits   int // by themselves: a lease that was lost
	ended   chan struct{}
}

// newManagers takes the place of the playground's own manager. SOAK_MANAGER names another program than the one that make built.
func newManagers(t *testing.T, s *system) *managers {
	t.Helper()
	output, err := harness.Playground("manager-down").CombinedOutput()
	require.NoError(t, err, string(output))
	var record struct{ Mark string }
	content, err := os.ReadFile(os.Getenv("PLAYGROUND_DIR") + "/processes.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &record))
	from := os.Getenv("SOAK_MANAGER")
	if from == "" {
		from = filepath.Join(harness.Repository, "bin", "manager")
	}
	m := &managers{system: s, program: filepath.Join(os.Getenv("PLAYGROUND_DIR"), "soak-manager"), mark: record.Mark, ended: make(chan struct{})}
	require.NoError(t, copyProgram(from, m.program))
	go m.keepRunning()
	t.Cleanup(m.stopRestarting)
	return m
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// stopRestarting leaves the manager that runs to the playground's end: the checker still reads its metrics.
func (m *managers) stopRestarting() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
}

// keepRunning starts the first manager again whenever it has ended.
func (m *managers) keepRunning() {
	metrics, err := url.Parse(os.Getenv("PLAYGROUND_METRICS_URL"))
	if err != nil {
		panic(err)
	}
	for {
		m.mu.Lock()
		if m.stopped {
			m.mu.Unlock()
			return
		}
		command := m.command("manager-soak", "--leader-elect", "--metrics-bind-address", metrics.Host)
		if err := command.Start(); err != nil {
			panic(err)
		}
		m.first = command
		m.starts++
		m.mu.Unlock()
		if err := command.Wait(); err != nil && !killed(err) {
			m.mu.Lock()
			m.exits++
			m.mu.Unlock()
			time.Sleep(500 * time.Millisecond) // as a kubelet, which does not start it in a tight loop
		}
		m.mu.Lock()
		close(m.ended)
		m.first, m.ended = nil, make(chan struct{})
		m.mu.Unlock()
	}
}

func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, is := exit.Sys().(syscall.WaitStatus)
	return is && status.Signaled()
}

func (m *managers) command(log string, arguments ...string) *exec.Cmd {
	directory := os.Getenv("PLAYGROUND_DIR")
	arguments = append([]string{"--kubeconfig", directory + "/manager.kubeconfig", "--namespace", "tcred-system", "--health-probe-bind-address", "127.0.0.1:0",
		"-zap-log-level=2"}, arguments...) // debug; and from 2 on no line is left out where many are the same
	command := exec.Command(m.program, arguments...)
	command.Env = append(os.Environ(), "TCRED_PLAYGROUND="+m.mark)
	output, err := os.OpenFile(filepath.Join(os.Getenv("PLAYGROUND_LOG_DIR"), log+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return command
}

// exitError leaves out that a manager ended with an error: where the API server is away, or the lease is lost, it has to.
func exitError(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// signal sends one to the first manager, if one runs, and returns what closes when it has ended.
func (m *managers) signal(s syscall.Signal) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	_ = m.first.Process.Signal(s) // fails only where it has ended
	return m.ended
}

// kill ends it at once. Its lease is left behind, and lasts for 15 seconds, unless it is removed: a process that is dead has no use for it.
func (m *managers) kill(ctx context.Context, removeLease bool) error {
	<-m.signal(syscall.SIGKILL)
	if !removeLease {
		return nil
	}
	lease := &coordinationv1.Lease{}
	lease.Namespace, lease.Name = "tcred-system", "tenant-credential-operator"
	return client.IgnoreNotFound(m.system.client.Delete(ctx, lease))
}

// terminate ends it as the end of its pod does.
func (m *managers) terminate() { <-m.signal(syscall.SIGTERM) }

// freeze stops it, as a machine that stalls does, and lets it go on.
func (m *managers) freeze(lasts time.Duration) {
	m.signal(syscall.SIGSTOP)
	time.Sleep(lasts) // this is the fault
	m.signal(syscall.SIGCONT)
}

// second runs another manager at the same time, which does not ask for the lease.
func (m *managers) second(lasts time.Duration, end syscall.Signal) error {
	command := m.command("manager-second", "--metrics-bind-address", "0")
	if err := command.Start(); err != nil {
		return err
	}
	m.mu.Lock()
	m.starts++
	m.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err := <-ended: // the API server was away
		return exitError(err)
	case <-time.After(lasts): // this is the fault
	}
	_ = command.Process.Signal(end) // fails only where it has ended
	return exitError(<-ended)
}
