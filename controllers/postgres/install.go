package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// versionTable is where goose records which migrations have been installed.
const versionTable = "tenant_credentials.goose_db_version"

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed prelude.sql
var prelude string

//go:embed trial.sql
var trial string

// Install brings the ledger up to date, writes the settings and grants, and tries the management table, in one transaction: where it fails,
// nothing is changed. Doing it again changes nothing. dbaURL is that of a superuser, in the database that holds the management table.
// Stall/Rejected says what is in a rotation's way.
func Install(ctx context.Context, dbaURL string, i Installation) error {
	config, err := parseURL(dbaURL)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	place := cmp.Or(config.Database, config.User)
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return translateInstall(err, place, "connecting")
	}
	defer func() { _ = tx.Rollback() }() // does nothing after COMMIT
	if step, err := install(ctx, tx, i); err != nil {
		return translateInstall(err, place, step)
	}
	if err := tx.Commit(); err != nil {
		return translateInstallCommit(err, place)
	}
	return nil
}

// install says which step has failed.
func install(ctx context.Context, tx *sql.Tx, i Installation) (step string, err error) {
	if _, err := tx.ExecContext(ctx, prelude+installWords()); err != nil {
		return "making the roles and the schema", err
	}
	if err := migrate(ctx, tx); err != nil {
		return "making the ledger", err
	}
	if _, err := tx.ExecContext(ctx, "select tenant_credentials.configure($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
		i.arguments()...); err != nil {
		return "writing the settings and grants", err
	}
	_, err = tx.ExecContext(ctx, trial)
	return "trying the management table", err
}

// migrate runs the migrations that are missing. goose's Provider commits each of them on its own; its Store keeps the account in the one transaction.
func migrate(ctx context.Context, tx *sql.Tx) error {
	store, err := database.NewStore(database.DialectPostgres, versionTable)
	if err != nil {
		return err
	}
	present, err := ledgerVersion(ctx, tx, store)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, refuseNewer); err != nil {
		return err
	}
	all, err := listMigrations()
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.version <= present {
			continue
		}
		if _, err := tx.ExecContext(ctx, m.content); err != nil {
			return err
		}
		if err := store.Insert(ctx, tx, database.InsertRequest{Version: m.version}); err != nil {
			return err
		}
	}
	return nil
}

// ledgerVersion is the newest migration that the database has. Where it has none, goose's table is made, with the 0 that goose begins it with.
func ledgerVersion(ctx context.Context, tx *sql.Tx, store database.Store) (version int64, err error) {
	var exists bool
	if err := tx.QueryRowContext(ctx, "select to_regclass('"+versionTable+"') is not null").Scan(&exists); err != nil {
		return 0, err
	}
	if exists {
		return store.GetLatestVersion(ctx, tx)
	}
	if err := store.CreateVersionTable(ctx, tx); err != nil {
		return 0, err
	}
	return 0, store.Insert(ctx, tx, database.InsertRequest{Version: 0})
}

// refuseNewer keeps an older program from writing its settings into a newer ledger.
var refuseNewer = fmt.Sprintf(`do $$
declare
  present bigint := (select max(version_id) from %[1]s);
begin
  if present > %[2]d then
    raise exception using errcode = 'TC028', message = format('The ledger has version %%s, and this program installs version %[2]d. Run install-sql of the newer program.', present);
  end if;
end
$$;
`, versionTable, LedgerVersion)

// migration is one of the files in migrations/.
type migration struct {
	version       int64
	name, content string
}

// listMigrations returns them in their order.
func listMigrations() ([]migration, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list the migrations: %w", err)
	}
	slices.Sort(names)
	all := make([]migration, len(names))
	for i, name := range names {
		content, err := migrations.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read a migration: %w", err)
		}
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, fmt.Errorf("number of a migration: %w", err)
		}
		all[i] = migration{version, path.Base(name), string(content)}
	}
	return all, nil
}

// translateInstall names the place and the step. The statements of an installation hold no secret, so the server's message is safe to show.
func translateInstall(err error, place, step string) error {
	answer := translate(err)
	text := serverMessage(err)
	if text == "" {
		text = answer.Detail
	}
	if answer.Reason == reasons.CertificateUntrusted {
		text += " To fix: add sslrootcert=<file with the authority's certificate> to DATABASE_URL, or set PGSSLROOTCERT."
	}
	return failure.New(answer.Class, answer.Reason, fmt.Sprintf("Nothing was changed in database %s, because %s failed. %s", place, step, text))
}

// translateInstallCommit knows that an error without an answer of the server may come after the commit.
func translateInstallCommit(err error, place string) error {
	answer := translateCommit(err)
	if answer.Class != failure.Unknown {
		return translateInstall(err, place, "COMMIT")
	}
	return failure.New(answer.Class, answer.Reason, fmt.Sprintf("The answer to COMMIT was lost, so the ledger in database %s may be installed or not. To fix: run install-sql again.", place))
}

// arguments are those of the SQL function configure.
func (i Installation) arguments() []any {
	s := i.Settings
	return []any{
		s.Schema, s.Table, s.ColumnID, s.ColumnPasswordHash, s.ColumnRole, s.ColumnDatabase, s.ColumnFlyApp,
		s.RolePrefix, s.DatabasePrefix, s.FlyAppPrefix, i.OperatorLogin, s.ColumnOwner, i.GatewayLogin,
	}
}

// parseURL reads the DBA's URL without ever repeating it: it may hold a password. The DBA's authentication is the DBA's own affair.
func parseURL(text string) (*pgx.ConnConfig, error) {
	secured, err := withTLS(text, false)
	if err != nil {
		return nil, err
	}
	config, parseErr := pgx.ParseConfig(secured)
	if parseErr != nil {
		return nil, unusableURL()
	}
	return config, nil
}
