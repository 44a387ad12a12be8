package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// up starts a supervisor that outlives this process, and shows what it says until it is ready.
func up(ctx context.Context, f files) error {
	if r, err := f.readRecord(); err != nil {
		return err
	} else if r != nil {
		if _, err := os.Stat(f.env()); err == nil && r.Supervisor.alive() {
			fmt.Println("the playground runs already; source", f.env())
			return nil
		}
		if err := down(f); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(f.path("log"), 0o755); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	said, err := os.Create(f.log("playground"))
	if err != nil {
		return err
	}
	defer said.Close()
	supervisor := exec.Command(program, "-dir", f.dir, "serve")
	supervisor.Stdout, supervisor.Stderr = said, said
	supervisor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := supervisor.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- supervisor.Wait() }()
	return f.watch(ctx, ended)
}

// watch repeats the supervisor's lines until one of them says that it is ready.
func (f files) watch(ctx context.Context, ended <-chan error) error {
	said, err := os.Open(f.log("playground"))
	if err != nil {
		return err
	}
	defer said.Close()
	lines := bufio.NewReader(said)
	partial := ""
	for {
		line, err := lines.ReadString('\n')
		partial += line
		if err == nil {
			fmt.Print(partial)
			if strings.HasPrefix(partial, readyLine) {
				return nil
			}
			partial = ""
			continue
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), down(f))
		case <-ended:
			rest, _ := io.ReadAll(lines)
			fmt.Print(partial + string(rest))
			return errors.Join(errors.New("it did not start; the reason is above"), down(f))
		case <-time.After(50 * time.Millisecond): // a file tells nobody that it grew
		}
	}
}

// down ends the supervisor, which ends the rest; after a crash it ends what is left of it, and only that.
func down(f files) error {
	r, err := f.readRecord()
	if err != nil {
		return err
	}
	if r != nil {
		r.Supervisor.end(60 * time.Second)
		for _, child := range r.Children {
			child.end(10 * time.Second)
		}
		for _, folder := range r.Folders {
			if err := os.RemoveAll(folder); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(f.dir)
}

// control asks the supervisor to stop or start a part.
func control(ctx context.Context, f files, command string) error {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", f.socket())
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://playground/"+command, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no playground runs in %s: %w", f.dir, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(text)))
	}
	return nil
}
