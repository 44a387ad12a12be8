package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Config says how to reach one server.
type Config struct {
	// URL is that of the operator's own login. Without sslmode, verify-full is used.
	URL string
	// MaxConnections bounds the pool; 0 means 16.
	MaxConnections int32
}

// Server is one environment's PostgreSQL server. It is safe for concurrent use.
type Server struct {
	pool *pgxpool.Pool
}

// Connect prepares a pool; it dials nothing yet. An unusable URL is AuthenticationFailed.
func Connect(ctx context.Context, c Config) (*Server, error) {
	return nil, failure.New(failure.Retry, failure.Unexpected, "not there yet")
}

// Close ends the pool's connections.
func (s *Server) Close() { s.pool.Close() }
