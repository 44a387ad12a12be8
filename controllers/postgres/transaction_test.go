package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

func TestOnlyReadCommittedIsAccepted(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.open(id, 1)
		operator, err := pgx.Connect(t.Context(), f.operatorURL())
		require.NoError(t, err)
		defer func() { _ = operator.Close(context.Background()) }()
		for _, isolation := range []string{"repeatable read", "serializable"} {
			for _, call := range []string{
				"select * from tenant_credentials.lock($1, 'uid')",
				"select tenant_credentials.open($1, 'uid', 1, 'r', 'm', 0, 0)",
				"select tenant_credentials.stage($1, 'uid', 1, 'v', null)",
				"select tenant_credentials.commit($1, 'uid', 1, null, null, null)",
				"select tenant_credentials.login_checked($1, 'uid', 1)",
				"select tenant_credentials.complete($1, 'uid', 1)",
			} {
				tx, err := operator.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.TxIsoLevel(isolation)})
				require.NoError(t, err)
				_, err = tx.Exec(t.Context(), call, id)
				var answer *pgconn.PgError
				require.ErrorAs(t, err, &answer, call)
				require.Equal(t, "TC001", answer.Code, call)
				require.NoError(t, tx.Rollback(t.Context()))
			}
		}
	})
}

func TestStagedRotationCannotBeCommitted(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.open(id, 1)
		before := f.observe(id)
		for _, trick := range []string{"select", "set constraints all deferred", "savepoint a; release savepoint a"} {
			err := f.server.InTransaction(t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
				require.NoError(t, tx.Stage(ctx, Staging{Revision: 1, Verifier: f.verifier(credential.NewPassword())}))
				_, err := tx.(*transaction).tx.Exec(ctx, trick)
				return err
			})
			requireFailure(t, err, failure.Retry, reasons.Unexpected)
			requireSame(t, before, f.observe(id))
		}
	})
}

func TestRolledBackTransactionChangesNothing(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.open(id, 1)
		before := f.observe(id)
		mine := errors.New("the caller's own error")
		err := f.server.InTransaction(t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
			require.NoError(t, tx.Stage(ctx, Staging{Revision: 1, Verifier: f.verifier(credential.NewPassword()), LoginChecked: true}))
			require.NoError(t, tx.Commit(ctx, FlyWrite{App: "a", Version: 1}))
			return mine
		})
		require.Equal(t, mine, err, "returned as it is")
		requireSame(t, before, f.observe(id))
	})
}

func TestStepsOutOfOrderAreSuperseded(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.open(id, 1)
		within := func(step func(context.Context, Transaction) error) error {
			return f.server.InTransaction(t.Context(), id, "uid", step)
		}
		verifier := f.verifier(credential.NewPassword())
		requireFailure(t, within(func(ctx context.Context, tx Transaction) error {
			return tx.Stage(ctx, Staging{Revision: 2, Verifier: verifier})
		}), failure.Retry, reasons.Superseded)
		requireFailure(t, within(func(ctx context.Context, tx Transaction) error { return tx.Commit(ctx, FlyWrite{}) }), failure.Retry, reasons.Superseded)
		requireFailure(t, f.complete(t.Context(), id, "uid", 1), failure.Retry, reasons.Superseded)
		requireFailure(t, within(func(ctx context.Context, tx Transaction) error {
			return tx.Stage(ctx, Staging{Revision: 1, Verifier: "a plaintext password"})
		}), failure.Retry, reasons.Unexpected)

		require.NoError(t, f.server.Discard(t.Context(), id, "uid", 1))
		require.NoError(t, f.server.Discard(t.Context(), id, "uid", 1), "twice is the same as once")
		require.Nil(t, f.observe(id).Open)

		require.Equal(t, int64(1), f.open(id, 1).Revision, "revisions count rotations, not attempts")
		f.rotate(id, 1)
		require.Equal(t, int64(2), f.open(id, 2).Revision)
		f.rotate(id, 2)
		requireFailure(t, f.complete(t.Context(), id, "uid", 1), failure.Retry, reasons.Superseded)
		require.NoError(t, f.complete(t.Context(), id, "uid", 2))
		require.Equal(t, int64(2), f.observe(id).Last.Revision)
	})
}

// errLooked ends a transaction that only reads under the lock.
var errLooked = errors.New("looked")

func TestTransactionsOnOneTenantFollowEachOther(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.open(id, 1)
		var seen Tenant
		second := make(chan error, 1)
		require.NoError(t, f.server.InTransaction(t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
			go func() {
				second <- f.server.InTransaction(t.Context(), id, "uid", func(_ context.Context, tx Transaction) error {
					seen = tx.Tenant()
					return errLooked
				})
			}()
			f.waitForLockWaiter()
			require.NoError(t, tx.Stage(ctx, Staging{Revision: 1, Verifier: f.verifier(credential.NewPassword()), LoginChecked: true}))
			return tx.Commit(ctx, FlyWrite{})
		}))
		require.ErrorIs(t, <-second, errLooked)
		require.Nil(t, seen.Open, "the second sees what the first committed, not what was there when it began to wait")
		require.Equal(t, StateCommitted, seen.Last.State)
		require.Equal(t, seen.Last.VerifierDigest, seen.VerifierDigest)
	})
}

func TestLockThatIsNotGrantedIsUnknown(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		tx, err := f.dba.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "select from management.tenants where id = $1 for update", id)
		require.NoError(t, err)
		err = f.server.InTransaction(t.Context(), id, "uid", func(context.Context, Transaction) error {
			t.Error("entered without the lock")
			return nil
		})
		requireFailure(t, err, failure.Unknown, reasons.Busy)
		require.NoError(t, tx.Rollback(t.Context()))
	})
}

func TestTenantCannotKeepItsOwnRoleLocked(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		f.open(id, 1)
		password := f.rotate(id, 1)
		tenant, err := pgx.Connect(t.Context(), f.pg.URL(role, password.Reveal(), f.database))
		require.NoError(t, err)
		defer func() { _ = tenant.Close(context.Background()) }()
		_, err = tenant.Exec(t.Context(), fmt.Sprintf("begin; alter role %s password '%s'", role, f.verifier(credential.NewPassword())))
		require.NoError(t, err)

		f.open(id, 2)
		next := f.rotate(id, 2)
		require.NoError(t, f.server.VerifyLogin(t.Context(), Login{Name: role, Role: role, Database: f.database, Password: next}))
		require.Error(t, tenant.Ping(t.Context()), "the session that held the lock was ended")
	})
}

func TestLostAnswerToCommitIsUnknown(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.open(id, 1)
		relay := newRelay(t, fmt.Sprintf("127.0.0.1:%d", f.pg.Port))
		server, err := Connect(t.Context(), Config{URL: credential.SecretOf(strings.Replace(f.operatorURL(), fmt.Sprintf(":%d/", f.pg.Port), relay.port+"/", 1))})
		require.NoError(t, err)
		defer server.Close()
		err = server.InTransaction(t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
			require.NoError(t, tx.Stage(ctx, Staging{Revision: 1, Verifier: f.verifier(credential.NewPassword()), LoginChecked: true}))
			require.NoError(t, tx.Commit(ctx, FlyWrite{}))
			relay.dropAnswerTo("commit")
			return nil
		})
		requireFailure(t, err, failure.Unknown, reasons.OutcomeUnknown)
		require.ErrorIs(t, f.server.InTransaction(t.Context(), id, "uid", func(_ context.Context, tx Transaction) error {
			require.Equal(t, StateCommitted, tx.Tenant().Last.State, "the ledger, read under the lock, knows")
			return errLooked
		}), errLooked)
	})
}

func TestCommitIsSentWhenTheCallerIsShuttingDown(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.open(id, 1)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, f.server.InTransaction(ctx, id, "uid", func(_ context.Context, tx Transaction) error {
			require.NoError(t, tx.Stage(ctx, Staging{Revision: 1, Verifier: f.verifier(credential.NewPassword()), LoginChecked: true}))
			require.NoError(t, tx.Commit(ctx, FlyWrite{}))
			cancel()
			return nil
		}))
		require.Equal(t, StateCommitted, f.observe(id).Last.State)
	})
}

// waitForLockWaiter returns once one of the operator's sessions waits for a lock.
func (f *fixture) waitForLockWaiter() {
	f.t.Helper()
	for !one[bool](f, "select exists (select from pg_stat_activity where usename = $1 and wait_event_type = 'Lock')", f.operator) {
		require.NoError(f.t, f.t.Context().Err())
	}
}

func requireSame(t *testing.T, want, got Tenant) {
	t.Helper()
	got.Clock = want.Clock
	require.Equal(t, want, got)
}

// relay passes bytes on between a client and the server, until it is told to lose an answer.
type relay struct {
	port string // ":1234"
	mu   sync.Mutex
	drop string
}

func (r *relay) dropAnswerTo(statement string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop = statement
}

func (r *relay) drops(message []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drop != "" && bytes.Contains(message, []byte(r.drop))
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	r := &relay{port: ":" + port}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(client, target)
		}
	}()
	return r
}

func (r *relay) serve(client net.Conn, target string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var lose atomic.Bool
	go func() {
		defer func() { _ = client.Close() }()
		buffer := make([]byte, 64*1024)
		for {
			n, err := server.Read(buffer)
			if err != nil || lose.Load() { // the server has answered, and no client hears it
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 64*1024)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if r.drops(buffer[:n]) {
			lose.Store(true)
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}
