package postgres

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

func TestLedgerVersionIsTheNewestMigration(t *testing.T) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	require.NoError(t, err)
	newest, err := goose.NumericComponent(names[len(names)-1])
	require.NoError(t, err)
	require.Equal(t, newest, LedgerVersion)
}

func TestSurvey(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		require.NoError(t, Install(t.Context(), f.dbaURL(), f.installation()), "again")
		survey, err := f.server.Survey(t.Context())
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(survey.ServerVersion, f.version))
		require.Equal(t, one[string](f, "select system_identifier::text from pg_control_system()"), survey.SystemIdentifier)
		require.Equal(t, survey.SystemIdentifier, survey.InstalledOn)
		require.Equal(t, LedgerVersion, survey.LedgerVersion)
		require.Equal(t, f.installation().Settings, survey.Settings)
		require.False(t, survey.Clock.IsZero())
	})
}

func TestSurveyWithoutLedger(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		f.exec("drop schema tenant_credentials cascade")
		_, err := f.server.Survey(t.Context())
		requireFailure(t, err, failure.Wait, reasons.LedgerOutdated)
		_, err = f.server.Observe(t.Context(), nil)
		requireFailure(t, err, failure.Wait, reasons.LedgerOutdated)
	})
}

func TestOperatorThatIsRefused(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		wrong, err := Connect(t.Context(), Config{URL: credential.SecretOf(f.pg.URL(f.operator, "hunter2", f.database))})
		require.NoError(t, err)
		defer wrong.Close()
		_, err = wrong.Survey(t.Context())
		e := requireFailure(t, err, failure.Retry, reasons.AuthenticationFailed)
		require.NotContains(t, e.Error(), "hunter2")

		f.exec("revoke all on schema tenant_credentials from " + f.operator)
		_, err = f.server.Survey(t.Context())
		requireFailure(t, err, failure.Retry, reasons.PermissionDenied)
	})
}

func TestServerThatIsDown(t *testing.T) {
	s, err := Connect(t.Context(), Config{URL: credential.SecretOf("postgres://operator:p@127.0.0.1:1/platform?sslmode=disable")})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Survey(t.Context())
	requireFailure(t, err, failure.Retry, reasons.ConnectionRefused)
	requireFailure(t, s.VerifyLogin(t.Context(), Login{Name: "r", Role: "r", Database: "d", Password: credential.SecretOf("p")}), failure.Retry, reasons.ConnectionRefused)
}

func TestOperatorLoginHasToBeOrdinary(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		i := f.installation()
		i.OperatorLogin = "postgres"
		e := requireFailure(t, Install(t.Context(), f.dbaURL(), i), failure.Stall, reasons.RoleNotAllowed)
		require.Contains(t, e.Detail, "has to be an ordinary role")
		i.OperatorLogin = "nobody_knows"
		e = requireFailure(t, Install(t.Context(), f.dbaURL(), i), failure.Stall, reasons.RoleNotAllowed)
		require.Contains(t, e.Detail, "does not exist")
	})
}

func TestTenantRolesAreNotReachableThroughTheOwner(t *testing.T) {
	f := newFixture(t, "18")
	_, role := f.newTenant()
	owner, err := pgx.Connect(t.Context(), f.dbaURL())
	require.NoError(t, err)
	defer func() { _ = owner.Close(t.Context()) }()
	_, err = owner.Exec(t.Context(), "set session authorization tenant_credentials_owner")
	require.NoError(t, err)
	_, err = owner.Exec(t.Context(), "set role "+role)
	require.ErrorContains(t, err, "permission denied", "ADMIN alone is not SET")
}
