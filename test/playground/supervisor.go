package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/tenant-credential-operator/test/issuer"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// readyLine is how the supervisor's last line of starting begins.
const readyLine = "ready"

// supervisor holds everything that runs. It is a process of its own, so that `up` can return.
type supervisor struct {
	files     files
	quiet     bool
	began     time.Time
	cluster   *cluster
	databases map[string]*database
	fly       *flySide
	authority pgserver.Authority
	issuer    *issuer.Issuer
	manager   *exec.Cmd
	gateway   *exec.Cmd
	ports     ports

	mu     sync.Mutex // guards record, manager and gateway
	record record
}

// ports are the manager's and the gateway's.
type ports struct{ probes, metrics, gateway, gatewayProbes, gatewayMetrics int }

// serve starts everything, waits until it is told to stop, and stops everything.
func serve(ctx context.Context, f files, quiet bool) error {
	signal.Ignore(syscall.SIGHUP)
	s := &supervisor{files: f, quiet: quiet, began: time.Now(), databases: map[string]*database{}, record: newRecord()}
	if err := f.writeRecord(s.record); err != nil {
		return err
	}
	for name, value := range map[string]string{markVariable: s.record.Mark, "KUBECACHEDIR": f.kubectlCache()} {
		if err := os.Setenv(name, value); err != nil { // for every process that is started from here
			return err
		}
	}
	defer s.stop()
	if err := s.startAll(ctx); err != nil {
		return err
	}
	listener, err := net.Listen("unix", f.socket())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.controls(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	fmt.Printf("%s in %.1f s: . %s\n", readyLine, time.Since(s.began).Seconds(), f.env())
	<-ctx.Done()
	return server.Close()
}

// say prints that a part runs, and after how long.
func (s *supervisor) say(part string) {
	fmt.Printf("  %5.1f s  %s\n", time.Since(s.began).Seconds(), part)
}

// startAll starts what does not depend on each other side by side.
func (s *supervisor) startAll(ctx context.Context) error {
	var err error
	if s.authority, err = pgserver.NewAuthority(); err != nil {
		return err
	}
	s.issuer = issuer.New()
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if s.cluster, err = startCluster(s.files, s.quiet); err != nil {
			return err
		}
		if err := s.cluster.install(groupCtx); err != nil {
			return err
		}
		s.say("kube-apiserver and etcd, CRDs, RBAC, admission policy")
		return nil
	})
	for _, environment := range environments {
		group.Go(func() error { return s.addDatabase(groupCtx, environment) })
	}
	group.Go(func() (err error) {
		if s.fly, err = s.startFly(groupCtx); err == nil {
			s.say("Fly emulator")
		}
		return err
	})
	err = group.Wait()
	if err := errors.Join(err, s.note()); err != nil {
		return err
	}
	for _, environment := range environments {
		d := s.databases[environment]
		if err := s.fly.provision(ctx, d); err != nil {
			return err
		}
		if err := s.installEnvironment(ctx, d); err != nil {
			return err
		}
	}
	s.say("tenants, their apps and Machines, the ledger, Secrets, environments")
	if err := s.startManager(ctx); err != nil {
		return err
	}
	if err := s.cluster.run(ctx, nil, "wait", "tenv", "--all", "--for=condition=Ready", "--timeout=60s"); err != nil {
		return err
	}
	s.say("the manager, with its own service account and database login")
	if err := s.startGateway(ctx); err != nil {
		return err
	}
	s.say("the gateway, and an issuer of tokens")
	return s.writeEnv(ctx)
}

func (s *supervisor) addDatabase(ctx context.Context, environment string) error {
	folder, err := s.record.databaseFolder(environment)
	if err != nil {
		return err
	}
	d, err := startDatabase(ctx, environment, folder, s.settings(), s.authority)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.databases[environment] = d
	s.mu.Unlock()
	s.say("PostgreSQL for " + environment)
	return nil
}

// note writes down which processes there are, so that down can end them after a crash of this one.
func (s *supervisor) note() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.Children = children()
	return s.files.writeRecord(s.record)
}

// start runs one of the project's programs, which stop ends, in a folder; "" = where this one runs.
func (s *supervisor) start(name, log, folder string, environment []string, arguments ...string) (*exec.Cmd, error) {
	path, err := program(name)
	if err != nil {
		return nil, err
	}
	if log == "" {
		log = name
	}
	output, err := os.OpenFile(s.files.log(log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	command := exec.Command(path, arguments...)
	command.Dir = folder
	command.Stdout, command.Stderr = output, output
	command.Env = append(os.Environ(), environment...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return command, command.Start()
}

// startManager runs the manager as its Deployment would: with its service account's rights alone. It logs and, in a crash, dumps everything
// that it can, and has a folder of its own for files that it might leave behind.
func (s *supervisor) startManager(ctx context.Context) error {
	kubeconfig, err := s.cluster.accountKubeconfig(ctx, operatorAccount, "manager")
	if err != nil {
		return err
	}
	if s.ports.probes == 0 {
		if s.ports.probes, err = pgserver.FreePort(); err != nil {
			return err
		}
		if s.ports.metrics, err = pgserver.FreePort(); err != nil {
			return err
		}
	}
	folder := s.files.managerFolder()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	command, err := s.start("manager", "manager", folder, []string{"GOTRACEBACK=crash", "TMPDIR=" + folder}, "--kubeconfig", kubeconfig, "--namespace", operatorNamespace, "--leader-elect",
		"--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", s.ports.probes),
		"--metrics-bind-address", fmt.Sprintf("127.0.0.1:%d", s.ports.metrics), "-zap-log-level="+s.logLevel())
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.manager = command
	s.mu.Unlock()
	if err := s.note(); err != nil {
		return err
	}
	if err := poll(ctx, 60*time.Second, func() error { return s.managerReady(ctx) }); err != nil {
		return fmt.Errorf("the manager is not ready; see %s: %w", s.files.log("manager"), err)
	}
	return nil
}

// logLevel is that of the programs: everything, or what they log of themselves.
func (s *supervisor) logLevel() string {
	if s.quiet {
		return "info"
	}
	return "10"
}

func (s *supervisor) managerReady(ctx context.Context) error {
	return answers(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", s.ports.probes))
}

func (s *supervisor) stopManager() {
	s.mu.Lock()
	command := s.manager
	s.manager = nil
	s.mu.Unlock()
	if command != nil {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
	}
}

// stop ends everything in the order in which it depends on each other.
func (s *supervisor) stop() {
	s.stopGateway()
	s.stopManager()
	if s.cluster != nil {
		_ = s.cluster.plane.Stop()
	}
	for _, d := range s.databases {
		d.server.Stop()
	}
	end(children(), 10*time.Second)
}

// answers asks an address whether it is served.
func answers(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}

// poll asks again until it works or the time is up.
func poll(ctx context.Context, patience time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
