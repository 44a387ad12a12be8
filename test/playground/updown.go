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
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// up starts a supervisor that outlives this process, and shows what it says until it is ready. One that runs already is kept.
func up(ctx context.Context, f files, quiet bool) error {
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	runs, err := f.runsAlready(ctx)
	if err != nil {
		return err
	}
	if runs {
		fmt.Println("the playground runs already: .", f.env())
		return nil
	}
	if err := down(f); err != nil {
		return err
	}
	ended, err := f.startSupervisor(quiet)
	if err != nil {
		return err
	}
	return f.watch(ctx, ended)
}

// lock has a second up wait for the first. The folder above is locked, as this one comes and goes; no file is left behind.
func (f files) lock() (unlock func(), err error) {
	above := filepath.Dir(f.dir)
	if err := os.MkdirAll(above, 0o755); err != nil {
		return nil, err
	}
	folder, err := os.Open(above)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return func() { _ = folder.Close() }, nil
}

// runsAlready finds out whether a whole playground runs here, and has its supervisor start the parts of it that have ended.
func (f files) runsAlready(ctx context.Context) (bool, error) {
	r, err := f.readRecord()
	if err != nil || r == nil || !r.Supervisor.alive() {
		return false, err
	}
	if err := control(ctx, f, mendCommand); err != nil {
		fmt.Println("the playground that runs is not whole, and starts anew:", err)
		return false, ctx.Err()
	}
	return true, nil
}

// startSupervisor starts a process that outlives this one. The channel tells when it has ended.
func (f files) startSupervisor(quiet bool) (<-chan error, error) {
	if err := os.MkdirAll(f.path("log"), 0o755); err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	said, err := os.Create(f.log("playground"))
	if err != nil {
		return nil, err
	}
	defer said.Close()
	supervisor := exec.Command(program, "-dir", f.dir, fmt.Sprintf("-quiet=%v", quiet), "serve")
	supervisor.Stdout, supervisor.Stderr = said, said
	supervisor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := supervisor.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- supervisor.Wait() }()
	return ended, nil
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
		case reason := <-ended:
			rest, _ := io.ReadAll(lines)
			kept := f.dir + "-log"
			fmt.Print(strings.ReplaceAll(partial+string(rest), f.path("log"), kept))
			return errors.Join(errors.New("it did not start; the reason is above"), reason, os.RemoveAll(kept), os.Rename(f.path("log"), kept), down(f))
		case <-time.After(50 * time.Millisecond): // a file sends no event when it grows
		}
	}
}

// down ends the supervisor, which ends the rest; after a crash it ends what is left of it, and only that.
func down(f files) error {
	r, err := f.readRecord()
	if err != nil || r == nil {
		return err
	}
	end([]process{r.Supervisor}, 60*time.Second)
	end(r.left(), 10*time.Second)
	if err := os.RemoveAll(r.Folder); err != nil {
		return err
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
