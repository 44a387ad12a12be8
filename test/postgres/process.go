package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// unprivileged is the account that the server runs as where the system has no user postgres.
const unprivileged = 65534

// account is the one that the server runs as. The zero account is the caller's own.
type account struct{ uid, gid uint32 }

// serverAccount returns the caller, or, as PostgreSQL refuses to run as root, the system's user postgres.
func serverAccount() account {
	if os.Getuid() != 0 {
		return account{}
	}
	if u, err := user.Lookup("postgres"); err == nil {
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return account{uid: uint32(uid), gid: uint32(gid)}
		}
	}
	return account{uid: unprivileged, gid: unprivileged}
}

func (a account) attributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{}
	if a.uid != 0 {
		attributes.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attributes
}

func (a account) command(ctx context.Context, name string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, name, arguments...) //nolint:gosec // the program that the caller chose
	command.SysProcAttr = a.attributes()
	command.Dir = "/"
	return command
}

// own gives a path to the account.
func (a account) own(path string) error {
	if a.uid == 0 {
		return nil
	}
	if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("give the server its files: %w", err)
	}
	return nil
}

// reachable returns binaries, or where the account cannot run them (a checkout under /root), a copy at target.
func (a account) reachable(binaries, target string) (string, error) {
	err := a.command(context.Background(), filepath.Join(binaries, "postgres"), "--version").Run()
	if err == nil {
		return binaries, nil
	}
	if !errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("run %s: %w", filepath.Join(binaries, "postgres"), err)
	}
	if err := os.CopyFS(target, os.DirFS(filepath.Dir(binaries))); err != nil {
		return "", fmt.Errorf("copy the server's binaries: %w", err)
	}
	return filepath.Join(target, "bin"), nil
}

// findBinaries looks for initdb and postgres: in POSTGRES_<VERSION>_BIN, where Debian installs them, and where fetch.sh puts them.
func findBinaries(version string) (string, error) {
	candidates := []string{os.Getenv("POSTGRES_" + version + "_BIN"), filepath.Join("/usr/lib/postgresql", version, "bin")}
	if root, ok := repository(); ok {
		candidates = append(candidates, filepath.Join(root, "bin", "postgres-"+version, "bin"))
	}
	for _, candidate := range candidates {
		if candidate == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(candidate, "postgres")); err == nil {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("PostgreSQL %s is not installed: run test/postgres/fetch.sh %s, or set POSTGRES_%s_BIN", version, version, version)
}

// repository is the nearest folder upwards that has test/postgres in it.
func repository() (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "test", "postgres", "fetch.sh")); err == nil {
			return dir, true
		}
		if filepath.Dir(dir) == dir {
			return "", false
		}
		dir = filepath.Dir(dir)
	}
}

// process is a running postgres.
type process struct {
	command *exec.Cmd
	ended   chan struct{} // closed when it has ended
}

// startProcess starts postgres so that it ends with us. Linux sends the death signal when the thread that forked ends, and Go
// ends idle threads: therefore the thread is kept until the process has ended.
func startProcess(a account, logFile, name string, arguments []string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	p := &process{command: a.command(context.Background(), name, arguments...), ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr.Setpgid = true // Ctrl-C is for the program, which then stops the server
	endWithUs(p.command.SysProcAttr)
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer close(p.ended)
		err := p.command.Start()
		_ = log.Close() // postgres has its own descriptor
		started <- err
		if err == nil {
			_ = p.command.Wait() // how it ended stands in its log
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return p, nil
}

// A signal that ends a program without waiting for its clients: PostgreSQL's fast shutdown and its immediate one, and PgBouncer's immediate one.
const (
	endPostgres   = syscall.SIGINT
	crashPostgres = syscall.SIGQUIT
	endPooler     = syscall.SIGTERM
)

func (p *process) stop(signal syscall.Signal) {
	_ = p.command.Process.Signal(signal) // fails only where it has ended
	<-p.ended
}
