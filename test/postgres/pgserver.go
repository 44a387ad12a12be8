// Package pgserver starts a real PostgreSQL server for tests and for the playground. It listens on the loopback interface only
// and ends with the process that started it. It is not made for data that has to last: fsync is off.
package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// startTimeout bounds how long a server may take until it accepts logins.
const startTimeout = 60 * time.Second

// Options say which server to start.
type Options struct {
	// Version is the major version, such as "15" or "18".
	Version string
	// Dir is an empty or missing folder for the data and the log, kept by Stop; "" = a temporary one, which Stop removes.
	Dir string
	// Port is that on 127.0.0.1; 0 = a free one.
	Port int
	// Settings are added to the server's configuration (postgresql.conf).
	Settings map[string]string
	// Files are written into the data directory before the server starts, by name, such as pg_hba.conf.
	Files map[string]string
}

// Server is a running PostgreSQL server.
type Server struct {
	// LogFile is where the server writes its log.
	LogFile string
	// Port is the port on 127.0.0.1.
	Port int

	binaries  string
	dir       string
	removeDir bool
	account   account
	settings  map[string]string
	password  string // the superuser's; in memory only

	mu      sync.Mutex
	process *process // nil while the server is down
}

// Start makes a new cluster and waits until it accepts logins.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{Port: o.Port, dir: o.Dir, settings: o.Settings, account: serverAccount(), password: rand.Text()}
	if err := s.prepare(o.Version); err != nil {
		s.removeTemporary()
		return nil, err
	}
	if err := s.initialise(ctx); err != nil {
		s.removeTemporary()
		return nil, err
	}
	if err := s.place(o.Files); err != nil {
		s.removeTemporary()
		return nil, err
	}
	if err := s.Up(ctx); err != nil {
		s.removeTemporary()
		return nil, err
	}
	return s, nil
}

// prepare finds the binaries, and makes the folder that the server's account owns.
func (s *Server) prepare(version string) error {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "pgserver-")
		if err != nil {
			return fmt.Errorf("make a folder for the server: %w", err)
		}
		s.dir, s.removeDir = dir, true
	} else if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make the server's folder: %w", err)
	}
	if err := s.account.own(s.dir); err != nil {
		return err
	}
	s.LogFile = filepath.Join(s.dir, "postgres.log")
	binaries, err := findBinaries(version)
	if err != nil {
		return err
	}
	s.binaries, err = s.account.reachable(binaries, filepath.Join(s.dir, "program"))
	if err != nil {
		return err
	}
	if s.Port == 0 {
		s.Port, err = FreePort()
	}
	return err
}

// DataDir is the server's data directory.
func (s *Server) DataDir() string { return s.data() }

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// initialise runs initdb. The superuser's password goes through a file, which is removed at once.
func (s *Server) initialise(ctx context.Context) error {
	passwordFile := filepath.Join(s.dir, "initial")
	if err := os.WriteFile(passwordFile, []byte(s.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the initial password: %w", err)
	}
	defer func() { _ = os.Remove(passwordFile) }()
	if err := s.account.own(passwordFile); err != nil {
		return err
	}
	command := s.account.command(ctx, filepath.Join(s.binaries, "initdb"),
		"--pgdata="+s.data(), "--username=postgres", "--auth=scram-sha-256", "--pwfile="+passwordFile,
		"--encoding=UTF8", "--no-locale", "--no-sync")
	command.Dir = s.dir
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, output)
	}
	return os.Remove(passwordFile)
}

// place writes files of the caller's into the data directory.
func (s *Server) place(files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(s.data(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return fmt.Errorf("write the server's %s: %w", name, err)
		}
		if err := s.account.own(path); err != nil {
			return err
		}
	}
	return nil
}

// Up starts a server that Down stopped, on the same port and data.
func (s *Server) Up(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return errors.New("the server is up already")
	}
	p, err := startProcess(s.account, s.LogFile, filepath.Join(s.binaries, "postgres"), s.arguments())
	if err != nil {
		return err
	}
	if err := s.waitUntilReady(ctx, p); err != nil {
		p.stop(endPostgres)
		return err
	}
	s.process = p
	return nil
}

func (s *Server) arguments() []string {
	settings := map[string]string{
		"listen_addresses": "127.0.0.1", "port": strconv.Itoa(s.Port), "unix_socket_directories": "",
		"fsync": "off", "full_page_writes": "off", "password_encryption": "scram-sha-256",
	}
	for name, value := range s.settings {
		settings[name] = value
	}
	arguments := []string{"-D", s.data()}
	for name, value := range settings {
		arguments = append(arguments, "--"+name+"="+value)
	}
	slices.Sort(arguments[2:])
	return arguments
}

// waitUntilReady dials until the server answers a login, ends, or the time is up.
func (s *Server) waitUntilReady(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		connection, err := pgconn.Connect(ctx, s.SuperuserURL())
		if err == nil {
			return connection.Close(ctx)
		}
		select {
		case <-p.ended:
			return fmt.Errorf("the server ended while starting; its log says: %s", s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("the server did not get ready; its log says: %s", s.logTail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *Server) logTail() string {
	content, err := os.ReadFile(s.LogFile)
	if err != nil {
		return err.Error()
	}
	const most = 2000
	return strings.TrimSpace(string(content[max(0, len(content)-most):]))
}

// Down stops the server as an administrator would (sessions are ended) and keeps its data.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.stop(endPostgres)
		s.process = nil
	}
}

// Crash ends the server as a crash does: nothing is finished or written any more, and the next Up recovers.
func (s *Server) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.stop(crashPostgres)
		s.process = nil
	}
}

// Stop ends the server. A temporary folder is removed, one that was given is kept.
func (s *Server) Stop() {
	s.Down()
	s.removeTemporary()
}

func (s *Server) removeTemporary() {
	if s.removeDir {
		_ = os.RemoveAll(s.dir)
	}
}

// URL is that of a login without TLS, which this server does not offer.
func (s *Server) URL(user, password, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SuperuserURL is that of the superuser, in the database postgres.
func (s *Server) SuperuserURL() string { return s.URL("postgres", s.password, "postgres") }

// FreePort returns a port on 127.0.0.1 that nothing listens on, below those that the system gives to outgoing connections: one of those
// could be taken between now and the server's start, or while the server is down for a moment.
func FreePort() (int, error) {
	const lowest, count, tries = 20000, 12000, 50
	for range tries {
		port := lowest + mathrand.IntN(count)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("find a free port: none was free in many tries")
}
