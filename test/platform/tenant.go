// Package platform is what the tests have of the platform and of its engineers: tenants, made as the platform makes them, and their
// objects, driven with kubectl. It calls nothing of the operator.
package platform

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/jsonhttp"
)

// Environment is a server with the management table, and the TenantEnvironment that names it.
type Environment struct {
	// Name is the TenantEnvironment's.
	Name string
	// URL leads a superuser to the database with the management table.
	URL string
	// Port is the server's on 127.0.0.1.
	Port string
}

// Sandbox is the playground's.
func Sandbox() Environment {
	return Environment{Name: "sandbox", URL: os.Getenv("PLAYGROUND_SANDBOX_URL"), Port: os.Getenv("PGPORT")}
}

// Tenant is one that a test made for itself, as the platform would make it.
type Tenant struct {
	t               *testing.T
	environment     Environment
	ID, Name, Short string
}

// Role is the tenant's login role.
func (x Tenant) Role() string { return "tenant_" + x.Short }

// Environment is where the tenant's role is.
func (x Tenant) Environment() Environment { return x.environment }

// For is the tenant as another test uses it, which fails in its place.
func (x Tenant) For(t *testing.T) Tenant { x.t = t; return x }

// App is the tenant's Fly app.
func (x Tenant) App() string { return "sp-" + x.Short }

// NewTenant makes a row, a role and a database in sandbox, and an app with a Machine in each of the states; without any, no app.
func NewTenant(t *testing.T, machines ...string) Tenant {
	t.Helper()
	return newTenantIn(t, Sandbox(), machines...)
}

// NewTenantIn is NewTenant in another environment, which ends with the test, and the tenant's object with it.
func NewTenantIn(t *testing.T, e Environment, machines ...string) Tenant {
	t.Helper()
	x := newTenantIn(t, e, machines...)
	t.Cleanup(x.Delete)
	return x
}

func newTenantIn(t *testing.T, e Environment, machines ...string) Tenant {
	t.Helper()
	id := uuid.NewString()
	x := Tenant{t: t, environment: e, ID: id, Name: "t-" + id[:8], Short: id[:8]}
	x.insertRow()
	x.SQL("CREATE ROLE " + x.Role() + " LOGIN PASSWORD '" + x.initialPassword() + "'")
	x.SQL("CREATE DATABASE site_" + x.Short + " OWNER " + x.Role())
	x.SQL("UPDATE management.tenants SET password_hash = (SELECT rolpassword FROM pg_authid WHERE rolname = '" + x.Role() + "') WHERE id = '" + x.ID + "'")
	x.Bind()
	if len(machines) > 0 {
		x.MakeApp(x.InitialURL(), machines...)
	}
	return x
}

func (x Tenant) initialPassword() string { return "initial" + x.Short }

// InitialURL is the DATABASE_URL that the platform made.
func (x Tenant) InitialURL() string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%s/site_%s", x.Role(), x.initialPassword(), x.environment.Port, x.Short)
}

// NewRow makes no more than the tenant's row in the management table.
func NewRow(t *testing.T) Tenant {
	t.Helper()
	id := uuid.NewString()
	return NewNamedRow(t, id, "t-"+id[:8])
}

// NewNamedRow is NewRow for an ID and a name of the caller's choice.
func NewNamedRow(t *testing.T, id, name string) Tenant {
	t.Helper()
	x := Tenant{t: t, environment: Sandbox(), ID: id, Short: id[:8], Name: name}
	x.insertRow()
	return x
}

func (x Tenant) insertRow() {
	x.t.Helper()
	x.SQL("INSERT INTO management.tenants (id, name, password_hash) VALUES ('" + x.ID + "', '" + x.Name + "', '')")
}

// GiveTo has the management table name the tenant's owner, by the subject of the owner's tokens.
func (x Tenant) GiveTo(subject string) {
	x.t.Helper()
	x.SQL("UPDATE management.tenants SET owner = '" + subject + "' WHERE id = '" + x.ID + "'")
}

// Bind labels the namespace for the tenant.
func (x Tenant) Bind() {
	x.t.Helper()
	harness.Kubectl(x.t, "", "label", "--overwrite", "namespace", "tenants-sandbox", "tenant.credentials.systemprompt.io/"+x.ID+"=allowed")
}

// MakeApp makes the tenant's app with a DATABASE_URL, and a Machine in each of the states. They log in every second until the test ends.
func (x Tenant) MakeApp(url string, machines ...string) {
	x.t.Helper()
	x.t.Cleanup(func() { _ = harness.Rest(x.App()) }) // a test that has taken the app away has nothing to rest
	Admin(x.t, http.MethodPut, "/admin/apps/"+x.App(), `{"organization":"example-sandbox","variable":"DATABASE_URL"}`, nil)
	Admin(x.t, http.MethodPut, "/admin/apps/"+x.App()+"/secrets/DATABASE_URL", `{"value":"`+url+`"}`, nil)
	for _, state := range machines {
		Admin(x.t, http.MethodPost, "/admin/apps/"+x.App()+"/machines", `{"state":"`+state+`"}`, nil)
	}
}

// AddBusyMachine adds a started Machine whose app logs in anew twice a second.
func (x Tenant) AddBusyMachine() {
	x.t.Helper()
	Admin(x.t, http.MethodPost, "/admin/apps/"+x.App()+"/machines", `{"config":{"image":"busy","env":{"LOGIN_INTERVAL":"500ms"},
		"metadata":{"fly_process_group":"app"},"restart":{"policy":"on-failure","max_retries":3},
		"checks":{"health":{"type":"http","port":8080,"path":"/health"}}}}`, nil)
}

// SQL runs a statement as the server's superuser.
func (x Tenant) SQL(statement string) {
	x.t.Helper()
	x.environment.Exec(x.t, statement)
}

// Pool is that of the tenant's environment.
func (x Tenant) Pool() *pgxpool.Pool {
	x.t.Helper()
	return x.environment.Pool(x.t)
}

// Connect connects to the database as its superuser.
func (e Environment) Connect(t *testing.T) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(context.Background(), e.URL)
	require.NoError(t, err)
	return connection
}

// Hold keeps what a statement locks until the function that it returns is called.
func (e Environment) Hold(t *testing.T, statement string) (release func()) {
	t.Helper()
	connection := e.Connect(t)
	_, err := connection.Exec(t.Context(), "BEGIN; "+statement)
	require.NoError(t, err)
	return func() { _ = connection.Close(context.Background()) }
}

// Rows counts the tenant's ledger rows by state.
func (x Tenant) Rows() map[string]int {
	x.t.Helper()
	found, err := x.Pool().Query(context.Background(), "SELECT state, count(*)::int FROM tenant_credentials.rotations WHERE tenant_id = $1 GROUP BY 1", x.ID)
	require.NoError(x.t, err)
	counts := map[string]int{}
	var state string
	var count int
	_, err = pgx.ForEachRow(found, []any{&state, &count}, func() error { counts[state] = count; return nil })
	require.NoError(x.t, err)
	return counts
}

// Hashes returns the role's verifier and the stored hash.
func (x Tenant) Hashes() (verifier, hash string) {
	x.t.Helper()
	err := x.Pool().QueryRow(context.Background(), "SELECT a.rolpassword, t.password_hash FROM pg_authid a, management.tenants t WHERE a.rolname = $1 AND t.id = $2",
		x.Role(), x.ID).Scan(&verifier, &hash)
	require.NoError(x.t, err)
	return verifier, hash
}

// AppView is what the emulator's admin API shows of an app.
type AppView struct {
	Secrets []struct {
		Name, Value, Digest, Version string
	}
	Machines []struct {
		ID, State string
		Env       map[string]string
		Updates   int
		AppTotal  struct { // of all processes that have run on it
			Logins, Failures int
			LastError        string `json:"last_error"`
		} `json:"app_total"`
	}
}

// Look is what the emulator's admin API shows of the tenant's app.
func (x Tenant) Look() AppView {
	x.t.Helper()
	var view AppView
	Admin(x.t, http.MethodGet, "/admin/apps/"+x.App(), "", &view)
	return view
}

// StartMachine starts a Machine whose restarts are used up, as its owner does with fly machine start.
func (x Tenant) StartMachine(id string) {
	x.t.Helper()
	address := os.Getenv("FLY_API_BASE_URL") + "/v1/apps/" + x.App() + "/machines/" + id + "/start"
	require.Eventually(x.t, func() bool { // until it is stopped the answer is 412, or that it is started
		var answer struct {
			PreviousState string `json:"previous_state"`
		}
		err := jsonhttp.Call(context.Background(), http.MethodPost, address, os.Getenv("FLY_API_TOKEN"), nil, &answer)
		return err == nil && answer.PreviousState == "stopped"
	}, 3*time.Minute, 100*time.Millisecond, "Machine %s", id)
}

// URL is the present DATABASE_URL at Fly.
func (x Tenant) URL() string {
	x.t.Helper()
	for _, secret := range x.Look().Secrets {
		if secret.Name == "DATABASE_URL" {
			return secret.Value
		}
	}
	require.Fail(x.t, "no DATABASE_URL")
	return ""
}

// Writes counts the requests that changed something at Fly, for this app.
func (x Tenant) Writes() int { return x.requests(func(write bool) bool { return write }) }

// Requests counts all requests for this app.
func (x Tenant) Requests() int { return x.requests(func(bool) bool { return true }) }

func (x Tenant) requests(counts func(write bool) bool) int {
	x.t.Helper()
	var requests []struct {
		App   string
		Write bool
	}
	Admin(x.t, http.MethodGet, "/admin/requests", "", &requests)
	count := 0
	for _, request := range requests {
		if request.App == x.App() && counts(request.Write) {
			count++
		}
	}
	return count
}

// Fault has the emulator fail for this tenant's app until the test ends, or mend is called.
func (x Tenant) Fault(body string) (mend func()) {
	x.t.Helper()
	var made struct{ ID string }
	Admin(x.t, http.MethodPost, "/admin/faults", strings.Replace(body, "{", `{"app":"`+x.App()+`",`, 1), &made)
	mend = func() { Admin(x.t, http.MethodDelete, "/admin/faults/"+made.ID, "", nil) }
	return mend
}

// Admin calls the emulator's admin API; into may be nil.
func Admin(t *testing.T, method, path, body string, into any) {
	t.Helper()
	require.NoError(t, AskAdmin(context.Background(), method, path, body, into), "%s %s", method, path)
}

// AskAdmin is Admin for callers that cannot end the test.
func AskAdmin(ctx context.Context, method, path, body string, into any) error {
	return jsonhttp.Call(ctx, method, os.Getenv("FLY_EMULATOR_ADMIN_URL")+path, "", json.RawMessage(cmp.Or(body, "null")), into)
}

// Login logs in with a DATABASE_URL; refused says that the server refused the password.
func Login(url string) (refused bool, err error) {
	connection, err := pgx.Connect(context.Background(), url)
	if err != nil {
		var p *pgconn.PgError
		return errors.As(err, &p) && p.Code == "28P01", err
	}
	return false, connection.Close(context.Background())
}

// RequireAccepted fails the test where the server does not accept the login.
func RequireAccepted(t *testing.T, url string) {
	t.Helper()
	_, err := Login(url)
	require.NoError(t, err, "the password is refused")
}

// RequireRefused fails the test where the server does not refuse the password.
func RequireRefused(t *testing.T, url string) {
	t.Helper()
	refused, err := Login(url)
	require.Error(t, err)
	require.True(t, refused, "refused for another reason than the password")
}
