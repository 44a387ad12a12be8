package postgres

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// withGateway installs the ledger for a table with a column of owners, and returns a connection of the endpoint's login.
func (f *fixture) withGateway(t *testing.T) (gateway *pgx.Conn, login string) {
	t.Helper()
	login = "gateway_" + f.database
	f.exec("create role " + login + " login password 'gateway'; grant connect on database " + f.database + " to " + login)
	f.exec("alter table management.tenants add owner uuid")
	i := f.installation()
	i.Settings.ColumnOwner, i.GatewayLogin = "owner", login
	require.NoError(t, Install(t.Context(), f.dbaURL(), i))
	gateway, err := pgx.Connect(t.Context(), f.pg.URL(login, "gateway", f.database))
	require.NoError(t, err)
	t.Cleanup(func() { _ = gateway.Close(context.Background()) })
	return gateway, login
}

func TestOwnerIs(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.newTenant()
		ownerless, _ := f.newTenant()
		gateway, _ := f.withGateway(t)
		owner := uuid.NewString()
		f.exec("update management.tenants set owner = $2 where id = $1", id, owner)
		owns := func(tenant, subject string) bool {
			t.Helper()
			var answer bool
			require.NoError(t, gateway.QueryRow(t.Context(), "select tenant_credentials.owner_is($1, $2)", tenant, subject).Scan(&answer))
			return answer
		}
		require.True(t, owns(id, owner))
		require.False(t, owns(id, uuid.NewString()), "a stranger")
		require.False(t, owns(id, ""))
		require.False(t, owns(ownerless, ""))
		require.False(t, owns(ownerless, owner))
		require.False(t, owns(uuid.NewString(), owner), "a tenant that there is not")

		var answer bool
		require.NoError(t, gateway.QueryRow(t.Context(), "select tenant_credentials.owner_is($1, null)", id).Scan(&answer))
		require.False(t, answer)

		f.exec("alter table management.tenants drop constraint tenants_pkey; alter table management.tenants replica identity full")
		f.exec("insert into management.tenants (id, password_hash, owner) values ($1, '', $2)", id, uuid.NewString())
		require.False(t, owns(id, owner), "of several rows each has to name the owner")
	})
}

// Without a column of owners the question has no answer, which is not a No: the platform has forgotten something.
func TestOwnerIsNeedsAColumn(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		login := "gateway_" + f.database
		f.exec("create role " + login + " login password 'gateway'; grant connect on database " + f.database + " to " + login)
		i := f.installation()
		i.GatewayLogin = login
		require.NoError(t, Install(t.Context(), f.dbaURL(), i))
		gateway, err := pgx.Connect(t.Context(), f.pg.URL(login, "gateway", f.database))
		require.NoError(t, err)
		defer func() { _ = gateway.Close(context.Background()) }()
		_, err = gateway.Exec(t.Context(), "select tenant_credentials.owner_is($1, 'x')", uuid.NewString())
		require.ErrorContains(t, err, "spec.management.columns.owner")
	})
}

func TestGatewayMayAskWhoOwnsAndNothingElse(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		gateway, login := f.withGateway(t)
		for _, sql := range []string{
			"select from tenant_credentials.rotations",
			"select from tenant_credentials.claims",
			"select from tenant_credentials.settings",
			"select from management.tenants",
			"select owner from management.tenants",
			"select rolpassword from pg_authid",
			"alter role " + role + " password 'mine'",
			"set role " + role,
			"set role tenant_credentials_owner",
			"set role tenant_credentials_hash",
			"select tenant_credentials.observe('{" + id + "}')",
			"select tenant_credentials.survey()",
			"select tenant_credentials.read_managed('{" + id + "}')",
			"select tenant_credentials.adopt('" + id + "', 'uid', 'c', 'e', 'n', 'a', null, null)",
			"select tenant_credentials.open('" + id + "', 'uid', 1, 'x', 'y', 0, 0)",
			"select tenant_credentials.lock('" + id + "', 'uid')",
			"create table tenant_credentials.mine ()",
		} {
			_, err := gateway.Exec(t.Context(), sql)
			var answer *pgconn.PgError
			require.ErrorAs(t, err, &answer, sql)
			require.Equal(t, "42501", answer.Code, "%s: %s", sql, answer.Message)
		}
		require.Equal(t, "owner_is", one[string](f, `select string_agg(p.proname, ', ') from pg_proc p
			where p.pronamespace = 'tenant_credentials'::regnamespace and has_function_privilege($1::text, p.oid, 'EXECUTE')`, login))
	})
}

// Code that the management table defers until COMMIT runs with the rights of the endpoint's login, and can change nothing by then.
func TestOwnerIsEndsWhatATransactionMayChange(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.newTenant()
		gateway, login := f.withGateway(t)
		tx, err := gateway.Begin(t.Context())
		require.NoError(t, err)
		defer func() { _ = tx.Rollback(context.Background()) }()
		_, err = tx.Exec(t.Context(), "select tenant_credentials.owner_is($1, 'x')", id)
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "alter role "+login+" password 'mine'")
		require.ErrorContains(t, err, "read-only transaction")
	})
}

func TestGatewayLoginIsOfItsOwn(t *testing.T) {
	f := newFixture(t, versions[0])
	for login, says := range map[string]string{
		"there_is_none": "does not exist",
		f.operator:      "the endpoint needs one of its own",
		"postgres":      "has to be an ordinary role",
	} {
		i := f.installation()
		i.GatewayLogin = login
		require.ErrorContains(t, Install(t.Context(), f.dbaURL(), i), says, login)
	}
}

func TestHistory(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		for revision := int64(1); revision <= 12; revision++ {
			opened, err := f.server.OpenRotation(t.Context(), Opening{TenantID: id, UID: "uid", Cause: "Requested", After: revision - 1,
				Reason: "why", RequestedBy: "alice", RequestID: "id-" + string(rune('a'+revision))})
			require.NoError(t, err)
			f.rotate(id, opened.Revision)
		}
		seen := f.observe(id)
		require.Equal(t, int64(12), seen.Last.Revision)
		require.Equal(t, "id-m", seen.Last.RequestID)
		require.Len(t, seen.Earlier, 9)
		for i, r := range seen.Earlier {
			require.Equal(t, int64(11-i), r.Revision)
			require.Equal(t, StateSuperseded, r.State)
			require.Equal(t, "alice", r.RequestedBy)
			require.Equal(t, "id-"+string(rune('a'+r.Revision)), r.RequestID)
			require.False(t, r.CommittedAt.IsZero())
		}
	})
}
