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
	// Tenant is what was read under the lock.
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
	tx     pgx.Tx
	tenant Tenant
	uid    string
	staged int64
	// sealed: the server lets the transaction change nothing more, so that it can be committed.
	sealed bool
}

// InTransaction locks the tenant, reads it again and calls f; when f returns nil it commits. The last call of f is Issue, Close or Commit,
// after which the server lets the transaction change nothing more; without it, the failure is Retry/Unexpected. f's own error is returned as it
// is, and nothing has changed then. Unknown/Busy: the lock was not granted in 3 s. Unknown/OutcomeUnknown: the answer to COMMIT was lost, so
// that only the ledger, read under the lock, knows. COMMIT and ROLLBACK are sent even if ctx has ended meanwhile. Code on the management table
// may have left something in the connection, so it is closed.
func (s *Server) InTransaction(ctx context.Context, tenantID, uid string, f func(context.Context, Transaction) error) error {
	connection, err := s.pool.Acquire(ctx)
	if err != nil {
		return translate(err)
	}
	defer connection.Release()
	defer discard(ctx, connection)
	tx, err := connection.BeginTx(ctx, s.txOptions())
	if err != nil {
		return translate(err)
	}
	ended := false
	defer func() {
		if !ended {
			rollback(ctx, tx)
		}
	}()
	tenants, err := readTenants(ctx, tx, 1, "select * from tenant_credentials.lock($1::text::uuid, $2)", tenantID, uid)
	if err != nil {
		return err
	}
	t := &transaction{server: s, tx: tx, tenant: tenants[0], uid: uid}
	if err := f(ctx, t); err != nil {
		return err
	}
	if !t.sealed {
		return failure.New(failure.Retry, reasons.Unexpected, "The transaction was not ended by Issue, Close or Commit, so it was rolled back.")
	}
	ended = true
	commitCtx, cancel := detached(ctx)
	defer cancel()
	if err := tx.Commit(commitCtx); err != nil {
		return translateCommit(err)
	}
	return nil
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
	if _, err := t.tx.Exec(ctx, "select tenant_credentials.commit($1::text::uuid, $2, $3, $4, nullif($5::text, '')::numeric, $6, $7)",
		t.tenant.ID, t.uid, t.staged, w.App, version, w.Digest, w.Instances); err != nil {
		return translate(err)
	}
	t.sealed = true
	return nil
}

func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := detached(ctx)
	defer cancel()
	_ = tx.Rollback(ctx) // where it cannot be sent, the connection is closed, and the server rolls back automatically
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
