package postgres

import (
	"cmp"
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

const (
	// endTimeout bounds COMMIT and ROLLBACK, which are sent also when the caller's context has ended.
	endTimeout = 10 * time.Second
	// terminateAfter is how long a new password waits before it is looked whether a session of the tenant's own is in its way. It is well
	// below lock_timeout, and far above what setting one takes in health.
	terminateAfter = time.Second
)

// Transaction is the stretch under the tenant's lock. It is not safe for concurrent use. It is an interface, so that a model of the
// ledger can take the server's place in tests.
type Transaction interface {
	// Tenant is what was read under the lock; after Commit, what the transaction leaves.
	Tenant() Tenant
	// Issue gives the idle one of the tenant's two logins a verifier, before any consumer uses it. In a transaction of its own; again where an
	// attempt was not committed. Stall/RoleNotAllowed names what the second login lacks. Retry/Superseded: the revision is neither open nor
	// issued, or a committed rotation is moving the consumers.
	Issue(ctx context.Context, revision int64, verifier string) (Issued, error)
	// Close closes every login of the tenant after a compromise, ends their sessions, and answers whether neither a session is left, nor a
	// login that was in progress. In a transaction of its own, again until it answers yes; Stage needs that where SessionPolicy is
	// SessionsCompromised. Retry/Superseded: the revision is neither open nor issued.
	Close(ctx context.Context, revision int64) (quiet bool, err error)
	// Stage guards the role, sets the verifier of the login in use (of a revision that is issued, its login has it already), writes the same
	// string as the stored hash, and has every constraint checked now. Retry/Superseded: the revision is neither open nor issued, or its
	// login's password is not the one that was issued. Issue, Close and Stage end sessions of the tenant's own logins that are in their way.
	// Wait/Busy names a prepared transaction of the tenant's, which has no session.
	Stage(ctx context.Context, staging Staging) error
	// Commit records Fly's answer to the secret that was set. The row is committed when the function that has the Transaction returns
	// nil. Retry/Superseded: nothing was staged.
	Commit(ctx context.Context, w FlyWrite) error
}

// Issued is which login has a new verifier, and the names of the role's settings that it could not be given.
type Issued struct {
	Login   string
	LeftOut []string
}

// transaction is a Transaction of a server.
type transaction struct {
	server *Server
	tx     *pgxpool.Conn
	tenant Tenant
	uid    string
	staged int64
	// sealed: the server lets the transaction change nothing more, so that it can be committed.
	sealed bool
	// ranCode: code of others may have run.
	ranCode bool
}

// InTransaction locks the tenant, reads it again and calls f; when f returns nil it commits. The last call of f is Issue, Close or Commit,
// after which the server lets the transaction change nothing more; without it, the failure is Retry/Unexpected. f's own error is returned as it
// is, and nothing has changed then. Unknown/Busy: the lock was not granted in 3 s. Unknown/OutcomeUnknown: the answer to COMMIT was lost, so
// that only the ledger, read under the lock, knows. COMMIT and ROLLBACK are sent even if ctx has ended meanwhile. The connection is closed
// where code on the management table may have left something in it; one that is made anew compiles every function anew.
func (s *Server) InTransaction(ctx context.Context, tenantID, uid string, f func(context.Context, Transaction) error) error {
	connection, err := s.pool.Acquire(ctx)
	if err != nil {
		return translate(err)
	}
	defer connection.Release()
	clean := false
	defer func() {
		if !clean {
			rollback(ctx, connection)
			discard(ctx, connection)
		}
	}()
	tenant, err := s.lock(ctx, connection, tenantID, uid)
	if err != nil {
		return err
	}
	t := &transaction{server: s, tx: connection, tenant: tenant, uid: uid, ranCode: tenant.ranCode}
	if err := f(ctx, t); err != nil {
		return err
	}
	if !t.sealed {
		return failure.New(failure.Retry, reasons.Unexpected, "The transaction was not ended by Issue, Close or Commit, so it was rolled back.")
	}
	if err := commit(ctx, connection); err != nil {
		return translateCommit(err)
	}
	clean = !t.ranCode
	return nil
}

// lock begins the transaction and locks the tenant, in one round trip. Through a pooler it makes the settings of the session anew, whichever session of
// the server it is.
func (s *Server) lock(ctx context.Context, connection *pgxpool.Conn, tenantID, uid string) (Tenant, error) {
	const sql = "select * from tenant_credentials.lock($1::text::uuid, $2)"
	if s.pooled.Load() {
		if _, err := connection.Exec(ctx, beginPooled, pgx.QueryExecModeSimpleProtocol); err != nil {
			return Tenant{}, translate(err)
		}
		return first(readTenants(ctx, connection, 1, sql, tenantID, uid))
	}
	batch := &pgx.Batch{}
	batch.Queue("begin isolation level read committed")
	batch.Queue(sql, tenantID, uid)
	results := connection.SendBatch(ctx, batch)
	defer func() { _ = results.Close() }() // everything that matters has been read
	if _, err := results.Exec(); err != nil {
		return Tenant{}, translate(err)
	}
	rows, err := results.Query()
	if err != nil {
		return Tenant{}, translate(err)
	}
	return first(tenantsOf(rows, 1))
}

// commit is sent also when the caller's context has ended. A transaction that had failed is rolled back by it, with an answer that says so.
func commit(ctx context.Context, connection *pgxpool.Conn) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	answer, err := connection.Exec(ctx, "commit")
	if err == nil && answer.String() != "COMMIT" {
		return pgx.ErrTxCommitRollback
	}
	return err
}

func (t *transaction) Tenant() Tenant { return t.tenant }

func (t *transaction) Issue(ctx context.Context, revision int64, verifier string) (issued Issued, err error) {
	finish := t.endBlockers(ctx)
	defer finish()
	err = t.tx.QueryRow(ctx, "select login, left_out from tenant_credentials.issue($1::text::uuid, $2, $3, $4)", t.tenant.ID, t.uid, revision, verifier).
		Scan(&issued.Login, &issued.LeftOut)
	if err != nil {
		return Issued{}, translate(err)
	}
	t.sealed = true
	return issued, nil
}

func (t *transaction) Close(ctx context.Context, revision int64) (quiet bool, err error) {
	finish := t.endBlockers(ctx)
	defer finish()
	if err := t.tx.QueryRow(ctx, "select tenant_credentials.close($1::text::uuid, $2, $3)", t.tenant.ID, t.uid, revision).Scan(&quiet); err != nil {
		return false, translate(err)
	}
	t.sealed = true
	return quiet, nil
}

func (t *transaction) Stage(ctx context.Context, staging Staging) error {
	digest, err := hex.DecodeString(staging.DeliveryDigest)
	if err != nil {
		return failure.New(failure.Retry, reasons.Unexpected, "The delivery digest is not hexadecimal.")
	}
	if len(digest) == 0 {
		digest = nil
	}
	finish := t.endBlockers(ctx)
	defer finish()
	if _, err := t.tx.Exec(ctx, "select tenant_credentials.stage($1::text::uuid, $2, $3, $4, $5, $6, $7)",
		t.tenant.ID, t.uid, staging.Revision, staging.Verifier, digest, cmp.Or(staging.SessionPolicy, SessionsKept), staging.LoginChecked); err != nil {
		return translate(err)
	}
	t.staged = staging.Revision
	return nil
}

func (t *transaction) endBlockers(ctx context.Context) func() {
	return t.server.endBlockers(ctx, t.tenant.ID, t.uid)
}

// endBlockers ends the sessions of the tenant's logins that a session of the operator's waits for after a second. The function that it returns
// stops that.
func (s *Server) endBlockers(ctx context.Context, tenantID, uid string) func() {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	timer := time.AfterFunc(terminateAfter, func() {
		defer close(done)
		// Should it fail, then the one that waits fails by its lock_timeout and says so.
		_, _ = s.pool.Exec(ctx, "select tenant_credentials.terminate($1::text::uuid, $2)", tenantID, uid)
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-done
		}
	}
}

func (t *transaction) Commit(ctx context.Context, w FlyWrite) error {
	version := ""
	if w.Version != 0 {
		version = strconv.FormatUint(w.Version, 10)
	}
	left, err := readTenants(ctx, t.tx, 1, "select * from tenant_credentials.commit($1::text::uuid, $2, $3, $4, nullif($5::text, '')::numeric, $6, $7)",
		t.tenant.ID, t.uid, t.staged, w.App, version, w.Digest, w.Instances)
	if err != nil {
		return err
	}
	t.tenant, t.ranCode, t.sealed = left[0], t.ranCode || left[0].ranCode, true
	return nil
}

// rollback releases the locks of a transaction that was not committed before its caller goes on. Where it cannot be sent, the server rolls back when the
// connection is closed.
func rollback(ctx context.Context, connection *pgxpool.Conn) {
	if connection.Conn().PgConn().TxStatus() == 'I' { // idle, not in a transaction
		return
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	_, _ = connection.Exec(ctx, "rollback")
}

// discard closes a connection in which code of others may have run: a setting, a cursor or a lock of its may be left.
func discard(ctx context.Context, connection *pgxpool.Conn) {
	ctx, cancel := detached(ctx)
	defer cancel()
	_ = connection.Conn().Close(ctx)
}

func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
}
