package postgres

import (
	"cmp"
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

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
	// Issue gives the idle one of the tenant's two logins a verifier, before anybody is to use it, and answers with its name. In a
	// transaction of its own; again where an attempt was not committed. Stall/RoleNotAllowed names what the second login lacks.
	// Retry/Superseded: the revision is neither open nor issued, or a committed rotation is moving the consumers.
	Issue(ctx context.Context, revision int64, verifier string) (login string, err error)
	// Stage guards the role, sets the verifier of the login in use (of a revision that is issued, its login has it already), writes the same
	// string as the stored hash, and has every constraint checked now. Retry/Superseded: the revision is neither open nor issued, or its
	// login's password is not the one that was issued. Issue and Stage end sessions of the tenant's own logins that are in their way.
	Stage(ctx context.Context, staging Staging) error
	// Commit records Fly's answer to the secret that was set. The row is committed when the function that has the Transaction returns
	// nil. Retry/Superseded: nothing was staged.
	Commit(ctx context.Context, w FlyWrite) error
}

// transaction is a Transaction of a server.
type transaction struct {
	server *Server
	tx     pgx.Tx
	tenant Tenant
	staged int64
}

// InTransaction locks the tenant, reads it again and calls f; when f returns nil it commits. f's own error is returned as it is, and
// nothing has changed then. Unknown/Busy: the lock was not granted in 3 s. Unknown/OutcomeUnknown: the answer to COMMIT was lost, so
// that only the ledger, read under the lock, knows. COMMIT and ROLLBACK are sent even if ctx has ended meanwhile.
func (s *Server) InTransaction(ctx context.Context, tenantID, uid string, f func(context.Context, Transaction) error) error {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
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
	if err := f(ctx, &transaction{server: s, tx: tx, tenant: tenants[0]}); err != nil {
		return err
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

func (t *transaction) Issue(ctx context.Context, revision int64, verifier string) (login string, err error) {
	finish := t.endBlockers(ctx)
	defer finish()
	err = t.tx.QueryRow(ctx, "select tenant_credentials.issue($1::text::uuid, $2, $3)", t.tenant.ID, revision, verifier).Scan(&login)
	if err != nil {
		return "", translate(err)
	}
	return login, nil
}

func (t *transaction) Stage(ctx context.Context, staging Staging) error {
	digest, err := hex.DecodeString(staging.DeliveryDigest)
	if err != nil {
		return failure.New(failure.Retry, failure.Unexpected, "The delivery digest is not hexadecimal.")
	}
	if len(digest) == 0 {
		digest = nil
	}
	finish := t.endBlockers(ctx)
	defer finish()
	if _, err := t.tx.Exec(ctx, "select tenant_credentials.stage($1::text::uuid, $2, $3, $4, $5)",
		t.tenant.ID, staging.Revision, staging.Verifier, digest, cmp.Or(staging.SessionPolicy, SessionsKept)); err != nil {
		return translate(err)
	}
	t.staged = staging.Revision
	return nil
}

// endBlockers ends the sessions of the tenant's logins that this transaction waits for, should it still wait after a second. The
// function that it returns stops that.
func (t *transaction) endBlockers(ctx context.Context) func() {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	pid := t.tx.Conn().PgConn().PID()
	timer := time.AfterFunc(terminateAfter, func() {
		defer close(done)
		// Should it fail, then the one that waits fails by its lock_timeout and says so.
		_, _ = t.server.pool.Exec(ctx, "select tenant_credentials.terminate($1::text::uuid, $2)", t.tenant.ID, int32(pid)) //nolint:gosec // a process ID
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
	if _, err := t.tx.Exec(ctx, "select tenant_credentials.commit($1::text::uuid, $2, $3, nullif($4::text, '')::numeric, $5, $6)",
		t.tenant.ID, t.staged, w.App, version, w.Digest, w.Instances); err != nil {
		return translate(err)
	}
	return nil
}

func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := detached(ctx)
	defer cancel()
	_ = tx.Rollback(ctx) // where it can not be sent, the connection is closed, and the server rolls back by itself
}

func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
}
