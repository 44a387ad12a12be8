package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// app counts logins.
type app struct {
	url   string
	plain bool // the server has no TLS

	mu      sync.Mutex
	status  status
	healthy bool
}

type status struct {
	Logins    int64  `json:"logins"`
	Failures  int64  `json:"failures"`
	LastError string `json:"last_error"` // a SQLSTATE or a short class
}

// patience is how long a login may take. The server refuses a login at once; on a busy machine a login that is let in takes seconds.
const patience = 20 * time.Second

// login logs in once and counts it. It returns the class of the failure, or nothing. A login cut short by the end of ctx does not
// count; one that the server has refused by then does.
func (a *app) login(ctx context.Context) string {
	attempt, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	class, answered := a.connect(attempt)
	if !answered && ctx.Err() != nil {
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.healthy = class == ""
	if class == "" {
		a.status.Logins++
	} else {
		a.status.Failures++
		a.status.LastError = class
	}
	return class
}

// connect opens one connection and closes it; answered says that the server has let it in, or not. A driver's error text may hold the
// URL, so only its class leaves this function.
func (a *app) connect(ctx context.Context) (class string, answered bool) {
	config, err := pgx.ParseConfig(a.url)
	if a.url == "" || err != nil {
		return "url", false
	}
	if a.plain {
		config.TLSConfig, config.Fallbacks = nil, nil
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		_, encrypted := conn.PgConn().Conn().(*tls.Conn)
		a.plain = !encrypted // asking for TLS first would cost the server a second process at each login
		_ = conn.Close(ctx)  // the login has worked; how the connection ends does not matter
		return "", true
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refused.Code, true
	}
	if ctx.Err() != nil {
		return "timeout", false
	}
	return "connect", false
}

// tell writes the counters as they are now.
func (a *app) tell(w io.Writer) {
	a.mu.Lock()
	now := a.status
	a.mu.Unlock()
	_ = json.NewEncoder(w).Encode(now) // the caller is gone: no one is left to tell
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		a.tell(w)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		healthy := a.healthy
		a.mu.Unlock()
		if !healthy {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	return mux
}
