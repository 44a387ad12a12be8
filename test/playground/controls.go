package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// mendCommand is what up asks of a supervisor that runs already.
const mendCommand = "mend"

// controls lets a test, or a person, stop and start a part.
func (s *supervisor) controls() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, do func(*http.Request) error) {
		mux.HandleFunc("POST "+pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	onDatabase := func(do func(*database) error) func(*http.Request) error {
		return func(r *http.Request) error {
			d := s.databases[r.PathValue("environment")]
			if d == nil {
				return fmt.Errorf("there is no environment %q: write sandbox or prod", r.PathValue("environment"))
			}
			return errors.Join(do(d), s.note())
		}
	}
	handle("/postgres-down/{environment}", onDatabase(func(d *database) error { d.server.Down(); return nil }))
	handle("/postgres-up/{environment}", onDatabase(func(d *database) error { return d.server.Up(context.Background()) }))
	handle("/cluster-down", func(*http.Request) error { return errors.Join(s.cluster.down(), s.note()) })
	handle("/cluster-up", func(*http.Request) error { return errors.Join(s.cluster.up(), s.note()) })
	handle("/apiserver-kill", func(*http.Request) error { return errors.Join(s.cluster.killServer(), s.note()) })
	handle("/manager-down", func(*http.Request) error { s.stopManager(); return nil })
	handle("/manager-up", func(r *http.Request) error {
		s.stopManager()
		return errors.Join(s.startManager(r.Context()), s.writeEnv(r.Context()))
	})
	handle("/"+mendCommand, func(r *http.Request) error { return s.mend(r.Context()) })
	return mux
}

// mend restarts parts that have ended: a PostgreSQL server, the manager, the gateway. It does not restart the API server or the emulator, as
// the state that the rest relies on ended with them: the playground has to start anew.
func (s *supervisor) mend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	if err := s.cluster.run(ctx, nil, "get", "--raw", "/readyz", "--request-timeout=10s"); err != nil {
		return err
	}
	if err := answers(ctx, s.fly.Admin+"/admin/apps"); err != nil {
		return err
	}
	for _, d := range s.databases {
		if execute(ctx, d.superuser, "SELECT 1") == nil {
			continue
		}
		d.server.Down()
		if err := d.server.Up(ctx); err != nil {
			return err
		}
	}
	managerRuns, gatewayRuns := s.managerReady(ctx) == nil, s.gatewayReady(ctx) == nil
	if !managerRuns {
		s.stopManager()
		if err := s.startManager(ctx); err != nil {
			return err
		}
	}
	if !gatewayRuns {
		s.stopGateway()
		if err := s.startGateway(ctx); err != nil {
			return err
		}
	}
	if !managerRuns || !gatewayRuns {
		if err := s.writeEnv(ctx); err != nil {
			return err
		}
	}
	return s.note()
}
