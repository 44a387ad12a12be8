package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
)

// A connection serves one rotation after another, unless code of others may have run in it.
func TestConnectionIsClosedWhereCodeMayHaveRun(t *testing.T) {
	const onBoth = `create function management.touched() returns trigger language plpgsql as $$ begin return new; end $$;
		create function management.shout(t text) returns text language sql immutable as 'select upper(t)';`
	shapes := []struct {
		name, sql string
		kept      bool
	}{
		{"a plain table", "", true},
		{"foreign keys, a unique constraint, an index and a default", `create table management.plans (name text primary key);
			alter table management.tenants add plan text references management.plans, add unique (name), add made_at timestamptz not null default now();
			create table management.invoices (tenant uuid references management.tenants); create index on management.tenants (fly_app)`, true},
		{"a trigger", "create trigger touched before update on management.tenants for each row execute function management.touched()", false},
		{"a deferred trigger", "create constraint trigger touched after update on management.tenants deferrable initially deferred for each row execute function management.touched()", false},
		{"a CHECK constraint", "alter table management.tenants add check (set_config('application_name', password_hash, false) is not null)", false},
		{"a generated column", "alter table management.tenants add loud text generated always as (management.shout(name)) stored", false},
		{"an index on an expression", "create index on management.tenants (management.shout(password_hash))", false},
		{"a partial index", "create index on management.tenants (name) where management.shout(password_hash) is not null", false},
		{"a type of its own", "create type management.app as enum ('a', 'b'); alter table management.tenants alter fly_app type management.app using fly_app::management.app", false},
		{"row security", "alter table management.tenants enable row level security; create policy p on management.tenants using (true)", false},
		{"a partition", `alter table management.tenants rename to parted; alter table management.parted drop constraint tenants_pkey;
			create table management.tenants (like management.parted); insert into management.tenants select * from management.parted; drop table management.parted;
			create table management.parted (like management.tenants) partition by list (name); alter table management.parted attach partition management.tenants default;
			grant select, update (password_hash) on management.tenants to tenant_credentials_hash`, false},
	}
	onEachVersion(t, func(t *testing.T, platform *fixture) {
		for _, shape := range shapes {
			t.Run(shape.name, func(t *testing.T) {
				f := newFixture(t, platform.version)
				one, err := Connect(t.Context(), Config{URL: credential.SecretOf(f.operatorURL()), MaxConnections: 1})
				require.NoError(t, err)
				defer one.Close()
				f.server = one
				id, _ := f.adoptedTenant()
				f.exec(onBoth + shape.sql)

				f.open(id, 1)
				before := f.operatorBackend()
				f.rotate(id, 1)
				if shape.kept {
					require.Equal(t, before, f.operatorBackend())
				} else {
					require.NotEqual(t, before, f.operatorBackend())
				}
				require.NoError(t, f.complete(t.Context(), id, "uid", 1))
			})
		}
	})
}

// operatorBackend is the process of the operator's one connection, which a call of it makes sure that there is.
func (f *fixture) operatorBackend() (pid int) {
	f.t.Helper()
	require.NoError(f.t, f.server.pool.QueryRow(f.t.Context(), "select pg_backend_pid()").Scan(&pid))
	return pid
}
