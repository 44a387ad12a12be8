package faultmatrix

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// seat is a place for one manager process. It is killed and started again there.
type seat struct {
	lane            *lane
	name            string
	network         *faultproxy.HTTP // to the API server
	kubeconfig, log string
	probes          string
	process         *os.Process // nil = none runs
	ended           chan struct{}
}

// start starts a manager, and returns when it leads, if no other manager does, or else stands by.
func (s *seat) start(t *testing.T) {
	t.Helper()
	s.launch(t)
	within(t, 60*time.Second, "manager "+s.name+" is up", func() bool {
		response, err := http.Get(s.probes)
		if err != nil {
			return false
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK
	})
	within(t, 60*time.Second, "a manager leads", func() bool { return s.lane.holder(t) != "" })
}

func (s *seat) launch(t *testing.T) {
	t.Helper()
	probes, err := pgserver.FreePort()
	require.NoError(t, err)
	s.probes = fmt.Sprintf("http://127.0.0.1:%d/readyz", probes)
	output, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer output.Close()
	program := cmp.Or(os.Getenv("FAULT_MATRIX_MANAGER"), filepath.Join(harness.Repository, "bin", "manager"))
	command := exec.Command(program, "--kubeconfig", s.kubeconfig, "--namespace", operatorNamespace, "--leader-elect",
		"--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", probes), "--metrics-bind-address", "0", "-zap-log-level=debug")
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() { // Linux sends the death signal when the thread that forked ends, as that of a server here does
		runtime.LockOSThread()
		defer close(ended)
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait()
		}
	}()
	require.NoError(t, <-started)
	s.process, s.ended = command.Process, ended
}

// kill ends the manager as a lost node does, and returns when it is gone.
func (s *seat) kill() {
	if s.process != nil {
		_ = s.process.Kill() // it may have ended
		<-s.ended
		s.process = nil
	}
}

// awaitEnd waits until a manager that has lost its lease has ended itself.
func (s *seat) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-s.ended:
		s.process = nil
	case <-time.After(70 * time.Second):
		require.Fail(t, "manager "+s.name+" has lost its lease, and does not end")
	}
}
