package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// database is one environment's PostgreSQL server.
type database struct {
	environment string
	server      *pgserver.Server
	superuser   string // URL of the superuser in the management database
	operator    string // URL of the operator's login
	gateway     string // URL of the endpoint's login
	passwords   map[string]credential.Secret
}

const operatorLogin = "tcred_operator"

// talkative is a server that writes down everything that it can, so that a password which it was told would be found. Both modules come with
// Debian's package and with npm's. The settings that write down verifiers are left out, as the README says: auto_explain.log_nested_statements
// and pg_stat_statements.track = all.
var talkative = map[string]string{
	"max_connections":                   "300",
	"shared_preload_libraries":          "pg_stat_statements,auto_explain",
	"log_statement":                     "all",
	"log_parameter_max_length":          "-1",
	"log_parameter_max_length_on_error": "-1",
	"log_min_error_statement":           "debug5",
	"log_min_messages":                  "notice",
	"log_error_verbosity":               "verbose",
	"log_min_duration_statement":        "0",
	"log_lock_waits":                    "on",
	"deadlock_timeout":                  "100ms",
	"log_connections":                   "on",
	"log_disconnections":                "on",
	"auto_explain.log_min_duration":     "0",
	"auto_explain.log_verbose":          "on",
	"auto_explain.log_analyze":          "on",
	"ssl":                               "on",
}

// quiet is a server that measures: it counts statements, logs none, and waits for the disk.
var quiet = map[string]string{
	"max_connections":          "300",
	"shared_preload_libraries": "pg_stat_statements",
	"fsync":                    "on",
	"full_page_writes":         "on",
	"ssl":                      "on",
}

func (s *supervisor) settings() map[string]string {
	if s.quiet {
		return quiet
	}
	return talkative
}

// rules are those of pg_hba.conf, as docs/external-access.md has them: the inside is 127.0.0.1. A client that binds itself to another address of
// the loopback interface comes from outside.
const rules = `host    all all                         127.0.0.1/32 scram-sha-256
hostssl all +tenant_credentials_external 0.0.0.0/0    scram-sha-256
`

// startDatabase starts a server and makes what the platform has: the management table, the tenants' roles and databases, and a login
// for the operator that may do nothing yet.
func startDatabase(ctx context.Context, environment, folder string, settings map[string]string, authority pgserver.Authority) (*database, error) {
	certificate, key, err := authority.Issue("127.0.0.1")
	if err != nil {
		return nil, err
	}
	server, err := pgserver.Start(ctx, pgserver.Options{Version: "15", Dir: folder, Settings: settings,
		Files: map[string]string{"pg_hba.conf": rules, "server.crt": certificate, "server.key": key}})
	if err != nil {
		return nil, err
	}
	d := &database{environment: environment, server: server, passwords: map[string]credential.Secret{}}
	return d, d.provision(ctx)
}

func (d *database) provision(ctx context.Context) error {
	if err := execute(ctx, d.server.SuperuserURL(), "CREATE DATABASE platform"); err != nil {
		return err
	}
	d.superuser = strings.Replace(d.server.SuperuserURL(), "/postgres?", "/platform?", 1)
	operator := rand.Text()
	d.operator = d.server.URL(operatorLogin, operator, "platform")
	gateway := rand.Text()
	d.gateway = d.server.URL(gatewayLogin, gateway, "platform")
	statements := []string{
		"CREATE ROLE " + operatorLogin + " LOGIN PASSWORD '" + operator + "'",
		"CREATE ROLE " + gatewayLogin + " LOGIN PASSWORD '" + gateway + "'",
		"CREATE EXTENSION pg_stat_statements",
		"CREATE SCHEMA management",
		`CREATE TABLE management.tenants (id uuid PRIMARY KEY, name text NOT NULL, password_hash text NOT NULL,
			db_role text, db_name text, fly_app text, owner uuid)`,
	}
	for _, t := range in(d.environment) {
		password := credential.NewPassword()
		verifier, err := credential.Verifier(password)
		if err != nil {
			return err
		}
		d.passwords[t.name] = password
		statements = append(statements,
			fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", t.role(), verifier),
			fmt.Sprintf("CREATE DATABASE %s OWNER %s", t.database(), t.role()),
			fmt.Sprintf("INSERT INTO management.tenants (id, name, password_hash, owner) VALUES ('%s', '%s', '%s', '%s')", t.id, t.name, verifier, t.owner()))
	}
	return execute(ctx, d.superuser, statements...)
}

func execute(ctx context.Context, url string, statements ...string) error {
	connection, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer connection.Close(ctx)
	for _, statement := range statements {
		if _, err := connection.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s …: %w", statement[:min(len(statement), 24)], err)
		}
	}
	return nil
}

// url is the tenant's DATABASE_URL.
func (d *database) url(t tenant) string {
	destination := credential.Destination{Host: "127.0.0.1", Port: int32(d.server.Port), Role: t.role(), Database: t.database(), Scheme: "postgresql"}
	return destination.URL(t.role(), d.passwords[t.name]).Reveal()
}
