package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	machinesOfEach = 4
	loginInterval  = 50 * time.Millisecond
	// busyMachine is the config of a small app, which logs in at this interval.
	busyMachine = `{"image":"registry.fly.io/demo:deployment-1","env":{"PRIMARY_REGION":"fra","LOGIN_INTERVAL":%q},
	"metadata":{"fly_platform_version":"v2","fly_process_group":"app"},"restart":{"policy":"on-failure","max_retries":3},
	"checks":{"health":{"type":"http","port":8080,"method":"get","path":"/health","interval":"15s","timeout":"2s","grace_period":"5s"}}}`
)

// side is one of the two tenants, whose rotations all have the same strategy.
type side struct {
	strategy, id, name string
	view               view           // of Fly
	done               []rotationTime // as the ledger has them
}

type rotationTime struct{ committed, completed time.Time }

func newSide(strategy string) *side {
	id := uuid.NewString()
	s := &side{strategy: strategy, id: id, name: strings.ToLower(strategy) + "-" + id[:8], view: view{app: "sp-" + id[:8]}}
	tenantIDs[s.name] = id
	return s
}

func (s *side) role() string     { return "tenant_" + s.id[:8] }
func (s *side) database() string { return "site_" + s.id[:8] }

// connect lets the superuser into a database; "" is the one with the management table.
func (s *side) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(os.Getenv("PLAYGROUND_SANDBOX_URL"))
	if err != nil {
		return nil, errors.New("PLAYGROUND_SANDBOX_URL cannot be parsed")
	}
	if database != "" {
		config.Database = database
	}
	connection, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, errors.New("PostgreSQL of sandbox does not let its superuser in: " + sqlState(err))
	}
	return connection, nil
}

func (s *side) sql(ctx context.Context, database string, statements ...string) error {
	connection, err := s.connect(ctx, database)
	if err != nil {
		return err
	}
	defer connection.Close(ctx) //nolint:errcheck // nothing is lost
	for _, statement := range statements {
		if _, err := connection.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s …: %s", statement[:min(len(statement), 24)], sqlState(err))
		}
	}
	return nil
}

// make makes what the platform has of a tenant: role, database and row, and an app whose Machines log in all the time.
func (s *side) make(ctx context.Context) (string, error) {
	password := rand.Text()
	if err := s.sql(ctx, "",
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", s.role(), password),
		fmt.Sprintf("CREATE DATABASE %s OWNER %s", s.database(), s.role()),
		fmt.Sprintf("INSERT INTO management.tenants (id, name, password_hash) SELECT '%s', '%s', rolpassword FROM pg_authid WHERE rolname = '%s'", s.id, s.name, s.role())); err != nil {
		return "", err
	}
	if _, err := kubectl(ctx, "", "label", "namespace", "tenants-sandbox", "tenant.credentials.systemprompt.io/"+s.id+"=allowed"); err != nil {
		return "", err
	}
	address := url.URL{Scheme: "postgres", User: url.UserPassword(s.role(), password), Host: "127.0.0.1:" + os.Getenv("PGPORT"), Path: s.database()}
	return fmt.Sprintf("TenantCredential %s, role %s, app %s", s.name, s.role(), s.view.app), s.makeApp(ctx, address.String())
}

func (s *side) makeApp(ctx context.Context, databaseURL string) error {
	app := os.Getenv("FLY_EMULATOR_ADMIN_URL") + "/admin/apps/" + s.view.app
	if err := ask(ctx, http.MethodPut, app, map[string]string{"organization": "example-sandbox", "variable": "DATABASE_URL"}, nil); err != nil {
		return err
	}
	if err := ask(ctx, http.MethodPut, app+"/secrets/DATABASE_URL", map[string]string{"value": databaseURL}, nil); err != nil {
		return err
	}
	for range machinesOfEach {
		config := json.RawMessage(fmt.Sprintf(busyMachine, loginInterval.String()))
		if err := ask(ctx, http.MethodPost, app+"/machines", map[string]any{"state": "started", "config": config}, nil); err != nil {
			return err
		}
	}
	return nil
}

// ask applies the tenant's object with a generation.
func (s *side) ask(ctx context.Context, generation int64) error {
	return apply(ctx, manifest(s.name, generation, "rotation: {strategy: "+s.strategy+"}"))
}

// prove looks at the state when a rotation is completed, and says which login works now.
func (s *side) prove(ctx context.Context) (string, error) {
	former := s.view.url
	if err := s.view.seeFly(ctx); err != nil {
		return "", err
	}
	if former != "" {
		if code := login(ctx, former); code != "SQLSTATE 28P01" {
			return "", fmt.Errorf("what the app had before has to be refused with SQLSTATE 28P01, and the answer is %q", code)
		}
		if err := s.readLedger(ctx); err != nil {
			return "", err
		}
	}
	logins, err := s.proveLogins(ctx)
	if err != nil {
		return "", err
	}
	tables, err := s.proveTables(ctx)
	return logins + "; " + tables, err
}

// readLedger appends the times of the rotation that was completed last.
func (s *side) readLedger(ctx context.Context) error {
	connection, err := s.connect(ctx, "")
	if err != nil {
		return err
	}
	defer connection.Close(ctx) //nolint:errcheck // it has only read
	var last rotationTime
	var revision int
	if err := connection.QueryRow(ctx, `SELECT revision, committed_at, completed_at FROM tenant_credentials.rotations
		WHERE tenant_id = $1 AND state = 'completed' ORDER BY revision DESC LIMIT 1`, s.id).Scan(&revision, &last.committed, &last.completed); err != nil {
		return errors.New("the ledger cannot be read: " + sqlState(err))
	}
	if s.done = append(s.done, last); revision != len(s.done) {
		return fmt.Errorf("revision %d is the last one, after %d rotations", revision, len(s.done))
	}
	return nil
}

// proveLogins asserts that the login which the app uses can log in, and that no other one of the tenant can, or has a password.
func (s *side) proveLogins(ctx context.Context) (string, error) {
	present, err := url.Parse(s.view.url)
	if err != nil {
		return "", errors.New("DATABASE_URL cannot be parsed")
	}
	if code := login(ctx, s.view.url); code != "" {
		return "", errors.New("the app's login is refused: " + code)
	}
	connection, err := s.connect(ctx, "")
	if err != nil {
		return "", err
	}
	defer connection.Close(ctx) //nolint:errcheck // it has only read
	rows, _ := connection.Query(ctx, "SELECT rolname, rolcanlogin, rolpassword IS NOT NULL FROM pg_authid WHERE rolname = ANY ($1) ORDER BY 1", []string{s.role(), s.role() + "_b"})
	var name string
	var may, has bool
	var said []string
	_, err = pgx.ForEachRow(rows, []any{&name, &may, &has}, func() error {
		uses := name == present.User.Username()
		if may != uses || has != uses {
			return fmt.Errorf("login %s: may log in: %t, has a password: %t, and the app uses %s", name, may, has, present.User.Username())
		}
		said = append(said, name+map[bool]string{true: " can log in", false: " is closed"}[uses])
		return nil
	})
	return strings.Join(said, ", "), err
}

// proveTables makes a table as the app does, writes into the earlier ones, and asserts that all belong to the tenant's role.
func (s *side) proveTables(ctx context.Context) (string, error) {
	app, err := pgx.Connect(ctx, s.view.url)
	if err != nil {
		return "", errors.New("the app's login is refused: " + sqlState(err))
	}
	defer app.Close(ctx) //nolint:errcheck // nothing is lost
	if _, err := app.Exec(ctx, fmt.Sprintf("CREATE TABLE made_after_%d (n integer)", len(s.done))); err != nil {
		return "", errors.New("the app cannot make a table: " + sqlState(err))
	}
	for n := range s.done {
		if _, err := app.Exec(ctx, fmt.Sprintf("INSERT INTO made_after_%d VALUES (1)", n)); err != nil {
			return "", errors.New("the app cannot write into a table that it made before: " + sqlState(err))
		}
	}
	var tables, owned int
	if err := app.QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE tableowner = $1) FROM pg_tables WHERE tablename LIKE 'made\\_after\\_%'", s.role()).Scan(&tables, &owned); err != nil {
		return "", errors.New("the app's tables cannot be listed: " + sqlState(err))
	}
	if tables != len(s.done)+1 || owned != tables {
		return "", fmt.Errorf("%d of %d tables of the app belong to %s", owned, tables, s.role())
	}
	return fmt.Sprintf("%d of %d tables belong to %s", owned, tables, s.role()), nil
}

// stopMachines stops the tenant's Machines, waits until they are, and says what their processes have counted in all their lives.
func (s *side) stopMachines(ctx context.Context) (string, error) {
	if err := s.view.seeFly(ctx); err != nil {
		return "", err
	}
	machines := os.Getenv("FLY_FLAPS_BASE_URL") + "/v1/apps/" + s.view.app + "/machines/"
	for _, m := range s.view.machines {
		if err := ask(ctx, http.MethodPost, machines+m.ID+"/stop", nil, nil); err != nil {
			return "", err
		}
		if err := ask(ctx, http.MethodGet, machines+m.ID+"/wait?state=stopped&timeout=60&instance_id="+m.InstanceID, nil, nil); err != nil {
			return "", err
		}
	}
	if err := s.view.seeFly(ctx); err != nil {
		return "", err
	}
	t := s.total()
	return fmt.Sprintf("%d logins, %d failed", t.logins, t.failures), nil
}

// tally counts logins.
type tally struct {
	logins, failures int64
	class            string // of the last failure
}

// total is what all Machines' processes have counted.
func (s *side) total() (t tally) {
	for _, m := range s.view.machines {
		t.logins += m.AppTotal.Logins
		t.failures += m.AppTotal.Failures
		if m.AppTotal.LastError != "" {
			t.class = m.AppTotal.LastError
		}
	}
	return t
}
