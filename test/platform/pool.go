package platform

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// pools has one for each superuser's URL: a session of PostgreSQL costs far more than a query, and tests ask again and again.
var pools sync.Map

// Pool is for queries of the superuser that leave nothing in their session.
func (e Environment) Pool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	made, _ := pools.LoadOrStore(e.URL, sync.OnceValues(func() (*pgxpool.Pool, error) { return newPool(e.URL) }))
	pool, err := made.(func() (*pgxpool.Pool, error))()
	require.NoError(t, err)
	return pool
}

func newPool(url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 4
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec                                       // tests change the tables that they read
	config.PrepareConn = func(ctx context.Context, c *pgx.Conn) (bool, error) { return c.Ping(ctx) == nil, nil } // servers are restarted
	return pgxpool.NewWithConfig(context.Background(), config)
}
