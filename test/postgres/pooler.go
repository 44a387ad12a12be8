package pgserver

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Pooler is a PgBouncer before a server. It looks verifiers up at the server, but for the users that it was given.
type Pooler struct {
	// Port is that on 127.0.0.1.
	Port int

	dir     string
	process *process
}

// PoolerOptions say which pooler to start.
type PoolerOptions struct {
	// Port is that on 127.0.0.1; 0 = a free one.
	Port int
	// SuperuserURL is the server's.
	SuperuserURL string
	// Mode is PgBouncer's pool_mode: session or transaction.
	Mode string
	// Verifiers are those of users that are not looked up, by name; nil = none.
	Verifiers map[string]string
	// Settings are added to the section [pgbouncer], one a line.
	Settings []string
}

// StartPooler waits until the pooler listens.
func StartPooler(ctx context.Context, o PoolerOptions) (*Pooler, error) {
	port := o.Port
	if port == 0 {
		var err error
		if port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "pooler-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the pooler: %w", err)
	}
	p := &Pooler{Port: port, dir: dir}
	if err := p.start(ctx, o); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// Stop ends it, and the sessions through it.
func (p *Pooler) Stop() {
	if p.process != nil {
		p.process.stop(endPooler)
	}
	_ = os.RemoveAll(p.dir)
}

func (p *Pooler) start(ctx context.Context, o PoolerOptions) error {
	superuser, err := url.Parse(o.SuperuserURL)
	if err != nil {
		return fmt.Errorf("parse the server's URL: %w", err)
	}
	account := serverAccount() // PgBouncer refuses to run as root
	password, _ := superuser.User.Password()
	users := fmt.Sprintf("%q %q\n", superuser.User.Username(), password)
	for name, verifier := range o.Verifiers {
		users += fmt.Sprintf("%q %q\n", name, verifier)
	}
	list, configuration := filepath.Join(p.dir, "users.txt"), filepath.Join(p.dir, "pgbouncer.ini")
	for path, content := range map[string]string{list: users, configuration: fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
pool_mode = %s
auth_type = scram-sha-256
auth_file = %s
auth_user = %s
auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = $1
%s
`, superuser.Port(), p.Port, o.Mode, list, superuser.User.Username(), strings.Join(o.Settings, "\n"))} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return fmt.Errorf("write the pooler's configuration: %w", err)
		}
		if err := account.own(path); err != nil {
			return err
		}
	}
	if err := account.own(p.dir); err != nil {
		return err
	}
	if p.process, err = startProcess(account, filepath.Join(p.dir, "log"), "pgbouncer", []string{configuration}); err != nil {
		return err
	}
	return p.waitUntilItListens(ctx)
}

func (p *Pooler) waitUntilItListens(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		connection, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)))
		if err == nil {
			return connection.Close()
		}
		select {
		case <-p.process.ended:
			return fmt.Errorf("the pooler ended while starting: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("the pooler does not listen: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
