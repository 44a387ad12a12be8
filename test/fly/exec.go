package flyemulator

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/google/shlex"
)

// execMachine runs a command as the Machine would: on this computer, but with nothing but the Machine's environment.
func (e *Emulator) execMachine(c *call) (answer, error) {
	var in struct {
		Cmd     string `json:"cmd"`
		Stdin   string `json:"stdin"`
		Timeout int    `json:"timeout"` // seconds
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	argv, err := shlex.Split(in.Cmd)
	if err != nil || len(argv) == 0 {
		return answer{}, fail(http.StatusBadRequest, "invalid_argument: cmd is not a command line")
	}
	env, err := e.execEnv(c)
	if err != nil {
		return answer{}, err
	}
	if in.Timeout <= 0 || in.Timeout > 60 {
		in.Timeout = 60
	}
	ctx, cancel := context.WithTimeout(c.Context(), time.Duration(in.Timeout)*time.Second)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	return run(ctx, argv, env, in.Stdin)
}

// execEnv checks that the Machine can run a command at all, and gives the environment to run it in.
func (e *Emulator) execEnv(c *call) (map[string]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := c.machine
	if err := e.checkLease(c); err != nil {
		return nil, err
	}
	if m.state != stateStarted {
		return nil, fail(http.StatusPreconditionFailed, "failed_precondition: unable to exec on machine in state '%s'", m.state)
	}
	if !e.switches.ExecInheritsEnv {
		return m.platformEnv(c.app), nil
	}
	return m.env, nil
}

func run(ctx context.Context, argv []string, env map[string]string, stdin string) (answer, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = environ(env)
	if _, set := env["PATH"]; !set {
		cmd.Env = append(cmd.Env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = "/", strings.NewReader(stdin), &stdout, &stderr
	cmd.WaitDelay = time.Second
	endWithParent(cmd)
	err := cmd.Run()
	if ctx.Err() != nil {
		return answer{}, fail(http.StatusRequestTimeout, "deadline_exceeded: the command did not end in time")
	}
	code, signal := 0, 0
	if exit, isExit := errors.AsType[*exec.ExitError](err); isExit {
		code = exit.ExitCode()
		if status, isUnix := exit.Sys().(syscall.WaitStatus); isUnix && status.Signaled() {
			signal = int(status.Signal())
		}
	} else if err != nil { // it could not be started
		code = 127
		stderr.WriteString("no such command\n")
	}
	return ok(map[string]any{"exit_code": code, "exit_signal": signal, "stdout": stdout.String(), "stderr": stderr.String()})
}

func environ(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}
