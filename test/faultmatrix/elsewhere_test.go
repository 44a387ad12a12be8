package faultmatrix

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// site is where a tenant's role, ledger and stored hash are.
type site struct {
	config  checker.Config // without the search for passwords
	abandon func()         // forgets a tenant that a failed trial has left in an unknown state

	// ours has role and ledger, and table the stored hash; nil = the playground's server has all of them.
	ours, table *pgserver.Server
}

// beginElsewhere has a trial of a tenant whose environment has two servers of its own: the management table is a foreign table there. The
// operator's sessions with the first one and its sessions with the second one pass proxies.
func (l *lane) beginElsewhere(t *testing.T, overlap bool) *trial {
	t.Helper()
	e, ours := platform.NewServer(t, "elsewhere")
	theirs, err := pgserver.Start(t.Context(), pgserver.Options{Version: "15"})
	require.NoError(t, err)
	t.Cleanup(theirs.Stop)
	moveTable(t, e, theirs, l.proxyTo(t, theirs))
	e.Install(t, ours)
	login := strings.Replace(ours.URL("tcred_operator", "operator", "platform"), ":"+e.Port+"/", ":"+l.proxyTo(t, ours)+"/", 1)
	harness.Kubectl(t, `{"stringData":{"url":"`+login+`"}}`, "-n", operatorNamespace, "patch", "secret", e.Name, "--patch-file=/dev/stdin")

	config := l.config
	config.Environments = append(config.Environments[:len(config.Environments):len(config.Environments)], checker.Environment{Name: e.Name,
		SuperuserURL: e.URL, Organization: "example-sandbox", Naming: checker.Naming{Role: "db_role", Database: "db_name", FlyApp: "fly_app"}})
	x := platform.NewTenantIn(t, e, "started", "started")
	strategy := "InPlace"
	if overlap {
		strategy = "Overlap"
		x.SQL("SELECT tenant_credentials.prepare_overlap('" + x.Role() + "')")
	}
	x.Apply("rotationGeneration: 1", "rotation: {strategy: "+strategy+"}")
	t.Cleanup(func() {
		destroyMachines(t, x.App())
		x.Delete()
	})
	x.WaitReady()
	at := &site{config: config, ours: ours, table: theirs, abandon: func() {
		_, _ = harness.Try("", "-n", "tenants-sandbox", "patch", "tcred", x.Name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	}}
	return l.beginAt(t, at, x, overlap)
}

// proxyTo returns the port of a proxy before a server.
func (l *lane) proxyTo(t *testing.T, server *pgserver.Server) (port string) {
	t.Helper()
	proxy, err := faultproxy.NewPostgres(net.JoinHostPort("127.0.0.1", strconv.Itoa(server.Port)), l.rules)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	_, port, err = net.SplitHostPort(proxy.Address)
	require.NoError(t, err)
	return port
}

// moveTable makes the management table on the platform's own server, and a foreign table in the place of the empty one. A trigger there notes
// each hash that is committed, as in layGates.
func moveTable(t *testing.T, e platform.Environment, theirs *pgserver.Server, port string) {
	t.Helper()
	there := platform.Environment{URL: theirs.SuperuserURL()}
	there.Exec(t, `CREATE ROLE hash LOGIN PASSWORD 'hash'; CREATE ROLE platform LOGIN PASSWORD 'platform';
		CREATE TABLE tenants (id uuid PRIMARY KEY, name text NOT NULL, password_hash text NOT NULL, db_role text, db_name text, fly_app text, owner uuid);
		CREATE TABLE hashes (tenant_id uuid NOT NULL, hash text NOT NULL);
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
			$$ BEGIN INSERT INTO hashes VALUES (NEW.id, NEW.password_hash); RETURN NULL; END $$;
		CREATE TRIGGER note AFTER UPDATE OF password_hash ON tenants FOR EACH ROW EXECUTE FUNCTION note();
		GRANT SELECT, UPDATE (password_hash) ON tenants TO hash;
		GRANT ALL ON tenants, hashes TO platform`)
	e.Exec(t, `DROP TABLE management.tenants; CREATE SCHEMA faults; CREATE EXTENSION postgres_fdw; CREATE ROLE tenant_credentials_hash NOLOGIN;
		CREATE SERVER platform FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '`+port+`', dbname 'postgres', sslmode 'disable',
			connect_timeout '5', keepalives_idle '10', keepalives_interval '5', keepalives_count '3', tcp_user_timeout '25000');
		CREATE USER MAPPING FOR tenant_credentials_hash SERVER platform OPTIONS (user 'hash', password 'hash');
		CREATE USER MAPPING FOR postgres SERVER platform OPTIONS (user 'platform', password 'platform');
		CREATE FOREIGN TABLE management.tenants (id uuid, name text, password_hash text, db_role text, db_name text, fly_app text, owner uuid)
			SERVER platform OPTIONS (schema_name 'public', table_name 'tenants');
		CREATE FOREIGN TABLE faults.hashes (tenant_id uuid, hash text) SERVER platform OPTIONS (schema_name 'public', table_name 'hashes')`)
}

// sample is what our server has of a tenant at one moment.
type sample struct {
	verifier string // of the login in use
	agrees   bool   // with the ledger
	hash     string // the digest of the stored hash, as the ledger has it
	open     bool   // a rotation is in progress, and not committed
}

func (s *site) sample(ctx context.Context, x platform.Tenant) (now sample, err error) {
	c, err := pgx.Connect(ctx, x.Environment().URL)
	if err != nil {
		return sample{}, err
	}
	defer c.Close(context.WithoutCancel(ctx))
	if err := quieten(ctx, c); err != nil {
		return sample{}, err
	}
	err = c.QueryRow(ctx, `SELECT coalesce(a.rolpassword, ''), sha256(convert_to(a.rolpassword, 'UTF8')) = coalesce(r.verifier_digest, c.verifier_digest),
		encode(coalesce(r.hash_digest, c.hash_digest), 'hex'),
		EXISTS (SELECT FROM tenant_credentials.rotations o WHERE o.tenant_id = c.tenant_id AND o.state IN ('open', 'issued'))
		FROM tenant_credentials.claims c
		LEFT JOIN LATERAL (SELECT * FROM tenant_credentials.rotations r WHERE r.tenant_id = c.tenant_id AND r.state IN ('committed', 'rolled', 'completed')
			ORDER BY r.revision DESC LIMIT 1) r ON true JOIN pg_authid a ON a.rolname = coalesce(r.login, c.role) WHERE c.tenant_id = $1`, x.ID).
		Scan(&now.verifier, &now.agrees, &now.hash, &now.open)
	return now, err
}

// stored is the hash on the platform's own server, and its digest.
func (s *site) stored(ctx context.Context, x platform.Tenant) (hash, digest string, err error) {
	c, err := pgx.Connect(ctx, s.table.SuperuserURL())
	if err != nil {
		return "", "", err
	}
	defer c.Close(context.WithoutCancel(ctx))
	err = c.QueryRow(ctx, "SELECT password_hash FROM tenants WHERE id = $1", x.ID).Scan(&hash)
	sum := sha256.Sum256([]byte(hash))
	return hash, hex.EncodeToString(sum[:]), err
}

// between is the call that commits on the platform's own server. When it has been forwarded, that server has the new hash, and ours must have
// nothing of the rotation but the open row.
type between struct {
	faultproxy.Passage
	incident *incident
}

func (b between) Forward() error {
	if err := b.Passage.Forward(); err != nil {
		return err
	}
	return b.incident.site.requireBetween(context.Background(), b.incident.tenant)
}

// requireBetween says what is not as it is between the two COMMITs.
func (s *site) requireBetween(ctx context.Context, x platform.Tenant) error {
	ours, err := s.sample(ctx, x)
	if err != nil {
		return err
	}
	hash, digest, err := s.stored(ctx, x)
	if err != nil {
		return err
	}
	if !ours.open || !ours.agrees || digest == ours.hash || hash == ours.verifier {
		return fmt.Errorf("not between the two COMMITs: open row %t, role and ledger agree %t, stored hash is the ledger's %t, and the role's %t",
			ours.open, ours.agrees, digest == ours.hash, hash == ours.verifier)
	}
	return nil
}

// apart is credentials for a hash on another server. Role and ledger agree at every moment; the stored hash is the ledger's, unless a rotation
// is in progress: then it may be that one's. A server that is down has nothing to say.
func (w *witness) apart(ctx context.Context) error {
	known, looked := "", false
	for ctx.Err() == nil {
		before, err := w.site.sample(ctx, w.tenant)
		_, digest, errThere := w.site.stored(ctx, w.tenant)
		after, errAfter := w.site.sample(ctx, w.tenant)
		if err := errors.Join(err, errThere, errAfter); err != nil {
			if down(err) {
				continue
			}
			return err
		}
		if !before.agrees || !after.agrees || !before.open && !after.open && digest != before.hash && digest != after.hash {
			w.say("at a moment in between, role and ledger agreed: %t, %t; the stored hash was the ledger's: %t, %t; a row was open: %t, %t",
				before.agrees, after.agrees, digest == before.hash, digest == after.hash, before.open, after.open)
			return nil
		}
		if after.verifier != known && !w.atFly(ctx, after.verifier) {
			w.say("a password came into force that Fly did not have")
			return nil
		}
		known = after.verifier
		looked = true
		time.Sleep(50 * time.Millisecond) // a sample
	}
	if !looked {
		w.say("the witness has seen nothing")
	}
	return nil
}

// down says that a server could not be asked, as it is down or has just gone.
func down(err error) bool {
	var answer *pgconn.PgError
	return !errors.As(err, &answer) || strings.HasPrefix(answer.Code, "57")
}
