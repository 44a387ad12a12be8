package postgres

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// site is a server of a platform on which nothing has been installed yet: the roles are the server's, so no other test may share it.
type site struct {
	t      *testing.T
	server *pgserver.Server
}

func newSite(t *testing.T, version string) *site {
	t.Helper()
	server, err := pgserver.Start(t.Context(), pgserver.Options{Version: version})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	s := &site{t, server}
	s.exec("postgres", "create role tcred_operator login", "create role tenant_7dd06cd6 login", "create database platform", "create database other")
	for _, database := range []string{"platform", "other"} {
		s.exec(database, managementTable, "insert into management.tenants (id, name, password_hash) values ('7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01', 'acme', '')")
	}
	return s
}

func onEachSite(t *testing.T, test func(t *testing.T, s *site)) {
	t.Helper()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) { test(t, newSite(t, version)) })
	}
}

func (s *site) url(database string) string {
	return strings.Replace(s.server.SuperuserURL(), "/postgres?", "/"+database+"?", 1)
}

func (s *site) exec(database string, statements ...string) {
	s.t.Helper()
	connection, err := pgx.Connect(s.t.Context(), s.url(database))
	require.NoError(s.t, err)
	defer connection.Close(context.Background())
	for _, statement := range statements {
		_, err := connection.Exec(s.t.Context(), statement)
		require.NoError(s.t, err, statement)
	}
}

func (s *site) read(database, query string) (answer string) {
	s.t.Helper()
	connection, err := pgx.Connect(s.t.Context(), s.url(database))
	require.NoError(s.t, err)
	defer connection.Close(context.Background())
	require.NoError(s.t, connection.QueryRow(s.t.Context(), query).Scan(&answer))
	return answer
}

func installation() Installation {
	return Installation{OperatorLogin: "tcred_operator", Settings: Settings{
		Schema: "management", Table: "tenants", ColumnID: "id", ColumnPasswordHash: "password_hash",
		RolePrefix: "tenant_", DatabasePrefix: "site_", FlyAppPrefix: "sp-",
	}}
}

// script runs what install-sql --print prints as its head says, and returns what psql says.
func (s *site) script(database string, i Installation) (string, error) {
	s.t.Helper()
	var text bytes.Buffer
	require.NoError(s.t, Script(&text, i))
	command := exec.CommandContext(s.t.Context(), "psql", s.url(database), "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "-f", "-")
	command.Stdin = &text
	said, err := command.CombinedOutput()
	return string(said), err
}

// catalogue is all that an installation makes or changes: relations with their columns, constraints, indexes and triggers, functions, roles, memberships,
// settings of roles, and rights.
const catalogue = `with schemas as (select oid, nspname, nspowner, nspacl from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema')
select string_agg(line, e'\n' order by line collate "C") from (
	select concat_ws(' ', 'schema', nspname, nspowner::regrole, nspacl) from schemas
	union all select concat_ws(' ', 'function', pg_get_functiondef(p.oid), p.proowner::regrole, p.proacl) from pg_proc p join schemas n on n.oid = p.pronamespace
	union all select concat_ws(' ', 'relation', c.oid::regclass, c.relkind, c.relowner::regrole, c.relacl) from pg_class c where c.relnamespace in (select oid from schemas) or c.oid = 'pg_authid'::regclass
	union all select concat_ws(' ', 'column', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attacl, pg_get_expr(d.adbin, d.adrelid))
	  from pg_class c join schemas n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum where a.attnum > 0
	union all select concat_ws(' ', 'constraint', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid)) from pg_constraint k join schemas n on n.oid = k.connamespace
	union all select concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid)) from pg_index i join pg_class c on c.oid = i.indrelid join schemas n on n.oid = c.relnamespace
	union all select concat_ws(' ', 'trigger', pg_get_triggerdef(g.oid)) from pg_trigger g join pg_class c on c.oid = g.tgrelid join schemas n on n.oid = c.relnamespace where not g.tgisinternal
	union all select concat_ws(' ', 'role', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls) from pg_roles where rolname !~ '^pg_'
	union all select concat_ws(' ', 'member', to_jsonb(m) - 'oid' - 'roleid' - 'member', m.roleid::regrole, m.member::regrole) from pg_auth_members m
	union all select concat_ws(' ', 'parameter', parname, paracl) from pg_parameter_acl
	union all select concat_ws(' ', 'default', defaclrole::regrole, defaclacl) from pg_default_acl
	union all select concat_ws(' ', 'setting', setrole::regrole, datname, setconfig) from pg_db_role_setting left join pg_database d on d.oid = setdatabase
) as lines (line)`

// ledgerVersions are the rows of goose's table.
const ledgerVersions = `select string_agg(concat_ws(' ', id, version_id, is_applied), ', ' order by id) from tenant_credentials.goose_db_version`

// ways are the two ways to install the ledger. Each returns what is said where it fails.
var ways = map[string]func(s *site, database string, i Installation) (said string, err error){
	"install-sql": func(s *site, database string, i Installation) (string, error) {
		err := Install(s.t.Context(), s.url(database), i)
		if err != nil {
			return failure.As(err).Detail, err
		}
		return "", nil
	},
	"psql": func(s *site, database string, i Installation) (string, error) { return s.script(database, i) },
}

// One way makes what the other makes, and finds nothing to do after it.
func TestTheScriptDoesWhatInstallDoes(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			direct, printed := newSite(t, version), newSite(t, version)
			i := installation()
			i.Settings.RolePrefix = `it's \ a_`
			require.NoError(t, Install(t.Context(), direct.url("platform"), i))
			said, err := printed.script("platform", i)
			require.NoError(t, err, said)

			made := direct.read("platform", catalogue)
			require.Equal(t, made, printed.read("platform", catalogue))
			require.Equal(t, direct.read("platform", ledgerVersions), printed.read("platform", ledgerVersions))
			for name, install := range ways {
				said, err := install(printed, "platform", i)
				require.NoError(t, err, "%s again: %s", name, said)
				require.Equal(t, made, printed.read("platform", catalogue))
				require.Equal(t, direct.read("platform", ledgerVersions), printed.read("platform", ledgerVersions))
			}
		})
	}
}

// obstacles keep an installation from its end: after some of it is made, or after all of it.
var obstacles = map[string]struct {
	arrange  string // in the database
	database string // "" = platform
	change   func(*Installation)
	says     string
}{
	"a database without the management table": {database: "postgres", says: "Table management.tenants does not exist."},
	"no login of the operator's":              {change: func(i *Installation) { i.OperatorLogin = "missing" }, says: "Role missing, the operator's login, does not exist."},
	"a column that there is not":              {change: func(i *Installation) { i.Settings.ColumnRole = "db_rolle" }, says: "Table management.tenants has no column db_rolle"},
	"a constraint on the hash": {arrange: "alter table management.tenants add constraint bcrypt check (password_hash like '$2%') not valid",
		says: "constraint bcrypt does not let a SCRAM-SHA-256 verifier in"},
	"a schema of the name": {arrange: "create schema tenant_credentials", says: "permission denied for schema tenant_credentials"},
}

func TestAFailedInstallationLeavesNothing(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		for name, obstacle := range obstacles {
			for way, install := range ways {
				t.Run(name+" "+way, func(t *testing.T) {
					s := &site{t, s.server}
					database, i := "platform", installation()
					if obstacle.database != "" {
						database = obstacle.database
					}
					if obstacle.change != nil {
						obstacle.change(&i)
					}
					s.exec(database, obstacle.arrange)
					before := s.read(database, catalogue)
					said, err := install(s, database, i)
					require.Error(t, err)
					require.Contains(t, said, obstacle.says)
					require.Equal(t, before, s.read(database, catalogue))
					s.exec("platform", "drop schema if exists tenant_credentials cascade", "alter table management.tenants drop constraint if exists bcrypt")
				})
			}
		}
		require.NoError(t, Install(t.Context(), s.url("platform"), installation()))
		for way, install := range ways {
			before := s.read("other", catalogue)
			said, err := install(s, "other", installation())
			require.Error(t, err)
			require.Contains(t, said, "Database platform of this server has a ledger for roles that begin with 'tenant_', too", way)
			require.Equal(t, before, s.read("other", catalogue))
		}
	})
}

// A failed upgrade leaves the ledger as it was; one that succeeds goes on from the present version.
func TestUpgrade(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		require.NoError(t, Install(t.Context(), s.url("platform"), installation()))
		made, versions := s.read("platform", catalogue), s.read("platform", ledgerVersions)
		older := []string{"drop table tenant_credentials.external_access",
			"drop function tenant_credentials.external_member, tenant_credentials.external_roles, tenant_credentials.external_json, tenant_credentials.end_external_access, tenant_credentials.set_external_access, tenant_credentials.sweep_external_access",
			"drop function tenant_credentials.hba_rules, tenant_credentials.hba_covers, tenant_credentials.hba_names, tenant_credentials.outside_sessions, tenant_credentials.external_problem",
			"drop function tenant_credentials.configure, tenant_credentials.prepare_overlap, tenant_credentials.worded, tenant_credentials.require_no_problem, tenant_credentials.require_ordinary, tenant_credentials.carry_over, tenant_credentials.setting_literal",
			"delete from tenant_credentials.goose_db_version where version_id > 7"}
		for way, install := range ways {
			s.exec("platform", older...)
			before := s.read("platform", catalogue)
			wrong := installation()
			wrong.Settings.ColumnRole = "db_rolle"
			said, err := install(s, "platform", wrong)
			require.Error(t, err, way)
			require.Contains(t, said, "has no column db_rolle")
			require.Equal(t, before, s.read("platform", catalogue))

			said, err = install(s, "platform", installation())
			require.NoError(t, err, "%s: %s", way, said)
			require.Equal(t, made, s.read("platform", catalogue))
			require.Len(t, strings.Split(s.read("platform", ledgerVersions), ", "), len(strings.Split(versions, ", ")))
		}
		s.exec("platform", "insert into tenant_credentials.goose_db_version (version_id, is_applied) values (99, true)")
		for way, install := range ways {
			said, err := install(s, "platform", installation())
			require.Error(t, err, way)
			require.Contains(t, said, "The ledger has version 99, and this program installs version")
			require.Equal(t, made, s.read("platform", catalogue))
		}
	})
}

// Installations at the same time, in one database and in two of a server, wait for each other.
func TestInstallationsAtTheSameTime(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		var all errgroup.Group
		for n := range 6 {
			database, i := "platform", installation()
			if n%2 == 1 {
				database, i.Settings.RolePrefix = "other", "customer_"
			}
			all.Go(func() error { return Install(t.Context(), s.url(database), i) })
		}
		require.NoError(t, all.Wait())
		require.Equal(t, s.read("platform", ledgerVersions), s.read("other", ledgerVersions))
	})
}

// The remedy of a first installation may be a right of a role that the end of the installation has taken away again.
func TestARemedyForARoleThatIsNotThereYet(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		s.exec("platform", "alter table management.tenants enable row level security; create policy others on management.tenants to pg_monitor using (true)")
		said, err := ways["install-sql"](s, "platform", installation())
		require.Error(t, err)
		_, said, _ = strings.Cut(said, "Role tenant_credentials_hash does not exist yet: ")
		role, said, _ := strings.Cut(said, ", and then mend this. ")
		_, policy, _ := strings.Cut(said, ": ")
		s.exec("platform", role, strings.TrimSuffix(policy, "."))
		require.NoError(t, Install(t.Context(), s.url("platform"), installation()))
	})
}

// An installation in the middle of a rotation does not wait for it: the row that the rotation holds is not the one that is tried.
func TestAnInstallationWhileATenantRotates(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		revision := f.open(id, 1).Revision
		require.NoError(t, f.server.InTransaction(t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
			if err := tx.Stage(ctx, Staging{Revision: revision, Verifier: f.verifier(credential.NewPassword()), LoginChecked: true}); err != nil {
				return err
			}
			if err := Install(ctx, f.dbaURL(), f.installation()); err != nil {
				return err
			}
			return tx.Commit(ctx, FlyWrite{})
		}))
		require.Equal(t, StateCommitted, f.observe(id).Last.State)
	})
}
