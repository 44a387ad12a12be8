package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// tenant is one that a test made for itself, as the platform would make it.
type tenant struct {
	t               *testing.T
	id, name, short string
}

func (x tenant) role() string { return "tenant_" + x.short }
func (x tenant) app() string  { return "sp-" + x.short }

// newTenant makes a row, a role and a database in sandbox, and an app with so many Machines; withoutApp makes none.
func newTenant(t *testing.T, machines ...string) tenant {
	t.Helper()
	x := newRow(t)
	password := "initial" + x.short
	x.sql("CREATE ROLE " + x.role() + " LOGIN PASSWORD '" + password + "'")
	x.sql("CREATE DATABASE site_" + x.short + " OWNER " + x.role())
	x.sql("UPDATE management.tenants SET password_hash = (SELECT rolpassword FROM pg_authid WHERE rolname = '" + x.role() + "') WHERE id = '" + x.id + "'")
	x.bind()
	if len(machines) > 0 {
		x.makeApp(fmt.Sprintf("postgres://%s:%s@127.0.0.1:%s/site_%s", x.role(), password, os.Getenv("PGPORT"), x.short), machines...)
	}
	return x
}

// newRow makes no more than the tenant's row in the management table.
func newRow(t *testing.T) tenant {
	t.Helper()
	id := uuid.NewString()
	x := tenant{t: t, id: id, short: id[:8], name: "t-" + id[:8]}
	x.sql("INSERT INTO management.tenants (id, name, password_hash) VALUES ('" + id + "', '" + x.name + "', '')")
	return x
}

// bind labels the namespace for the tenant.
func (x tenant) bind() {
	x.t.Helper()
	kubectl(x.t, "", "label", "--overwrite", "namespace", "tenants-sandbox", "tenant.credentials.systemprompt.io/"+x.id+"=allowed")
}

func (x tenant) makeApp(url string, machines ...string) {
	x.t.Helper()
	admin(x.t, http.MethodPut, "/admin/apps/"+x.app(), `{"organization":"example-sandbox","variable":"DATABASE_URL"}`, nil)
	admin(x.t, http.MethodPut, "/admin/apps/"+x.app()+"/secrets/DATABASE_URL", `{"value":"`+url+`"}`, nil)
	for _, state := range machines {
		admin(x.t, http.MethodPost, "/admin/apps/"+x.app()+"/machines", `{"state":"`+state+`"}`, nil)
	}
}

// sql runs a statement as sandbox's superuser.
func (x tenant) sql(statement string) {
	x.t.Helper()
	connection := connect(x.t)
	defer connection.Close(context.Background())
	_, err := connection.Exec(context.Background(), statement)
	require.NoError(x.t, err)
}

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(context.Background(), os.Getenv("PLAYGROUND_SANDBOX_URL"))
	require.NoError(t, err)
	return connection
}

// rows counts the tenant's ledger rows by state.
func (x tenant) rows() map[string]int {
	x.t.Helper()
	connection := connect(x.t)
	defer connection.Close(context.Background())
	found, err := connection.Query(context.Background(), "SELECT state, count(*)::int FROM tenant_credentials.rotations WHERE tenant_id = $1 GROUP BY 1", x.id)
	require.NoError(x.t, err)
	counts := map[string]int{}
	var state string
	var count int
	_, err = pgx.ForEachRow(found, []any{&state, &count}, func() error { counts[state] = count; return nil })
	require.NoError(x.t, err)
	return counts
}

// hashes returns the role's verifier and the stored hash.
func (x tenant) hashes() (verifier, hash string) {
	x.t.Helper()
	connection := connect(x.t)
	defer connection.Close(context.Background())
	err := connection.QueryRow(context.Background(), "SELECT a.rolpassword, t.password_hash FROM pg_authid a, management.tenants t WHERE a.rolname = $1 AND t.id = $2",
		x.role(), x.id).Scan(&verifier, &hash)
	require.NoError(x.t, err)
	return verifier, hash
}

// appView is what the emulator's admin API shows of an app.
type appView struct {
	Secrets []struct {
		Name, Value, Digest, Version string
	}
	Machines []struct {
		ID, State string
		Env       map[string]string
		Updates   int
	}
}

func (x tenant) look() appView {
	x.t.Helper()
	var view appView
	admin(x.t, http.MethodGet, "/admin/apps/"+x.app(), "", &view)
	return view
}

// url is the present DATABASE_URL at Fly.
func (x tenant) url() string {
	x.t.Helper()
	for _, secret := range x.look().Secrets {
		if secret.Name == "DATABASE_URL" {
			return secret.Value
		}
	}
	require.Fail(x.t, "no DATABASE_URL")
	return ""
}

// writes counts the requests that changed something at Fly, for this app.
func (x tenant) writes() int {
	x.t.Helper()
	var requests []struct {
		App   string
		Write bool
	}
	admin(x.t, http.MethodGet, "/admin/requests", "", &requests)
	count := 0
	for _, request := range requests {
		if request.App == x.app() && request.Write {
			count++
		}
	}
	return count
}

// fault has the emulator fail for this tenant's app until the test ends, or mend is called.
func (x tenant) fault(body string) (mend func()) {
	x.t.Helper()
	var made struct{ ID string }
	admin(x.t, http.MethodPost, "/admin/faults", strings.Replace(body, "{", `{"app":"`+x.app()+`",`, 1), &made)
	mend = func() { admin(x.t, http.MethodDelete, "/admin/faults/"+made.ID, "", nil) }
	return mend
}

func admin(t *testing.T, method, path, body string, into any) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, os.Getenv("FLY_EMULATOR_ADMIN_URL")+path, bytes.NewBufferString(body))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Less(t, response.StatusCode, 300, "%s %s: %s", method, path, content)
	if into != nil {
		require.NoError(t, json.Unmarshal(content, into))
	}
}

// login logs in with a DATABASE_URL; refused says that the server refused the password.
func login(url string) (refused bool, err error) {
	connection, err := pgx.Connect(context.Background(), url)
	if err != nil {
		var p *pgconn.PgError
		return errors.As(err, &p) && p.Code == "28P01", err
	}
	return false, connection.Close(context.Background())
}

func requireAccepted(t *testing.T, url string) {
	t.Helper()
	_, err := login(url)
	require.NoError(t, err, "the password is refused")
}

func requireRefused(t *testing.T, url string) {
	t.Helper()
	refused, err := login(url)
	require.Error(t, err)
	require.True(t, refused, "refused for another reason than the password")
}
