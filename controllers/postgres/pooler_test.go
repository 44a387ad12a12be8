package postgres

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/hack/pgserver"
)

// pooled starts PgBouncer before the fixture's server. It looks verifiers up at the server, but for the users that it is given. The Server that is
// returned leads through it.
func (f *fixture) pooled(t *testing.T, mode string, users ...string) *Server {
	t.Helper()
	superuser, err := url.Parse(f.pg.SuperuserURL())
	require.NoError(t, err)
	password, _ := superuser.User.Password()
	port, err := pgserver.FreePort()
	require.NoError(t, err)

	folder, err := os.MkdirTemp("", "pooler") // readable for the user nobody, as whom root runs PgBouncer
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	require.NoError(t, os.Chmod(folder, 0o755)) //nolint:gosec // as above
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644)) //nolint:gosec // as above
		return path
	}
	list := write("users.txt", strings.Join(append(users, fmt.Sprintf("%q %q", "postgres", password)), "\n")+"\n")
	command := exec.Command("pgbouncer", write("pgbouncer.ini", fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
pool_mode = %s
auth_type = scram-sha-256
auth_file = %s
auth_user = postgres
auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = $1
`, superuser.Port(), port, mode, list)))
	if os.Getuid() == 0 { // it refuses to run as root
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	require.NoError(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	require.Eventually(t, func() bool {
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil && connection.Close() == nil
	}, 20*time.Second, 20*time.Millisecond, "PgBouncer does not listen")

	server, err := Connect(t.Context(), Config{URL: strings.Replace(f.operatorURL(), ":"+superuser.Port()+"/", fmt.Sprintf(":%d/", port), 1), MaxConnections: 1})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server
}

// A login through PgBouncer is proved where it works, and refused where the pooler goes by a previous verifier.
func TestVerifyLoginThroughPgBouncer(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		for _, mode := range []string{"session", "transaction"} {
			t.Run(mode, func(t *testing.T) {
				l := newLogin(t, f)
				former := one[string](f, "select rolpassword from pg_authid where rolname = $1", l.Role)
				asking, remembering := f.pooled(t, mode), f.pooled(t, mode, fmt.Sprintf("%q %q", l.Role, former))
				require.NoError(t, asking.VerifyLogin(t.Context(), l))
				require.NoError(t, remembering.VerifyLogin(t.Context(), l))

				previous := l
				l.Password = credential.NewPassword().Reveal()
				f.exec("alter role " + l.Role + " password '" + l.Password + "'")
				require.NoError(t, asking.VerifyLogin(t.Context(), l))
				requireFailure(t, asking.VerifyLogin(t.Context(), previous), failure.Retry, failure.VerificationFailed)
				e := requireFailure(t, remembering.VerifyLogin(t.Context(), l), failure.Retry, failure.VerificationFailed)
				require.Equal(t, "A pooler before PostgreSQL (PgBouncer answers so) refused the tenant's login: it may still have the previous verifier.", e.Detail)
			})
		}
	})
}
