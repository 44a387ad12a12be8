package faultmatrix

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// layGates makes the places at which the SQL function stage can be held or refused, by what a platform may have: row security on the
// management table, which is read just before the guard, and triggers. The one on the management table also notes each change of a hash
// that is committed.
func (l *lane) layGates(t *testing.T) {
	t.Helper()
	_, err := l.superuser.Exec(t.Context(), `
		CREATE SCHEMA faults;
		CREATE TABLE faults.gates (step text PRIMARY KEY, refuse boolean NOT NULL);
		CREATE TABLE faults.hashes (tenant_id uuid NOT NULL, hash text NOT NULL);
		CREATE FUNCTION faults.pass(wanted text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
		DECLARE
		  refused boolean;
		BEGIN
		  LOOP
		    SELECT g.refuse INTO refused FROM faults.gates g WHERE g.step = wanted;
		    IF NOT FOUND THEN
		      RETURN true;
		    ELSIF refused THEN
		      RAISE EXCEPTION 'refused at %', wanted;
		    END IF;
		    PERFORM pg_sleep(0.02);
		  END LOOP;
		END
		$$;
		CREATE FUNCTION faults.trigger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
		BEGIN
		  PERFORM faults.pass(TG_ARGV[0]);
		  IF TG_ARGV[0] = 'hash' THEN
		    INSERT INTO faults.hashes VALUES (NEW.id, NEW.password_hash);
		  END IF;
		  RETURN NEW;
		END
		$$;
		GRANT USAGE ON SCHEMA faults TO PUBLIC;
		ALTER TABLE management.tenants ENABLE ROW LEVEL SECURITY;
		CREATE POLICY gate ON management.tenants USING (faults.pass('guard'));
		CREATE TRIGGER gate BEFORE UPDATE OF password_hash ON management.tenants FOR EACH ROW EXECUTE FUNCTION faults.trigger('hash');
		CREATE TRIGGER zz_gate BEFORE UPDATE ON tenant_credentials.rotations FOR EACH ROW WHEN (NEW.state = 'staged') EXECUTE FUNCTION faults.trigger('ledger');`)
	require.NoError(t, err)
}

// gate is a place inside stage. Closed, it holds the server there; then it is opened, or has the server refuse. Open also takes back
// the changes of refuse.
type gate interface {
	close(ctx context.Context, c *pgx.Conn, x platform.Tenant) error
	refuse(ctx context.Context, c *pgx.Conn, x platform.Tenant) error
	open(ctx context.Context, c *pgx.Conn, x platform.Tenant) error
}

// triggerGate is one of the triggers, or the row security.
type triggerGate string

func (g triggerGate) close(ctx context.Context, c *pgx.Conn, _ platform.Tenant) error {
	return execute(ctx, c, "INSERT INTO faults.gates VALUES ('"+string(g)+"', false)")
}

func (g triggerGate) refuse(ctx context.Context, c *pgx.Conn, _ platform.Tenant) error {
	return execute(ctx, c, "UPDATE faults.gates SET refuse = true WHERE step = '"+string(g)+"'")
}

func (g triggerGate) open(ctx context.Context, c *pgx.Conn, _ platform.Tenant) error {
	return execute(ctx, c, "DELETE FROM faults.gates WHERE step = '"+string(g)+"'")
}

// guardGate is the row security, behind which the role may have an attribute that the guard refuses.
type guardGate struct{ triggerGate }

func (g guardGate) refuse(ctx context.Context, c *pgx.Conn, x platform.Tenant) error {
	return execute(ctx, c, "ALTER ROLE "+x.Role()+" CREATEDB", "DELETE FROM faults.gates")
}

func (g guardGate) open(ctx context.Context, c *pgx.Conn, x platform.Tenant) error {
	if err := g.triggerGate.open(ctx, c, x); err != nil {
		return err
	}
	var refused bool
	if err := c.QueryRow(ctx, "SELECT rolcreatedb FROM pg_roles WHERE rolname = $1", x.Role()).Scan(&refused); err != nil || !refused {
		return err
	}
	return execute(ctx, c, "ALTER ROLE "+x.Role()+" NOCREATEDB")
}

// alterGate is another session that changes the role: ours waits, and fails once the other one commits ("tuple concurrently updated").
type alterGate struct{}

func (alterGate) close(ctx context.Context, c *pgx.Conn, x platform.Tenant) error {
	return execute(ctx, c, "BEGIN", "ALTER ROLE "+x.Role()+" CONNECTION LIMIT -1")
}

func (alterGate) refuse(ctx context.Context, c *pgx.Conn, _ platform.Tenant) error {
	return execute(ctx, c, "COMMIT")
}

func (alterGate) open(ctx context.Context, c *pgx.Conn, _ platform.Tenant) error {
	if c.PgConn().TxStatus() == 'T' {
		return execute(ctx, c, "ROLLBACK")
	}
	return nil
}

func execute(ctx context.Context, c *pgx.Conn, statements ...string) error {
	for _, statement := range statements {
		if _, err := c.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// awaitHeld returns when the server works on stage and waits there.
func awaitHeld(ctx context.Context, c *pgx.Conn) error {
	for {
		var held bool
		err := c.QueryRow(ctx, `SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%tenant_credentials.stage(%'
			AND pid <> pg_backend_pid() AND (wait_event_type = 'Lock' OR wait_event = 'PgSleep')`).Scan(&held)
		if err != nil || held {
			return err
		}
		time.Sleep(20 * time.Millisecond) // no event tells that a session waits
	}
}
