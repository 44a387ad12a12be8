package postgres

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// newLogin is a tenant with a password that works, in a database of its own.
func newLogin(t *testing.T, f *fixture) Login {
	t.Helper()
	_, role := f.newTenant()
	password := credential.NewPassword()
	database := "site_" + role[7:]
	f.exec("create database " + database)
	f.exec("alter role " + role + " password '" + password.Reveal() + "'")
	return Login{Name: role, Role: role, Database: database, Password: password}
}

// A refusal of the server is a refusal, with any SQLSTATE; only a login that it had let in, and then had no connection left for,
// counts as one that works.
func TestVerifyLogin(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		for name, test := range map[string]struct {
			sql    []string
			reason failure.Reason
			says   string
		}{
			"a setting that no session survives": {[]string{"alter role {R} set local_preload_libraries = 'nope'"}, reasons.VerificationFailed,
				"The tenant's password is accepted, and then its session ends: SQLSTATE 58P01 (system error)."},
			"a database that accepts no connections": {[]string{"alter database {D} allow_connections false"}, reasons.VerificationFailed,
				"The tenant's database accepts no connections."},
			"no database": {[]string{"drop database {D}"}, reasons.VerificationFailed, "The tenant's database does not exist."},
			"no right to connect": {[]string{"revoke connect on database {D} from public"}, reasons.VerificationFailed,
				"The tenant may not connect to its database."},
			"another password":              {[]string{"alter role {R} password 'other'"}, reasons.VerificationFailed, "PostgreSQL refused the tenant's new password."},
			"no connection of the role":     {[]string{"alter role {R} connection limit 0"}, "", ""},
			"no connection of the database": {[]string{"alter database {D} connection limit 0"}, "", ""},
			"nothing":                       {nil, "", ""},
		} {
			t.Run(name, func(t *testing.T) {
				l := newLogin(t, f)
				for _, sql := range test.sql {
					f.exec(strings.NewReplacer("{R}", l.Role, "{D}", l.Database).Replace(sql))
				}
				err := f.server.VerifyLogin(t.Context(), l)
				if test.reason == "" {
					require.NoError(t, err)
					return
				}
				require.Equal(t, test.says, requireFailure(t, err, failure.Retry, test.reason).Detail)
			})
		}
	})
}

// A server that could not be asked says nothing of the login; one that has let it in, and then has no connection left, does.
func TestServerWithoutConnections(t *testing.T) {
	full := &pgconn.PgError{Severity: "FATAL", Code: "53300"}
	first, second := Login{Name: "tenant_a", Role: "tenant_a"}, Login{Name: "tenant_a_b", Role: "tenant_a"}
	var before, after attempt
	after.accepted.Store(true)
	require.Nil(t, after.judge(full, first))
	for _, refusal := range []*failure.Error{before.judge(full, first), before.judge(full, second), after.judge(full, second)} {
		requireFailure(t, refusal, failure.Retry, reasons.ConnectionFailed)
		require.Equal(t, "The tenant's login could not be tried: SQLSTATE 53300 (insufficient resources).", refusal.Detail)
	}
	requireFailure(t, before.judge(&pgconn.PgError{Severity: "FATAL", Code: "57P03"}, first), failure.Retry, reasons.ConnectionFailed)
	requireFailure(t, before.judge(&pgconn.PgError{Severity: "FATAL", Code: "08P01"}, first), failure.Retry, reasons.VerificationFailed)
}

// A rotation is completed only once a login with its password has succeeded.
func TestUncheckedLoginIsNotCompleted(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.open(id, 1)
		require.NoError(t, f.server.InTransaction(t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
			if err := tx.Stage(ctx, Staging{Revision: 1, Verifier: f.verifier(credential.NewPassword())}); err != nil {
				return err
			}
			return tx.Commit(ctx, FlyWrite{})
		}))
		require.Zero(t, f.observe(id).Last.LoginCheckedAt)
		e := requireFailure(t, f.complete(t.Context(), id, "uid", 1), failure.Retry, reasons.Superseded)
		require.Contains(t, e.Detail, "No login with the password of revision 1 has succeeded")
		require.NoError(t, f.server.LoginChecked(t.Context(), id, "uid", 1))
		checked := f.observe(id).Last.LoginCheckedAt
		require.NotZero(t, checked)
		require.NoError(t, f.server.LoginChecked(t.Context(), id, "uid", 1))
		require.Equal(t, checked, f.observe(id).Last.LoginCheckedAt, "the first one counts")
		require.NoError(t, f.complete(t.Context(), id, "uid", 1))
	})
}
