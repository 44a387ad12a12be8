package memory

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// tenantAttack is what a tenant puts into its own database, <role> being its role. An event of its object has these words; with none, its
// rotation is carried out as if nothing were.
type tenantAttack struct {
	name    string
	overlap bool
	sql     []string
	says    string
}

func shadowing(name string, overlap bool, function string) tenantAttack {
	return tenantAttack{name: name, overlap: overlap, sql: []string{"create schema evil", function, "alter role <role> set search_path = evil, pg_catalog"}}
}

var tenantAttacks = []tenantAttack{
	shadowing("pg_is_in_recovery returns a gigabyte", false,
		`create function evil.pg_is_in_recovery() returns setof text language sql as $$ select repeat('x', 1000000) from generate_series(1, 1000) $$`),
	shadowing("pg_is_in_recovery returns a gigabyte to the second login", true,
		`create function evil.pg_is_in_recovery() returns setof text language sql as $$ select repeat('x', 1000000) from generate_series(1, 1000) $$`),
	shadowing("pg_is_in_recovery says true to the second login", true,
		`create function evil.pg_is_in_recovery() returns boolean language sql as 'select true'`),
	shadowing("pg_is_in_recovery raises a million notices", false,
		`create function evil.pg_is_in_recovery() returns boolean language plpgsql as $$ begin for i in 1..1000000 loop raise notice '%', repeat('x', 1000); end loop; return false; end $$`),
	{name: "default_tablespace of 2 MB, which the server warns of", says: "The server sends more than 256 KiB at the tenant's login. The login has settings of its own: default_tablespace (",
		sql: []string{`do $$ begin execute format('alter role <role> set default_tablespace = %L', repeat('x', 2000000)); end $$`}},
	{name: "local_preload_libraries that does not exist", says: "The login has settings of its own: local_preload_libraries (",
		sql: []string{"alter role <role> set local_preload_libraries = 'nope'"}},
}

func (a tenantAttack) prepare(t *testing.T, x platform.Tenant) {
	t.Helper()
	session, err := pgx.Connect(context.Background(), x.InitialURL())
	require.NoError(t, err)
	defer session.Close(context.Background())
	for _, sql := range a.sql {
		_, err := session.Exec(context.Background(), strings.ReplaceAll(sql, "<role>", x.Role()))
		require.NoError(t, err, sql)
	}
	if a.overlap {
		x.SQL("SELECT tenant_credentials.prepare_overlap('" + x.Role() + "')")
	}
}

// spec is the object's, which asks for a rotation.
func (a tenantAttack) spec() []string {
	if a.overlap {
		return []string{"rotationGeneration: 1", "rotation: {strategy: Overlap}"}
	}
	return []string{"rotationGeneration: 1"}
}
