package postgres

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A pooler, such as PgBouncer, may stand between the operator and PostgreSQL. It refuses or ignores most settings that a session begins with,
// it may not know prepared statements, and in transaction mode each transaction may be another session of the server. Settings are then
// made in the session and again in each transaction that holds a verifier (docs/adr/0013).

// errSettingsIgnored says that the session lacks the settings that it was begun with.
var errSettingsIgnored = errors.New("the settings of the session are ignored")

// notices says whether an error shows, for the first time, that there is a pooler.
func (s *Server) notices(err error) bool {
	var answer *pgconn.PgError
	refused := errors.As(err, &answer) && answer.Code == "08P01" // unsupported startup parameter
	return (refused || errors.Is(err, errSettingsIgnored)) && s.pooled.CompareAndSwap(false, true)
}

// adaptToPooler has a connection begin as a pooler accepts it.
func (s *Server) adaptToPooler(_ context.Context, config *pgx.ConnConfig) error {
	if !s.pooled.Load() {
		return nil
	}
	config.RuntimeParams = map[string]string{"application_name": applicationName, "client_encoding": session["client_encoding"]}
	config.ValidateConnect = makeSession
	return nil
}

// makeSession makes the settings that the pooler kept back, and refuses a standby.
func makeSession(ctx context.Context, connection *pgconn.PgConn) error {
	recovering, err := askOne(ctx, connection, set("set")+"select pg_catalog.pg_is_in_recovery()")
	if err != nil {
		return err
	}
	if recovering != "f" {
		return pgconn.ErrStandbyConnection
	}
	return nil
}

// beginPooled begins a transaction in whichever session of the server a pooler chooses.
var beginPooled = "begin isolation level read committed read write not deferrable; " + set("set local")

// set makes the settings of the session, but for the one that counts only when a session begins.
func set(keyword string) string {
	var statements strings.Builder
	for _, name := range slices.Sorted(maps.Keys(session)) {
		value := "'" + session[name] + "'"
		switch name {
		case "local_preload_libraries":
			continue
		case "search_path", "DateStyle":
			value = session[name] // a list
		}
		statements.WriteString(keyword + " " + name + " = " + value + "; ")
	}
	return statements.String()
}
