package checker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// Two tenants: acme has been rotated twice, beta is adopted only.
const (
	acme, beta       = "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01", "b1e0c0de-6a3d-4c55-9c4e-52d1f7f0a902"
	acmeFound        = "aSfoundOneOfAcmeZZZZZZZZZZZZZZZZZ"
	acmeFirst        = "fI1rstOneOfAcmeAAAAAAAAAAAAAAAAAA"
	acmeSecond       = "sEcondOneOfAcmeBBBBBBBBBBBBBBBBBB"
	betaFirst        = "fI1rstOneOfBetaCCCCCCCCCCCCCCCCCC"
	acmeRefused      = "rEfusedOneOfAcmeDDDDDDDDDDDDDDDDD" // Fly never took it
	operatorToken    = "oPeratorsOwnTokenAtFlyEEEEEEEEEEEEEE"
	operatorPassword = "oPeratorsOwnPasswordFFFFFFFFFFFF"
	acmeUID, betaUID = "uid-of-acme", "uid-of-beta"
)

// ledger is the part of the ledger that the checker reads, and nothing that enforces it: the tests break everything.
const ledger = `
CREATE SCHEMA management; CREATE SCHEMA tenant_credentials;
CREATE TABLE management.tenants (id uuid PRIMARY KEY, name text, password_hash text, db_role text, db_name text, fly_app text);
CREATE TABLE tenant_credentials.claims (tenant_id uuid PRIMARY KEY, role text, database text, fly_app text, uid text, generation bigint,
	verifier_digest bytea, hash_digest bytea);
CREATE TABLE tenant_credentials.adoptions (tenant_id uuid, adopted_at timestamptz);
CREATE TABLE tenant_credentials.rotations (tenant_id uuid, revision bigint, state text, generation bigint, cause text, field_manager text,
	role text, verifier_digest bytea, hash_digest bytea, delivery_digest bytea, fly_app text, fly_secret_version numeric,
	fly_secret_digest text, opened_at timestamptz, committed_at timestamptz, completed_at timestamptz, login text);
CREATE ROLE tenant_7dd06cd6 LOGIN; CREATE ROLE tenant_7dd06cd6_b IN ROLE tenant_7dd06cd6; CREATE ROLE tenant_b1e0c0de LOGIN;
CREATE DATABASE site_7dd06cd6; CREATE DATABASE site_b1e0c0de`

// healthy is what is so when nothing is broken. The server makes the verifiers, so that they are not ours.
const healthy = `
TRUNCATE management.tenants, tenant_credentials.claims, tenant_credentials.adoptions, tenant_credentials.rotations;
ALTER ROLE tenant_7dd06cd6 LOGIN PASSWORD '` + acmeSecond + `'; ALTER ROLE tenant_7dd06cd6_b NOLOGIN PASSWORD NULL; ALTER ROLE tenant_b1e0c0de LOGIN PASSWORD '` + betaFirst + `';
INSERT INTO management.tenants SELECT i::uuid, 'a tenant', rolpassword FROM pg_authid, unnest(ARRAY['` + acme + `', '` + beta + `']) i
	WHERE rolname = 'tenant_' || left(i, 8);
INSERT INTO tenant_credentials.claims SELECT id, 'tenant_' || left(id::text, 8), 'site_' || left(id::text, 8), 'sp-' || left(id::text, 8),
	CASE WHEN id = '` + acme + `' THEN '` + acmeUID + `' ELSE '` + betaUID + `' END, CASE WHEN id = '` + acme + `' THEN 2 ELSE 0 END,
	sha256(convert_to(password_hash, 'UTF8')), sha256(convert_to(password_hash, 'UTF8')) FROM management.tenants;
INSERT INTO tenant_credentials.adoptions SELECT id, '2026-01-01' FROM management.tenants;
INSERT INTO tenant_credentials.rotations SELECT id, n, 'completed', n, 'GenerationRaised', 'test', 'tenant_7dd06cd6',
	sha256(convert_to(password_hash, 'UTF8')), sha256(convert_to(password_hash, 'UTF8')), NULL, 'sp-7dd06cd6', 100 + n, 'digest-' || n,
	'2026-01-02'::timestamptz + n * interval '1 day', '2026-01-02', '2026-01-02' FROM management.tenants, generate_series(1, 2) n WHERE id = '` + acme + `'`

// fixture is a system of which every part can be broken.
type fixture struct {
	t       *testing.T
	config  Config
	port    int
	apps    map[string]*app
	objects []*object
	events  []map[string]any
	secrets []map[string]any
	metrics string
	// arrivals and requests are the emulator's lists.
	arrivals []arrival
	requests []string
}

var server *pgserver.Server

// pretend is the variable that makes this program kubectl, which asks the address in it what to print.
const pretend = "CHECKER_TEST_KUBECTL"

func TestMain(m *testing.M) {
	if address := os.Getenv(pretend); address != "" {
		os.Exit(kubectl(address + "/kubectl?arguments=" + url.QueryEscape(strings.Join(os.Args[1:], " "))))
	}
	os.Exit(func() int {
		var err error
		if server, err = pgserver.Start(context.Background(), pgserver.Options{Version: "15"}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer server.Stop()
		if err := run(server.SuperuserURL(), ledger); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func kubectl(address string) int {
	response, err := http.Get(address)
	if err != nil {
		return 1
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return 1
	}
	return 0
}

// run runs statements one by one, in a session that ends: nothing of them is left in pg_stat_activity.
func run(url, statements string) error {
	connection, err := pgx.Connect(context.Background(), url)
	if err != nil {
		return err
	}
	defer connection.Close(context.Background())
	for statement := range strings.SplitSeq(statements, ";") {
		if _, err := connection.Exec(context.Background(), statement); err != nil {
			return err
		}
	}
	return nil
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, port: server.Port, metrics: "rotations_total 2\n"}
	f.sql(healthy)
	f.apps = map[string]*app{
		"sp-7dd06cd6": f.app(acme, acmeFound, acmeFirst, acmeSecond),
		"sp-b1e0c0de": f.app(beta, betaFirst),
	}
	f.arrivals = []arrival{{"sp-7dd06cd6", "DATABASE_URL", f.url(acme, acmeSecond)}, {"sp-7dd06cd6", "DATABASE_URL", f.url(acme, acmeRefused)}}
	f.secrets = []map[string]any{
		{"metadata": map[string]any{"namespace": "system", "name": "fly"}, "data": map[string][]byte{"token": []byte(operatorToken)}},
		{"metadata": map[string]any{"namespace": "system", "name": "postgres"}, "data": map[string][]byte{"uri": []byte("postgres://o:" + operatorPassword + "@h/d")}},
	}
	f.objects = []*object{f.object("acme", acme, acmeUID, 2), f.object("beta", beta, betaUID, 0)}
	web := httptest.NewServer(f.web())
	t.Cleanup(web.Close)
	folder := t.TempDir()
	for _, file := range []string{"log", "manager.log", "manager/core", "postgres.log", "data/pg_wal/000000010000000000000001", "data/base/1/1259"} {
		f.write(folder+"/"+file, "nothing to see\n")
	}
	f.write(folder+"/etcd/member/wal", "nothing to see\n")
	t.Setenv(pretend, web.URL)
	program, err := os.Executable()
	require.NoError(t, err)
	f.config = Config{
		Environments: []Environment{{Name: "sandbox", SuperuserURL: server.SuperuserURL(), Organization: "example", Naming: Naming{Role: "db_role"},
			LogFile: folder + "/postgres.log", DataDir: folder + "/data"}},
		ManagerLog: folder + "/manager.log", ManagerDir: folder + "/manager",
		Kubectl: program, FlyAdminURL: web.URL, LogFiles: []string{folder + "/log"}, EtcdDir: folder + "/etcd",
		MetricsURL: web.URL + "/metrics", MetricsToken: "token",
	}
	return f
}

func (f *fixture) sql(statements string) {
	f.t.Helper()
	require.NoError(f.t, run(server.SuperuserURL(), statements))
}

func (f *fixture) write(path, content string) {
	f.t.Helper()
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f.t, os.WriteFile(path, []byte(content), 0o600))
}

func (f *fixture) url(id, password string) string {
	return fmt.Sprintf("postgres://tenant_%s:%s@127.0.0.1:%d/site_%s", id[:8], password, f.port, id[:8])
}

// app has every password in its history, as versions from 100 on, and the last one in force, in two started Machines; a stopped
// one has the first.
func (f *fixture) app(id string, passwords ...string) *app {
	a := &app{Name: "sp-" + id[:8], Organization: "example"}
	for i, p := range passwords {
		value := f.url(id, p)
		a.History = append(a.History, change{Version: fmt.Sprint(100 + i), Name: "DATABASE_URL", Value: &value})
	}
	newest, oldest := *a.History[len(passwords)-1].Value, *a.History[0].Value
	a.Secrets = []secret{{"DATABASE_URL", newest, fmt.Sprintf("digest-%d", len(passwords)-1), fmt.Sprint(99 + len(passwords))}}
	a.Machines = []machine{
		{"one", "started", map[string]string{"DATABASE_URL": newest}},
		{"two", "started", map[string]string{"DATABASE_URL": newest}},
		{"three", "stopped", map[string]string{"DATABASE_URL": oldest}},
	}
	return a
}

// object is Ready, after as many rotations as its generation says.
func (f *fixture) object(name, id, uid string, generation int64) *object {
	text := fmt.Sprintf(`{"metadata": {"namespace": "tenants", "name": %q, "uid": %q, "generation": 3},
		"spec": {"tenantID": %q, "environmentRef": {"name": "sandbox"}, "rotationGeneration": %d, "delivery": {"fly": {"variable": "DATABASE_URL"}}},
		"status": {"observedGeneration": 3, "rotationGeneration": %[4]d, "revision": %[4]d, "conditions": [{"type": "Ready", "status": "True"}]}}`,
		name, uid, id, generation)
	if generation > 0 {
		text = strings.TrimSuffix(text, "}}") + fmt.Sprintf(`, "lastRotation": {"revision": %d, "completionTime": "2026-01-02T00:00:00Z"},
			"fly": {"appName": "sp", "secretVersion": "%d", "secretDigest": "digest-%[1]d"}}}`, generation, 100+generation)
	}
	var o object
	require.NoError(f.t, json.Unmarshal([]byte(text), &o))
	return &o
}

// web serves the emulator's admin API, the metrics, and what kubectl prints.
func (f *fixture) web() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, body func(*http.Request) any) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(body(r)) })
	}
	answer("/admin/apps", func(*http.Request) any {
		names := []string{}
		for name := range f.apps {
			names = append(names, name)
		}
		return names
	})
	answer("/admin/arrivals", func(*http.Request) any { return f.arrivals })
	answer("/admin/requests", func(*http.Request) any { return f.requests })
	answer("/admin/apps/{app}", func(r *http.Request) any { return f.apps[r.PathValue("app")] })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(f.metrics)) })
	mux.HandleFunc("GET /kubectl", func(w http.ResponseWriter, r *http.Request) {
		arguments := strings.Fields(r.FormValue("arguments"))
		if arguments[0] == "api-resources" {
			_, _ = w.Write([]byte("events\nsecrets\ntenantcredentials.credentials.systemprompt.io\n"))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"items": f.list(strings.Split(arguments[1], ","))})
	})
	return mux
}

func (f *fixture) list(kinds []string) []any {
	items := []any{}
	for _, kind := range kinds {
		switch kind {
		case "tenantcredentials.credentials.systemprompt.io":
			for _, o := range f.objects {
				items = append(items, struct {
					Kind string `json:"kind"`
					*object
				}{"TenantCredential", o})
			}
		case "tenantenvironments.credentials.systemprompt.io":
			for _, name := range []string{"sandbox", "sandbox-again"} {
				items = append(items, map[string]any{"metadata": map[string]any{"name": name},
					"spec": map[string]any{
						"fly":      map[string]any{"tokenSecretRef": map[string]any{"name": "fly"}},
						"postgres": map[string]any{"loginSecretRef": map[string]any{"name": "postgres", "key": "uri"}, "internal": map[string]any{"host": "127.0.0.1", "port": f.port}},
					}})
			}
		case "events":
			for _, e := range f.events {
				items = append(items, e)
			}
		case "secrets":
			for _, s := range f.secrets {
				items = append(items, s)
			}
		}
	}
	return items
}

// check returns what is wrong, one sentence a line.
func (f *fixture) check(since *Snapshot, due map[string]int) []string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	said := []string{}
	for _, v := range Check(ctx, f.config, since, due) {
		said = append(said, v.String())
	}
	for _, password := range []string{acmeFound, acmeFirst, acmeSecond, acmeRefused, betaFirst, operatorToken, operatorPassword} {
		require.NotContains(f.t, strings.Join(said, "\n"), password, "the checker itself shows a password")
	}
	return said
}
