package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
	"github.com/systempromptio/tenant-credential-operator/test/jsonhttp"
)

// view is a tenant as PostgreSQL and Fly have it. The URLs stay in memory: nothing prints them.
type view struct {
	app            string
	hash, verifier string
	completed      int
	url            string
	machines       []machine
}

type machine struct {
	ID         string `json:"id"`
	State      string `json:"state"`
	InstanceID string `json:"instance_id"`
	Updates    int    `json:"updates"`
	AppTotal   struct {
		Logins    int64  `json:"logins"`
		Failures  int64  `json:"failures"`
		LastError string `json:"last_error"`
	} `json:"app_total"` // of all processes that have run on it
}

func see(ctx context.Context, name string) (*view, error) {
	id := tenantIDs[name]
	connection, err := pgx.Connect(ctx, os.Getenv("PLAYGROUND_SANDBOX_URL"))
	if err != nil {
		return nil, errors.New("PostgreSQL of sandbox does not let its superuser in: " + sqlState(err))
	}
	defer connection.Close(ctx) //nolint:errcheck // nothing is lost
	v := &view{app: "sp-" + id[:8]}
	err = connection.QueryRow(ctx, `SELECT t.password_hash, a.rolpassword,
			(SELECT count(*) FROM tenant_credentials.rotations r WHERE r.tenant_id = t.id AND r.state = 'completed')
		FROM management.tenants t JOIN pg_authid a ON a.rolname = 'tenant_' || left(t.id::text, 8) WHERE t.id = $1`, id).Scan(&v.hash, &v.verifier, &v.completed)
	if err != nil {
		return nil, fmt.Errorf("read tenant %s in PostgreSQL: %s", name, sqlState(err))
	}
	return v, v.seeFly(ctx)
}

func (v *view) seeFly(ctx context.Context) error {
	var seen struct {
		Secrets []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"secrets"`
		Machines []machine `json:"machines"`
	}
	if err := ask(ctx, http.MethodGet, os.Getenv("FLY_EMULATOR_ADMIN_URL")+"/admin/apps/"+v.app, nil, &seen); err != nil {
		return err
	}
	for _, secret := range seen.Secrets {
		if secret.Name == "DATABASE_URL" {
			v.url = secret.Value
		}
	}
	v.machines = seen.Machines
	return nil
}

// prove compares what is so with what was before the rotation.
func (d *demo) prove(name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		former := d.previous[name]
		now, err := see(ctx, name)
		if err != nil {
			return "", err
		}
		if code := login(ctx, former.url); code != "SQLSTATE 28P01" {
			return "", fmt.Errorf("the old password has to be refused with SQLSTATE 28P01, and the answer is %q", code)
		}
		if code := login(ctx, now.url); code != "" {
			return "", errors.New("the new password is refused: " + code)
		}
		if now.hash != now.verifier || !now.hashVerifies() {
			return "", errors.New("management.tenants.password_hash does not verify the new password")
		}
		if now.completed != former.completed+1 {
			return "", fmt.Errorf("%d rotations were completed, and one was asked for", now.completed-former.completed)
		}
		machines, err := now.proveMachines(ctx)
		if err != nil {
			return "", err
		}
		object, err := get(ctx, name)
		if err != nil {
			return "", err
		}
		events, err := events(ctx, name, object.Status.Revision)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("old password refused (28P01), new one accepted\nmanagement.tenants.password_hash verifies the new one: sha256 %s\n"+
			"ledger: exactly one more completed row, revision %d\n%s\nevents: %s", digest(now.hash), object.Status.Revision, machines, events), nil
	}
}

// hashVerifies checks the password in DATABASE_URL against the stored hash.
func (v *view) hashVerifies() bool {
	u, err := url.Parse(v.url)
	if err != nil || u.User == nil {
		return false
	}
	password, _ := u.User.Password()
	return checker.Satisfies(v.hash, password)
}

// proveMachines asks each started Machine itself, through Fly's API, what its environment has: a digest of it.
func (v *view) proveMachines(ctx context.Context) (string, error) {
	var said []string
	for _, m := range v.machines {
		if m.State != "started" {
			said = append(said, "Machine "+m.ID+" is "+m.State+" and has the new value at its next start")
			continue
		}
		var answer struct {
			Stdout string `json:"stdout"`
		}
		command := map[string]string{"cmd": `sh -c 'printf %s "$DATABASE_URL" | sha256sum'`}
		if err := ask(ctx, http.MethodPost, os.Getenv("FLY_FLAPS_BASE_URL")+"/v1/apps/"+v.app+"/machines/"+m.ID+"/exec", command, &answer); err != nil {
			return "", err
		}
		if !strings.HasPrefix(answer.Stdout, digest(v.url)) {
			return "", fmt.Errorf("app %s: Machine %s runs with another DATABASE_URL than Fly has", v.app, m.ID)
		}
		said = append(said, "Machine "+m.ID+" runs with the new value: sha256 "+digest(v.url))
	}
	return strings.Join(said, "\n"), nil
}

// flyWrites counts the requests that were made to change something at Fly.
func flyWrites(ctx context.Context) (int, error) {
	var requests []struct {
		Method string `json:"method"`
		Path   string `json:"path"`
		Write  bool   `json:"write"`
	}
	if err := ask(ctx, http.MethodGet, os.Getenv("FLY_EMULATOR_ADMIN_URL")+"/admin/requests", nil, &requests); err != nil {
		return 0, err
	}
	count := 0
	for _, r := range requests {
		if r.Write && !strings.HasSuffix(r.Path, "/exec") { // the demo's own question to a Machine
			count++
		}
	}
	return count, nil
}

// ask sends a request to the emulator with the playground's Fly token.
func ask(ctx context.Context, method, address string, body, into any) error {
	return jsonhttp.Call(ctx, method, address, os.Getenv("FLY_API_TOKEN"), body, into)
}

// login tries a DATABASE_URL. It returns "" or what may be said of the refusal: a driver's error could show the URL.
func login(ctx context.Context, databaseURL string) string {
	connection, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return sqlState(err)
	}
	if err := connection.Close(ctx); err != nil {
		return sqlState(err)
	}
	return ""
}

func sqlState(err error) string {
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return "SQLSTATE " + p.Code
	}
	return "no answer from the server"
}

// digest shows that two values are the same without showing them.
func digest(value string) string { return fmt.Sprintf("%.8x", sha256.Sum256([]byte(value))) }
