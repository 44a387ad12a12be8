package postgres

import (
	"context"
	"net/url"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// pooled starts PgBouncer before the fixture's server. The Server that is returned leads through it.
func (f *fixture) pooled(t *testing.T, o pgserver.PoolerOptions) *Server {
	t.Helper()
	o.SuperuserURL = f.pg.SuperuserURL()
	pooler, err := pgserver.StartPooler(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(pooler.Stop)
	u, err := url.Parse(f.operatorURL())
	require.NoError(t, err)
	u.Host = u.Hostname() + ":" + strconv.Itoa(pooler.Port)
	server, err := Connect(t.Context(), Config{URL: credential.SecretOf(u.String()), MaxConnections: 2})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server
}

// A login through PgBouncer is proved where it works, and refused where the pooler goes by a previous verifier.
func TestVerifyLoginThroughPgBouncer(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		for _, mode := range []string{"session", "transaction"} {
			t.Run(mode, func(t *testing.T) {
				l := newLogin(t, f)
				former := one[string](f, "select rolpassword from pg_authid where rolname = $1", l.Role)
				asking := f.pooled(t, pgserver.PoolerOptions{Mode: mode})
				remembering := f.pooled(t, pgserver.PoolerOptions{Mode: mode, Verifiers: map[string]string{l.Role: former}})
				require.NoError(t, asking.VerifyLogin(t.Context(), l))
				require.NoError(t, remembering.VerifyLogin(t.Context(), l))

				previous := l
				l.Password = credential.NewPassword()
				f.exec("alter role " + l.Role + " password '" + l.Password.Reveal() + "'")
				require.NoError(t, asking.VerifyLogin(t.Context(), l))
				requireFailure(t, asking.VerifyLogin(t.Context(), previous), failure.Retry, reasons.VerificationFailed)
				e := requireFailure(t, remembering.VerifyLogin(t.Context(), l), failure.Retry, reasons.VerificationFailed)
				require.Equal(t, "A pooler before PostgreSQL (PgBouncer answers so) refused the tenant's login: it may still have the previous verifier.", e.Detail)
			})
		}
	})
}

// everySetting has PgBouncer take the settings that a session of the operator's begins with, and do nothing.
func everySetting() string {
	names := "ignore_startup_parameters = extra_float_digits"
	for name := range session {
		names += ", " + name
	}
	return names
}

// The operator's own sessions may go through PgBouncer as it is installed, and where it ignores their settings: with any settings of the
// login a tenant is rotated, and a session of the tenant's that is in the way is ended.
func TestOperatorThroughPgBouncer(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		f.exec("alter role " + f.operator + " set transform_null_equals = on")
		f.exec("alter role " + f.operator + " set default_transaction_read_only = on")
		for _, mode := range []string{"session", "transaction"} {
			for name, settings := range map[string][]string{"as installed": nil, "ignoring settings": {everySetting()}} {
				t.Run(mode+" "+name, func(t *testing.T) {
					pooled := *f
					pooled.t = t
					pooled.server = f.pooled(t, pgserver.PoolerOptions{Mode: mode, Settings: settings})
					pooled.requireRotation(t)
				})
			}
		}
	})
}

// requireRotation rotates and completes a tenant, while a session of its own holds its role.
func (f *fixture) requireRotation(t *testing.T) {
	t.Helper()
	survey, err := f.server.Survey(t.Context())
	require.NoError(t, err)
	require.Equal(t, LedgerVersion, survey.LedgerVersion)
	id, role := f.adoptedTenant()
	f.exec("alter role " + role + " password 'known'")
	own, err := pgx.Connect(t.Context(), f.pg.URL(role, "known", f.database))
	require.NoError(t, err)
	defer func() { _ = own.Close(context.Background()) }()
	_, err = own.Exec(t.Context(), "begin; alter role "+role+" password 'held'")
	require.NoError(t, err)

	password := f.rotate(id, f.open(id, 1).Revision)
	require.NoError(t, f.server.VerifyLogin(t.Context(), Login{TenantID: id, UID: "uid", Name: role, Role: role, Database: f.database, Password: password}))
	require.NoError(t, f.complete(t.Context(), id, "uid", 1))
	require.Equal(t, StateCompleted, f.observe(id).Last.State)
	require.Error(t, own.Ping(t.Context()))
}

// A pooler that refuses the operator's own login is named as one.
func TestPgBouncerThatRefusesTheOperator(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		verifier, err := credential.Verifier(credential.NewPassword())
		require.NoError(t, err)
		server := f.pooled(t, pgserver.PoolerOptions{Mode: "session", Verifiers: map[string]string{f.operator: verifier}})
		_, err = server.Survey(t.Context())
		e := requireFailure(t, err, failure.Retry, reasons.ConnectionFailed)
		require.Equal(t, "A pooler before PostgreSQL (PgBouncer answers so) refused the operator's login or its settings.", e.Detail)
	})
}
