package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Copy makes another server of the data of this one, which has to be down. The copy is down as well, has the same superuser, and would
// listen on the same port: it can take the other one's place, as a restored backup does.
func (s *Server) Copy() (*Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return nil, errors.New("the server is up: what would be copied is not whole")
	}
	dir, err := os.MkdirTemp("", "pgserver-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the copy: %w", err)
	}
	made := &Server{LogFile: filepath.Join(dir, "postgres.log"), Port: s.Port, binaries: s.binaries, dir: dir, removeDir: true,
		account: s.account, settings: s.settings, password: s.password}
	if err := os.CopyFS(made.data(), os.DirFS(s.data())); err != nil {
		return nil, fmt.Errorf("copy the data: %w", err)
	}
	return made, made.ownData()
}

// ownData gives the folder and the data to the server's account, with the rights that PostgreSQL insists on.
func (s *Server) ownData() error {
	if err := s.account.own(s.dir); err != nil {
		return err
	}
	return filepath.WalkDir(s.data(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if err := os.Chmod(path, 0o700); err != nil { //nolint:gosec // a folder
				return err
			}
		}
		return s.account.own(path)
	})
}

// Follow makes a server that is down a streaming standby of another one, of which it is a copy, on a port of its own.
func (s *Server) Follow(primary *Server) (err error) {
	if s.Port, err = FreePort(); err != nil {
		return err
	}
	configuration, err := os.OpenFile(filepath.Join(s.data(), "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("configure the standby: %w", err)
	}
	_, err = fmt.Fprintf(configuration, "primary_conninfo = 'host=127.0.0.1 port=%d user=postgres password=%s sslmode=disable'\n", primary.Port, primary.password)
	if err := errors.Join(err, configuration.Close()); err != nil {
		return fmt.Errorf("configure the standby: %w", err)
	}
	signal := filepath.Join(s.data(), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		return fmt.Errorf("configure the standby: %w", err)
	}
	return s.account.own(signal)
}
