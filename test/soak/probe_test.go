package soak

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// probes look at the tenants, one at a time at random, while the faults happen, and note what must never be so.
type probes struct {
	system  *system
	tenants []tenant

	mu         sync.Mutex
	violations []string
	passwords  int // that were tried, and whose answer proves something
	statuses   int // that said Ready, and whose Machines were tried
}

func (p *probes) violation(format string, arguments ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.violations = append(p.violations, time.Now().Format(time.TimeOnly)+" "+fmt.Sprintf(format, arguments...))
}

func (p *probes) run(ctx context.Context, look func(context.Context, int, *pgx.Conn) error) {
	var connection *pgx.Conn
	for ctx.Err() == nil {
		var err error
		if connection == nil {
			connection, err = p.system.connect(ctx)
		}
		if err == nil {
			err = look(ctx, rand.IntN(len(p.tenants)), connection)
		}
		if err != nil && connection != nil && connection.IsClosed() {
			connection = nil // the server was down
		}
		time.Sleep(100 * time.Millisecond) // the machine has other things to do
	}
	if connection != nil {
		_ = connection.Close(context.Background()) // it has only read
	}
}

// inForce is what one snapshot of the server says about a tenant.
type inForce struct {
	verifier, hash string // verifier: "" = the login is closed
	closed         bool   // after a compromise, by a rotation that is not committed
	revision       int64  // 0 = no rotation was ever committed
	version        string // of the secret at Fly
	digest         string // of the verifier, as the ledger, or the claim, has it
}

func (p *probes) inForce(ctx context.Context, connection *pgx.Conn, x tenant) (f inForce, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return f, connection.QueryRow(ctx, `SELECT coalesce(a.rolpassword, ''), m.password_hash, coalesce(r.revision, 0), coalesce(r.fly_secret_version::text, ''),
			encode(coalesce(r.verifier_digest, c.verifier_digest), 'hex'),
			NOT a.rolcanlogin AND a.rolpassword IS NULL AND EXISTS (SELECT FROM tenant_credentials.rotations o
				WHERE o.tenant_id = c.tenant_id AND o.revision > coalesce(r.revision, 0) AND o.closed_at IS NOT NULL)
		FROM tenant_credentials.claims c JOIN management.tenants m ON m.id = c.tenant_id
		LEFT JOIN LATERAL (SELECT * FROM tenant_credentials.rotations r WHERE r.tenant_id = c.tenant_id AND r.state IN ('committed', 'rolled', 'completed')
			ORDER BY revision DESC LIMIT 1) r ON true JOIN pg_authid a ON a.rolname = coalesce(r.login, c.role)
		WHERE c.tenant_id = $1`, x.id).Scan(&f.verifier, &f.hash, &f.revision, &f.version, &f.digest, &f.closed)
}

// password asserts that role, stored hash and ledger change in the same moment, and that the password of the last committed rotation is
// accepted until another one is committed, or the login is closed after a compromise.
func (p *probes) password(ctx context.Context, i int, connection *pgx.Conn) error {
	x := p.tenants[i]
	before, err := p.inForce(ctx, connection, x)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256([]byte(before.hash)); before.verifier != before.hash && !before.closed || hex.EncodeToString(sum[:]) != before.digest {
		p.violation("tenant %03d: role, stored hash and ledger of revision %d do not agree", i, before.revision)
	}
	url := initialURL(i, x)
	if before.revision > 0 {
		a, err := p.system.app(ctx, x.app())
		if err != nil {
			return err
		}
		if url = a.value(before.version); url == "" {
			p.violation("tenant %03d: revision %d is committed, and Fly never had version %s", i, before.revision, before.version)
			return nil
		}
	}
	refused, err := login(ctx, url)
	if err != nil && !refused {
		return err
	}
	if refused {
		after, err := p.inForce(ctx, connection, x)
		if err != nil {
			return err
		}
		if after.revision == before.revision && !after.closed {
			p.violation("tenant %03d: the password of revision %d is refused, the login is not closed, and no later one is committed", i, before.revision)
		}
		return nil
	}
	p.mu.Lock()
	p.passwords++
	p.mu.Unlock()
	return nil
}

// status asserts that an object which is Ready speaks the truth: its started Machines can log in. A mismatch is looked at again:
// had the object changed meanwhile, it would prove nothing.
func (p *probes) status(ctx context.Context, i int, _ *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	o := object(objectName(i), p.tenants[i].id, 0)
	if err := p.system.client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil || !settled(o) {
		return err
	}
	a, err := p.system.app(ctx, p.tenants[i].app())
	if err != nil {
		return err
	}
	for _, m := range a.Machines {
		if m.State != "started" {
			continue
		}
		refused, err := login(ctx, m.Env[variable])
		if err != nil && !refused {
			return err
		}
		if refused && p.same(ctx, i, o.ResourceVersion, m) {
			p.violation("tenant %03d: it is Ready, and Machine %s is refused", i, m.ID)
		}
	}
	if s := o.Status.Fly; s != nil && s.SecretDigest != "" && a.digest() != s.SecretDigest && p.same(ctx, i, o.ResourceVersion, machine{}) {
		p.violation("tenant %03d: it is Ready with digest %s, and Fly has %s", i, s.SecretDigest, a.digest())
	}
	p.mu.Lock()
	p.statuses++
	p.mu.Unlock()
	return nil
}

func (a app) digest() string {
	for _, s := range a.Secrets {
		if s.Name == variable {
			return s.Digest
		}
	}
	return ""
}

// same says that neither the object nor the Machine (if one is given) has changed since.
func (p *probes) same(ctx context.Context, i int, resourceVersion string, m machine) bool {
	a, err := p.system.app(ctx, p.tenants[i].app())
	if err != nil {
		return false
	}
	unchanged := m.ID == ""
	for _, now := range a.Machines {
		unchanged = unchanged || (now.ID == m.ID && now.State == m.State && now.Env[variable] == m.Env[variable])
	}
	o := object(objectName(i), p.tenants[i].id, 0)
	if err := p.system.client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return false
	}
	return unchanged && o.ResourceVersion == resourceVersion
}
