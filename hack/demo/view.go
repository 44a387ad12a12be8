package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// tenantIDs are those of config/samples that the demo rotates.
var tenantIDs = map[string]string{
	"acme":    "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01",
	"globex":  "b1e0c0de-6a3d-4c55-9c4e-52d1f7f0a902",
	"initech": "4f21a7c9-0b6e-4d0b-8a77-6d5a3c2e1b03",
}

// object is what the demo reads of a TenantCredential.
type object struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Status struct {
		RotationGeneration int64 `json:"rotationGeneration"`
		Revision           int64 `json:"revision"`
	} `json:"status"`
}

func get(ctx context.Context, name string) (*object, error) {
	text, err := kubectl(ctx, "", "-n", "tenants-sandbox", "get", "tcred", name, "-o", "json")
	if err != nil {
		return nil, err
	}
	var o object
	return &o, json.Unmarshal([]byte(text), &o)
}

// view is a tenant as Postgres and Fly have it. The URLs stay in memory: nothing prints them.
type view struct {
	hash, verifier string
	completed      int
	url            string
	machines       []machine
}

type machine struct {
	ID    string            `json:"id"`
	State string            `json:"state"`
	Env   map[string]string `json:"env"`
}

func see(ctx context.Context, name string) (*view, error) {
	id := tenantIDs[name]
	connection, err := pgx.Connect(ctx, os.Getenv("PLAYGROUND_SANDBOX_URL"))
	if err != nil {
		return nil, err
	}
	defer connection.Close(ctx) //nolint:errcheck // nothing is lost
	v := &view{}
	err = connection.QueryRow(ctx, `SELECT t.password_hash, a.rolpassword,
			(SELECT count(*) FROM tenant_credentials.rotations r WHERE r.tenant_id = t.id AND r.state = 'completed')
		FROM management.tenants t JOIN pg_authid a ON a.rolname = 'tenant_' || left(t.id::text, 8) WHERE t.id = $1`, id).Scan(&v.hash, &v.verifier, &v.completed)
	if err != nil {
		return nil, err
	}
	return v, v.seeFly(ctx, "sp-"+id[:8])
}

func (v *view) seeFly(ctx context.Context, app string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv("FLY_EMULATOR_ADMIN_URL")+"/admin/apps/"+app, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // read only
	var seen struct {
		Secrets []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"secrets"`
		Machines []machine `json:"machines"`
	}
	if err := json.NewDecoder(response.Body).Decode(&seen); err != nil {
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

// look remembers what each tenant has.
func look(ctx context.Context, into map[string]*view) (string, error) {
	for name := range tenantIDs {
		v, err := see(ctx, name)
		if err != nil {
			return "", err
		}
		if err := login(ctx, v.url); err != nil {
			return "", fmt.Errorf("%s can not log in with what its app has: %w", name, err)
		}
		into[name] = v
	}
	return "each one logs in with the DATABASE_URL that its app has", nil
}

// prove compares what is so with what was before the rotation.
func prove(before map[string]*view, name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		former := before[name]
		now, err := see(ctx, name)
		if err != nil {
			return "", err
		}
		var refused *pgconn.PgError
		if err := login(ctx, former.url); !errors.As(err, &refused) || refused.Code != "28P01" {
			return "", fmt.Errorf("the old password is not refused (28P01): %v", err)
		}
		if err := login(ctx, now.url); err != nil {
			return "", fmt.Errorf("the new password is refused: %w", err)
		}
		if now.hash != now.verifier || now.hash == former.hash {
			return "", errors.New("the stored hash is not the new password's")
		}
		if now.completed != former.completed+1 {
			return "", fmt.Errorf("%d rotations were completed, and one was asked for", now.completed-former.completed)
		}
		machines, err := now.proveMachines()
		if err != nil {
			return "", err
		}
		events, err := events(ctx, name)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("old password refused (28P01), new one accepted\nstored hash and role agree: %s\nledger: exactly one more completed row (%d)\n%s\nevents: %s",
			digest(now.hash), now.completed, machines, events), nil
	}
}

func (v *view) proveMachines() (string, error) {
	var said []string
	for _, m := range v.machines {
		if m.State != "started" {
			said = append(said, m.ID+" "+m.State+", as before: takes it at its next start")
			continue
		}
		if m.Env["DATABASE_URL"] != v.url {
			return "", fmt.Errorf("Machine %s runs with an old value", m.ID)
		}
		said = append(said, m.ID+" runs with the new value: "+digest(m.Env["DATABASE_URL"]))
	}
	return "Machines: " + strings.Join(said, "; "), nil
}

func events(ctx context.Context, name string) (string, error) {
	text, err := kubectl(ctx, "", "-n", "tenants-sandbox", "get", "events", "-o", "jsonpath={range .items[?(@.involvedObject.name==\""+name+"\")]}{.reason} {end}")
	if err != nil {
		return "", err
	}
	for _, wanted := range []string{"RotationCommitted", "RotationCompleted"} {
		if !strings.Contains(text, wanted) {
			return "", fmt.Errorf("there is no event %s: %q", wanted, text)
		}
	}
	return strings.TrimSpace(text), nil
}

func login(ctx context.Context, url string) error {
	connection, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return connection.Close(ctx)
}

// digest shows that two values are the same without showing them.
func digest(value string) string { return fmt.Sprintf("sha256 %.12x", sha256.Sum256([]byte(value))) }
