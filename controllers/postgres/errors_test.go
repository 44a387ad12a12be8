package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

func TestTranslation(t *testing.T) {
	cases := []struct {
		name   string
		err    error
		class  failure.Class
		reason failure.Reason
		detail string
	}{
		{"a whole SQLSTATE", &pgconn.PgError{Code: "40P01", Message: "secret"}, failure.Retry, reasons.Busy, ""},
		{"before its class", &pgconn.PgError{Code: "57014", Message: "secret"}, failure.Retry, reasons.Busy, ""},
		{"a class", &pgconn.PgError{Code: "57P03", Message: "secret"}, failure.Retry, reasons.ConnectionFailed, ""},
		{"unknown", &pgconn.PgError{Code: "XX001", Message: "secret"}, failure.Retry, reasons.Unexpected, "PostgreSQL answered with SQLSTATE XX001."},
		{"ours says why", &pgconn.PgError{Code: "TC011", Message: "secret", Detail: `{"role": "x"}`}, failure.Wait, reasons.RoleNotFound, "Role x does not exist."},
		{"ours says no more", &pgconn.PgError{Code: "TC010", Message: "secret"}, failure.Wait, reasons.TenantNotFound, "The management table has no row for the tenant."},
		{"ours, raised by another author", &pgconn.PgError{Code: "TC011", Message: "secret", Detail: `{"role": "x", "secret": "secret"}`}, failure.Wait, reasons.RoleNotFound, "The tenant's role does not exist."},
		{"ours, unknown", &pgconn.PgError{Code: "TC999", Message: "secret"}, failure.Retry, reasons.Unexpected, "PostgreSQL answered with SQLSTATE TC999."},
		{"a lost connection", errors.New("write: secret"), failure.Retry, reasons.ConnectionFailed, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := requireFailure(t, translate(fmt.Errorf("wrapped: %w", c.err)), c.class, c.reason)
			require.NotContains(t, e.Error(), "secret")
			if c.detail != "" {
				require.Equal(t, c.detail, e.Detail)
			}
		})
	}
}

func TestAnswerToCommit(t *testing.T) {
	cases := []struct {
		name   string
		err    error
		class  failure.Class
		reason failure.Reason
	}{
		{"the server says no", &pgconn.PgError{Code: "40001", SeverityUnlocalized: "ERROR"}, failure.Retry, reasons.Busy},
		{"the server ends the session, maybe after the commit", &pgconn.PgError{Code: "57P01", SeverityUnlocalized: "FATAL"}, failure.Unknown, reasons.OutcomeUnknown},
		{"the transaction had failed", pgx.ErrTxCommitRollback, failure.Retry, reasons.Unexpected},
		{"the connection is lost", errors.New("EOF"), failure.Unknown, reasons.OutcomeUnknown},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			requireFailure(t, translateCommit(c.err), c.class, c.reason)
		})
	}
}

func TestDetailsAreSentences(t *testing.T) {
	for code, v := range verdicts {
		require.NotEmpty(t, v.class, code)
		require.NotEmpty(t, v.reason, code)
		require.True(t, strings.HasSuffix(v.detail, "."), code)
	}
}
