package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// tableShapes are management tables that keep a rotation from its work: how they come about, and the message about them. The statement at its end
// fixes the table.
var tableShapes = map[string]struct {
	made  string
	says  string
	mend  string // "" = what is said after the last colon
	tried bool   // it shows when a row is tried, and not before
}{
	"an id that is no UUID": {
		made: "alter table management.tenants drop constraint tenants_pkey; alter table management.tenants alter id type bytea using id::text::bytea",
		says: "Column id of management.tenants is of type bytea, and the tenants' IDs are UUIDs, as uuid or text.",
		mend: "alter table management.tenants alter id type uuid using convert_from(id, 'UTF8')::uuid",
	},
	"a hash of another type": {
		made: "alter table management.tenants alter password_hash type bytea using password_hash::bytea",
		says: "Column password_hash of management.tenants is of type bytea, and a SCRAM-SHA-256 verifier is a text of 133 characters: ALTER TABLE management.tenants ALTER COLUMN password_hash TYPE text.",
		mend: "alter table management.tenants alter password_hash type text using convert_from(password_hash, 'UTF8')",
	},
	"a hash that is too short": {
		made: "update management.tenants set password_hash = ''; alter table management.tenants alter password_hash type varchar(132)",
		says: "Column password_hash of management.tenants is of type character varying(132), and a SCRAM-SHA-256 verifier is a text of 133 characters: ALTER TABLE management.tenants ALTER COLUMN password_hash TYPE text.",
	},
	"a column that is missing": {
		made: "alter table management.tenants rename fly_app to app",
		says: "Table management.tenants has no column fly_app: name those that it has in spec.management.columns, and run manager install-sql.",
		mend: "alter table management.tenants rename app to fly_app",
	},
	"row security": {
		made: "alter table management.tenants enable row level security; create policy others on management.tenants to pg_monitor using (true)",
		says: "Row security hides table management.tenants from the operator: CREATE POLICY tenant_credentials ON management.tenants TO tenant_credentials_hash USING (true).",
	},
	"a view of two tables": {
		made: `alter table management.tenants rename to kept; create table management.names (id uuid, name text);
			insert into management.names select id, name from management.kept;
			create view management.tenants as select k.* from management.kept k join management.names n using (id);
			grant select, update on management.tenants to tenant_credentials_hash`,
		says: "Relation management.tenants cannot be updated: name the table itself in spec.management, or give the view an INSTEAD OF UPDATE trigger.",
		mend: `create function management.write() returns trigger language plpgsql as $$ begin
				update management.kept set password_hash = new.password_hash where id = new.id; return new; end $$;
			grant select, update on management.kept to tenant_credentials_hash;
			create trigger write instead of update on management.tenants for each row execute function management.write()`,
	},
	"a view whose rows cannot be locked": {
		made: `alter table management.tenants rename to kept; create table management.names (id uuid, name text);
			create view management.tenants as select k.* from management.kept k left join management.names n using (id);
			create function management.write() returns trigger language plpgsql as $$ begin return new; end $$;
			grant select, update on management.tenants to tenant_credentials_hash;
			create trigger write instead of update on management.tenants for each row execute function management.write()`,
		says: "Relation management.tenants cannot be locked row by row (SQLSTATE 0A000): name the table itself in spec.management.",
		mend: "drop view management.tenants; alter table management.kept rename to tenants", tried: true,
	},
	"published without a key": {
		made: "alter table management.tenants drop constraint tenants_pkey; create publication everything for all tables",
		says: "Table management.tenants is published and has no replica identity, so it cannot be updated: ALTER TABLE management.tenants ADD PRIMARY KEY (id), or REPLICA IDENTITY FULL.",
		mend: "alter table management.tenants replica identity full",
	},
	"a constraint": {
		made: "alter table management.tenants add constraint bcrypt check (password_hash like '$2%') not valid",
		says: "Table management.tenants refused the new hash: constraint bcrypt does not let a SCRAM-SHA-256 verifier in (SQLSTATE 23514): ALTER TABLE management.tenants DROP CONSTRAINT bcrypt; " +
			"or name another column in spec.management.columns.passwordHash.",
		mend: "alter table management.tenants drop constraint bcrypt", tried: true,
	},
	"a trigger without a right": {
		made: `create schema audit; create table audit.log (id uuid);
			create function audit.note() returns trigger language plpgsql as $$ begin insert into audit.log values (new.id); return null; end $$;
			create trigger note after update on management.tenants for each row execute function audit.note()`,
		says: "Table management.tenants refused the new hash: function 'audit.note', which a trigger of the table calls, lacks a right. It runs as tenant_credentials_hash: GRANT that role what the function uses.",
		mend: "grant usage on schema audit to tenant_credentials_hash; grant insert on audit.log to tenant_credentials_hash", tried: true,
	},
	"a trigger that raises": {
		made: `create function management.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
			create trigger refuse before update on management.tenants for each row execute function management.refuse()`,
		says: "Table management.tenants refused the new hash: SQLSTATE P0001 of function 'management.refuse', which a trigger of the table calls.",
		mend: "drop trigger refuse on management.tenants", tried: true,
	},
}

// An obstacle is reported before a rotation meets it: at installation, by the environment's look, or by trying one row; and once it is fixed as
// reported, a tenant is rotated.
func TestTheManagementTableIsTriedBeforeItIsTrusted(t *testing.T) {
	for name, shape := range tableShapes {
		t.Run(name, func(t *testing.T) {
			onEachVersion(t, func(t *testing.T, f *fixture) {
				id, _ := f.adoptedTenant()
				require.Empty(t, f.problem(t))
				f.exec(shape.made)
				require.Equal(t, shape.says, f.problem(t))
				step := "writing the settings and grants"
				if shape.tried {
					step = "trying the management table"
				}
				e := requireFailure(t, Install(t.Context(), f.dbaURL(), f.installation()), failure.Stall, reasons.Rejected)
				require.Equal(t, "Nothing was changed in database "+f.database+", because "+step+" failed. A rotation would fail. "+shape.says, e.Detail)
				survey, err := f.server.Survey(t.Context())
				require.NoError(t, err)
				require.Equal(t, shape.tried, survey.Problem == "")

				mend := shape.mend
				if mend == "" {
					mend = strings.TrimSuffix(shape.says[strings.LastIndex(shape.says, ": ")+2:], ".")
				}
				f.exec(mend)
				require.NoError(t, Install(t.Context(), f.dbaURL(), f.installation()))
				require.Empty(t, f.problem(t))
				f.rotate(id, f.open(id, 1).Revision)
				require.Equal(t, f.observe(id).VerifierDigest, f.observe(id).HashDigest)
			})
		})
	}
}

func (f *fixture) problem(t *testing.T) string {
	t.Helper()
	problem, err := f.server.TryManagement(t.Context())
	require.NoError(t, err)
	return problem
}

// IDs may be texts, in small letters or in capitals.
func TestTextIDs(t *testing.T) {
	for name, change := range map[string]string{
		"text":               "alter table management.tenants alter id type text using id::text",
		"varchar, capitals":  "alter table management.tenants alter id type varchar(36) using upper(id::text)",
		"character of fixed": "alter table management.tenants alter id type char(36) using id::text",
	} {
		t.Run(name, func(t *testing.T) {
			onEachVersion(t, func(t *testing.T, f *fixture) {
				id, _ := f.newTenant()
				f.exec(change)
				require.Empty(t, f.problem(t))
				_, err := f.server.Adopt(t.Context(), adoptionOf(id, "uid"))
				require.NoError(t, err)
				f.rotate(id, f.open(id, 1).Revision)
				require.Equal(t, f.observe(id).VerifierDigest, f.observe(id).HashDigest)
				require.Equal(t, 1, one[int](f, "select count(*)::int from management.tenants where lower(id::text) = $1 and password_hash like 'SCRAM%'", id))
			})
		})
	}
}

// A tenant with two rows is neither of them.
func TestATenantWithTwoRows(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		other, _ := f.adoptedTenant()
		f.exec("alter table management.tenants drop constraint tenants_pkey")
		f.exec("insert into management.tenants (id, name, password_hash, db_role) values ($1, 'again', '', $2)", id, f.prefix+"elsewhere")
		says := "Table management.tenants has 2 rows for the tenant. Delete all but one, and so that it stays so: ALTER TABLE management.tenants ADD PRIMARY KEY (id)"
		require.Equal(t, says, f.observe(id).RoleViolation)
		require.Empty(t, f.observe(other).RoleViolation)
		_, err := f.server.Adopt(t.Context(), Adoption{TenantID: id, UID: "next", Cluster: "c1", ReplacesUID: "uid"})
		require.Equal(t, says, requireFailure(t, err, failure.Stall, reasons.RoleNotAllowed).Detail)
		f.rotate(other, f.open(other, 1).Revision)

		f.exec("delete from management.tenants where id = $1 and name = 'again'", id)
		f.exec("alter table management.tenants add primary key (id)")
		f.rotate(id, f.open(id, 1).Revision)
	})
}

// The management table may be another server's.
func TestTheManagementTableOnAnotherServer(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.newTenant()
		elsewhere := sharedServer(t, map[string]string{"15": "18", "18": "15"}[f.version])
		f.moveTableTo(t, elsewhere)
		require.Contains(t, f.problem(t), "CREATE USER MAPPING FOR tenant_credentials_hash SERVER platform OPTIONS (…).")
		f.exec("create user mapping for tenant_credentials_hash server platform options (user 'hash', password 'hash', password_required 'true')")
		require.NoError(t, Install(t.Context(), f.dbaURL(), f.installation()))
		require.Empty(t, f.problem(t))
		_, err := f.server.Adopt(t.Context(), adoptionOf(id, "uid"))
		require.NoError(t, err)
		f.rotate(id, f.open(id, 1).Revision)
		require.Equal(t, f.observe(id).VerifierDigest, f.observe(id).HashDigest)
	})
}

// moveTableTo puts the management table into a database of another server, and a foreign table in its place.
func (f *fixture) moveTableTo(t *testing.T, elsewhere *pgserver.Server) {
	t.Helper()
	root, err := pgx.Connect(t.Context(), elsewhere.SuperuserURL())
	require.NoError(t, err)
	defer func() { _ = root.Close(context.Background()) }()
	_, err = root.Exec(t.Context(), "create database "+f.database)
	require.NoError(t, err)
	_, err = root.Exec(t.Context(), "do $$ begin create role hash login password 'hash'; exception when duplicate_object then null; end $$")
	require.NoError(t, err)
	there, err := pgx.Connect(t.Context(), strings.Replace(elsewhere.SuperuserURL(), "/postgres?", "/"+f.database+"?", 1))
	require.NoError(t, err)
	defer func() { _ = there.Close(context.Background()) }()
	_, err = there.Exec(t.Context(), "create table tenants (id uuid primary key, name text, password_hash text not null, db_role text, db_name text, fly_app text); grant select, update on tenants to hash")
	require.NoError(t, err)
	f.exec("create extension postgres_fdw")
	f.exec(fmt.Sprintf("create server platform foreign data wrapper postgres_fdw options (host '127.0.0.1', port '%d', dbname '%s')", elsewhere.Port, f.database))
	f.exec("grant usage on foreign server platform to tenant_credentials_hash")
	rows, err := f.dba.Query(t.Context(), "select id::text, name, password_hash, db_name from management.tenants")
	require.NoError(t, err)
	var id, name, hash, database string
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &hash, &database}, func() error {
		_, err := there.Exec(t.Context(), "insert into tenants (id, name, password_hash, db_name) values ($1, $2, $3, $4)", id, name, hash, database)
		return err
	})
	require.NoError(t, err)
	f.exec(`drop table management.tenants;
		create foreign table management.tenants (id uuid, name text, password_hash text, db_role text, db_name text, fly_app text) server platform options (schema_name 'public', table_name 'tenants');
		grant select, update (password_hash) on management.tenants to tenant_credentials_hash`)
}
