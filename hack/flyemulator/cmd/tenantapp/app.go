package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// app counts logins.
type app struct {
	url string

	mu      sync.Mutex
	status  status
	healthy bool
}

type status struct {
	Logins    int64  `json:"logins"`
	Failures  int64  `json:"failures"`
	LastError string `json:"last_error"` // a SQLSTATE or a short class
}

// login logs in once and counts it. It returns the class of the failure, or nothing. A login cut short by the end of ctx does not
// count.
func (a *app) login(ctx context.Context) string {
	attempt, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	class := connect(attempt, a.url)
	if ctx.Err() != nil {
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

// connect opens one connection and closes it. A driver's error text may hold the URL, so only its class leaves this function.
func connect(ctx context.Context, url string) string {
	config, err := pgx.ParseConfig(url)
	if url == "" || err != nil {
		return "url"
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		_ = conn.Close(ctx) // the login has worked; how the connection ends does not matter
		return ""
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refused.Code
	}
	if ctx.Err() != nil {
		return "timeout"
	}
	return "connect"
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		now := a.status
		a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(now) // the client is gone: nobody is left to tell
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
