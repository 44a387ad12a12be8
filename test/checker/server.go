package checker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// tenant is a tenant as PostgreSQL has it, with the objects that name it.
type tenant struct {
	environment Environment
	id          string
	inTable     bool // has a row in the management table

	role, database, app string
	roleExists          bool
	verifier            string // pg_authid.rolpassword of the login in use
	open                string // a login that is not in use, and could be; "" = none
	hash                string // the hash in the management table

	claim     *claim
	rotations []rotation  // by revision
	adoptions []time.Time // in their order

	objects []*object
}

type claim struct {
	role, app, uid             string
	generation                 int64
	verifierDigest, hashDigest string
}

type rotation struct {
	revision, generation       int64
	state, cause               string
	verifierDigest, hashDigest string
	login                      string
	app, secretVersion, digest string
	openedAt                   time.Time
	committedAt, completedAt   *time.Time // nil = not yet
}

// concerned says whether the operator has, or is asked to have, anything to do with the tenant.
func (t *tenant) concerned() bool {
	return t.claim != nil || len(t.rotations) > 0 || len(t.objects) > 0
}

// label names the tenant in a sentence.
func (t *tenant) label() string {
	if o := t.holder(); o != nil {
		return t.id + " (" + o.name() + ")"
	}
	return t.id
}

// last is the newest rotation that is in force, nil = none was ever made.
func (t *tenant) last() *rotation {
	for _, r := range slices.Backward(t.rotations) {
		if r.state == "committed" || r.state == "rolled" || r.state == "completed" {
			return &r
		}
	}
	return nil
}

// login is the one in use: the role, or its second login, whose name is the role's with _b.
func (t *tenant) login() string {
	if last := t.last(); last != nil && last.login == t.role+"_b" {
		return last.login
	}
	return t.role
}

func (t *tenant) completed() int {
	count := 0
	for _, r := range t.rotations {
		if r.state == "completed" {
			count++
		}
	}
	return count
}

// holder is the object that holds the tenant's claim.
func (t *tenant) holder() *object {
	for _, o := range t.objects {
		if t.claim != nil && t.claim.uid == o.Metadata.UID {
			return o
		}
	}
	return nil
}

// connect logs in without ever repeating the URL in an error.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	if _, err := pgx.ParseConfig(url); err != nil {
		return nil, errors.New("the URL cannot be parsed")
	}
	connection, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("the login failed: %s", sqlState(err))
	}
	return connection, nil
}

// sqlState is what may be said about a driver's error.
func sqlState(err error) string {
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return "SQLSTATE " + p.Code
	}
	return "no answer from the server"
}

// readServer returns every tenant that the management table or the ledger knows.
func readServer(ctx context.Context, e Environment) ([]*tenant, error) {
	connection, err := connect(ctx, e.SuperuserURL)
	if err != nil {
		return nil, err
	}
	defer connection.Close(ctx) //nolint:errcheck // it has only read
	tenants := map[string]*tenant{}
	of := func(id string) *tenant {
		if tenants[id] == nil {
			tenants[id] = &tenant{environment: e, id: id}
			tenants[id].derive(nil, nil, nil)
		}
		return tenants[id]
	}
	for _, read := range []func(context.Context, *pgx.Conn, Environment, func(string) *tenant) error{
		readManagement, readClaims, readRotations, readAdoptions,
	} {
		if err := read(ctx, connection, e, of); err != nil {
			return nil, err
		}
	}
	if err := readRoles(ctx, connection, tenants); err != nil {
		return nil, err
	}
	ordered := slices.Collect(maps.Values(tenants))
	slices.SortFunc(ordered, func(a, b *tenant) int { return strings.Compare(a.id, b.id) })
	return ordered, nil
}

// derive sets the tenant's names: an override column's value, or else prefix and the first eight digits of the ID.
func (t *tenant) derive(role, database, app *string) {
	name := func(override *string, prefix string) string {
		if override != nil && *override != "" {
			return *override
		}
		return prefix + t.id[:8]
	}
	t.role = name(role, t.environment.Naming.RolePrefix)
	t.database = name(database, t.environment.Naming.DatabasePrefix)
	t.app = name(app, t.environment.Naming.FlyAppPrefix)
}

func readManagement(ctx context.Context, connection *pgx.Conn, e Environment, of func(string) *tenant) error {
	column := func(name string) string {
		if name == "" {
			return "NULL::text"
		}
		return pgx.Identifier{name}.Sanitize() + "::text"
	}
	n := e.Naming
	rows, err := connection.Query(ctx, fmt.Sprintf("SELECT %s, coalesce(%s, ''), %s, %s, %s FROM %s", column(n.ID), column(n.PasswordHash),
		column(n.Role), column(n.Database), column(n.FlyApp), pgx.Identifier(strings.Split(n.Table, ".")).Sanitize()))
	if err != nil {
		return fmt.Errorf("the management table cannot be read: %s", sqlState(err))
	}
	var id, hash string
	var role, database, app *string
	_, err = pgx.ForEachRow(rows, []any{&id, &hash, &role, &database, &app}, func() error {
		t := of(id)
		t.inTable, t.hash = true, hash
		t.derive(role, database, app)
		return nil
	})
	return translate("the management table", err)
}

func readClaims(ctx context.Context, connection *pgx.Conn, _ Environment, of func(string) *tenant) error {
	rows, _ := connection.Query(ctx, `SELECT tenant_id::text, role, fly_app, uid, generation,
		coalesce(encode(verifier_digest, 'hex'), ''), coalesce(encode(hash_digest, 'hex'), '') FROM tenant_credentials.claims`)
	var id string
	var c claim
	_, err := pgx.ForEachRow(rows, []any{&id, &c.role, &c.app, &c.uid, &c.generation, &c.verifierDigest, &c.hashDigest}, func() error {
		copied := c
		of(id).claim = &copied
		return nil
	})
	return translate("the table of claims", err)
}

func readRotations(ctx context.Context, connection *pgx.Conn, _ Environment, of func(string) *tenant) error {
	rows, _ := connection.Query(ctx, `SELECT tenant_id::text, revision, generation, state, cause,
		coalesce(encode(verifier_digest, 'hex'), ''), coalesce(encode(hash_digest, 'hex'), ''),
		coalesce(login, role), coalesce(fly_app, ''), coalesce(fly_secret_version::text, ''), coalesce(fly_secret_digest, ''),
		opened_at, committed_at, completed_at
		FROM tenant_credentials.rotations ORDER BY tenant_id, revision`)
	var id string
	var r rotation
	_, err := pgx.ForEachRow(rows, []any{&id, &r.revision, &r.generation, &r.state, &r.cause, &r.verifierDigest, &r.hashDigest,
		&r.login, &r.app, &r.secretVersion, &r.digest, &r.openedAt, &r.committedAt, &r.completedAt}, func() error {
		of(id).rotations = append(of(id).rotations, r)
		return nil
	})
	return translate("the ledger", err)
}

func readAdoptions(ctx context.Context, connection *pgx.Conn, _ Environment, of func(string) *tenant) error {
	rows, _ := connection.Query(ctx, "SELECT tenant_id::text, adopted_at FROM tenant_credentials.adoptions ORDER BY adopted_at")
	var id string
	var at time.Time
	_, err := pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		of(id).adoptions = append(of(id).adoptions, at)
		return nil
	})
	return translate("the table of adoptions", err)
}

func readRoles(ctx context.Context, connection *pgx.Conn, tenants map[string]*tenant) error {
	byRole := map[string][]*tenant{}
	for _, t := range tenants {
		byRole[t.role] = append(byRole[t.role], t)
	}
	rows, _ := connection.Query(ctx, `SELECT r.rolname, l.rolname, coalesce(l.rolpassword, ''), l.rolcanlogin OR l.rolpassword IS NOT NULL
		FROM pg_catalog.pg_authid r JOIN pg_catalog.pg_authid l ON l.oid = r.oid OR l.rolname = r.rolname || '_b'
			AND EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.roleid = r.oid AND m.member = l.oid)
		WHERE r.rolname = ANY ($1)`, slices.Collect(maps.Keys(byRole)))
	var role, login, verifier string
	var open bool
	_, err := pgx.ForEachRow(rows, []any{&role, &login, &verifier, &open}, func() error {
		for _, t := range byRole[role] {
			t.roleExists = true
			switch {
			case login == t.login():
				t.verifier = verifier
			case open:
				t.open = login
			}
		}
		return nil
	})
	return translate("pg_authid", err)
}

func translate(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s cannot be read: %s", what, sqlState(err))
	}
	return nil
}
