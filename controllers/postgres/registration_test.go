package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// A role has one password for all databases: a second ledger with the same roles is refused, and so is a copy of the first one.
func TestOneLedgerHasARole(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		second := f.beside(t, "")
		second.dba = f.connect(second.dbaURL())
		second.exec(managementTable)
		require.NoError(t, second.dba.Close(t.Context()))
		installation := f.installation()
		for _, prefix := range []string{f.prefix, f.prefix + "eu_", "tenant_"} {
			installation.Settings.RolePrefix = prefix
			e := requireFailure(t, Install(t.Context(), second.dbaURL(), installation), failure.Stall, reasons.NameConflict)
			require.Contains(t, e.Detail, "has a ledger for roles that begin with '"+prefix+"', too, and a role has one password")
		}
		require.True(t, f.survey(f.operatorURL()).Registered)
		require.Empty(t, f.survey(f.operatorURL()).OtherLedger, "the first one is not kept from its work")

		installation.Settings.RolePrefix = strings.Replace(f.prefix, "tenant_", "customer_", 1)
		require.NoError(t, Install(t.Context(), second.dbaURL(), installation), "other roles")
		require.Empty(t, f.survey(second.operatorURL()).OtherLedger)
		second.drop()

		f.server.Close()
		require.NoError(t, f.dba.Close(t.Context()))
		copied := f.beside(t, "template "+f.database)
		seen := f.survey(copied.operatorURL())
		require.False(t, seen.Registered)
		require.Equal(t, f.database, seen.OtherLedger)
		require.Equal(t, copied.database, seen.Database)
		require.True(t, f.survey(f.operatorURL()).Registered)
		e := requireFailure(t, Install(t.Context(), copied.dbaURL(), f.installation()), failure.Stall, reasons.NameConflict)
		require.Contains(t, e.Detail, "Database "+f.database+" of this server")

		_, statement, _ := strings.Cut(e.Detail, "not used any more: ")
		copied.run(statement)
		require.False(t, f.survey(f.operatorURL()).Registered, "two ledgers at once have the roles")
		require.NoError(t, Install(t.Context(), copied.dbaURL(), f.installation()))
		require.True(t, f.survey(copied.operatorURL()).Registered)
		require.Equal(t, copied.database, f.survey(f.operatorURL()).OtherLedger)
	})
}

// beside is another database of the server, with the same operator's login. How says what it is made from.
func (f *fixture) beside(t *testing.T, how string) *fixture {
	t.Helper()
	other := *f
	other.database = f.database + "_beside"
	other.run(fmt.Sprintf("create database %s %s", other.database, how))
	t.Cleanup(other.drop)
	return &other
}

func (f *fixture) drop() { f.run("drop database if exists " + f.database + " with (force)") }

func (f *fixture) connect(url string) *pgx.Conn {
	f.t.Helper()
	connection, err := pgx.Connect(context.Background(), url)
	require.NoError(f.t, err)
	return connection
}

// run runs a statement as the DBA, in another database.
func (f *fixture) run(statement string) {
	f.t.Helper()
	connection := f.connect(f.pg.SuperuserURL())
	defer connection.Close(context.Background())
	_, err := connection.Exec(context.Background(), statement)
	require.NoError(f.t, err)
}

// survey is what a new connection sees.
func (f *fixture) survey(url string) Survey {
	f.t.Helper()
	server, err := Connect(f.t.Context(), Config{URL: credential.SecretOf(url)})
	require.NoError(f.t, err)
	defer server.Close()
	answer, err := server.Survey(f.t.Context())
	require.NoError(f.t, err)
	return answer
}
