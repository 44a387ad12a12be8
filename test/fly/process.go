package flyemulator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// counters are what a tenant app counts: its logins to PostgreSQL.
type counters struct {
	Logins    int64  `json:"logins"`
	Failures  int64  `json:"failures"`
	LastError string `json:"last_error"` // a SQLSTATE or a short class; empty: none failed yet
}

func (c *counters) add(more counters) {
	c.Logins += more.Logins
	c.Failures += more.Failures
	if more.LastError != "" {
		c.LastError = more.LastError
	}
}

// process is a tenant app that runs for a Machine.
type process struct {
	cmd      *exec.Cmd
	address  atomic.Pointer[string] // http://127.0.0.1:port, once the app has said so
	healthy  atomic.Bool
	resting  atomic.Bool
	exited   chan struct{} // closed when the process is gone
	exitCode int           // valid once exited is closed
	final    *counters     // what it said when it ended; valid once exited is closed, nil = it said nothing
}

// startProcess runs a tenant app with exactly this environment.
func startProcess(path, variable string, env map[string]string) (*process, error) {
	cmd := exec.Command(path, "-variable", variable, "-with-parent")
	cmd.Env = environ(env)
	endWithParent(cmd)
	if _, err := cmd.StdinPipe(); err != nil { // the app ends when this pipe does
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go p.reap(stdout)
	return p, nil
}

// reap learns the app's address from its first line, what it has counted from its last one, and its exit.
func (p *process) reap(stdout io.Reader) {
	lines := json.NewDecoder(stdout)
	var hello struct {
		Port int `json:"port"`
	}
	if lines.Decode(&hello) == nil {
		address := fmt.Sprintf("http://127.0.0.1:%d", hello.Port)
		p.address.Store(&address)
		if p.resting.Load() {
			p.rest()
		}
		var last counters
		if lines.Decode(&last) == nil {
			p.final = &last
		}
	}
	_, _ = io.Copy(io.Discard, stdout) // until the app closes its output: Wait must not come before
	_ = p.cmd.Wait()                   // the exit status tells
	p.exitCode = p.cmd.ProcessState.ExitCode()
	close(p.exited)
}

// end stops the app and reports its counts: those that it prints at its end or, if it has to be killed, shortly before.
func (p *process) end() counters {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	last, _ := p.count(ctx) // an app that does not answer has counted nothing that could be known
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(2 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	if p.final != nil {
		return *p.final
	}
	return last
}

// rest asks the app to log in no more, as soon as it has said where it listens: before that it would die of the signal.
func (p *process) rest() {
	p.resting.Store(true)
	if p.address.Load() != nil {
		_ = p.cmd.Process.Signal(syscall.SIGUSR1) // one that has ended rests
	}
}

// count asks the app for its counters.
func (p *process) count(ctx context.Context) (counters, error) {
	var c counters
	response, err := p.get(ctx, "/status")
	if err != nil {
		return c, err
	}
	defer func() { _ = response.Body.Close() }()
	return c, json.NewDecoder(response.Body).Decode(&c)
}

// probe asks the app whether it is healthy.
func (p *process) probe(ctx context.Context) bool {
	response, err := p.get(ctx, "/health")
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}

func (p *process) get(ctx context.Context, path string) (*http.Response, error) {
	address := p.address.Load()
	if address == nil {
		return nil, fmt.Errorf("the app has not said where it listens")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, *address+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(request)
}
