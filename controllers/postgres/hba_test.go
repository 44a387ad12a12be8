package postgres

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// Each login is asked for by the method that its name ends with.
const rules = `
local   all by_peer                   peer map=people
host    all by_password  127.0.0.1/32 password
host    all by_md5       127.0.0.1/32 md5
host    all by_md5_scram 127.0.0.1/32 md5
host    all by_trust     127.0.0.1/32 trust
host    all by_reject    127.0.0.1/32 reject
hostssl all by_cert      127.0.0.1/32 cert
host    all by_scram     127.0.0.1/32 scram-sha-256
host    all postgres     127.0.0.1/32 scram-sha-256
`

const (
	onlyScram       = ", and only scram-sha-256 is accepted: it alone proves the password, and does not tell it to the server."
	asksFor         = "PostgreSQL (pg_hba.conf), or a pooler before it, asks for the authentication "
	withoutPassword = "PostgreSQL (pg_hba.conf), or a pooler before it, lets the login in without its password (trust, peer or a certificate)" + onlyScram
)

// hbaPassword is that of every login.
const hbaPassword = "correct-horse-battery"

// passwordMessage is how a message begins that answers with a password, in clear or not, or with a step of SCRAM (PasswordMessage).
const passwordMessage = "p\x00\x00\x00"

// A method of pg_hba.conf other than SCRAM is named, of the operator's login and of a tenant's, and no password is sent.
func TestMethodsOfAuthentication(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			s := newHBAServer(t, version)
			for login, says := range map[string]string{
				"by_password": asksFor + "password" + onlyScram,
				"by_md5":      asksFor + "md5" + onlyScram,
				"by_trust":    withoutPassword,
				"by_peer":     withoutPassword,
				"by_cert":     withoutPassword,
			} {
				t.Run(login, func(t *testing.T) {
					sent, tenant, operator := s.try(t, login)
					require.NotContains(t, sent, passwordMessage)
					require.Equal(t, says, requireFailure(t, tenant, failure.Retry, reasons.MethodNotAccepted).Detail)
					require.Equal(t, says, requireFailure(t, operator, failure.Retry, reasons.MethodNotAccepted).Detail)
				})
			}
			t.Run("a URL that lets the operator's own password be told", func(t *testing.T) {
				server, heard := s.connect(t, "by_password", url.Values{"require_auth": {"password"}})
				err := server.VerifyLogin(t.Context(), tenantOf("by_password"))
				require.NotContains(t, heard(), passwordMessage)
				requireFailure(t, err, failure.Retry, reasons.MethodNotAccepted)
			})
			t.Run("by_reject", func(t *testing.T) {
				sent, tenant, operator := s.try(t, "by_reject")
				require.Equal(t, loginRefusals["28000"], requireFailure(t, tenant, failure.Retry, reasons.VerificationFailed).Detail)
				require.Equal(t, verdicts["28"].detail, requireFailure(t, operator, failure.Retry, reasons.AuthenticationFailed).Detail)
				require.NotContains(t, sent, passwordMessage)
			})
			for _, login := range []string{"by_scram", "by_md5_scram"} { // md5 is SCRAM for a role that has a verifier
				t.Run(login, func(t *testing.T) {
					sent, tenant, operator := s.try(t, login)
					require.NoError(t, tenant)
					requireFailure(t, operator, failure.Wait, reasons.LedgerOutdated) // logged in: it has seen that there is no ledger
					require.Contains(t, sent, passwordMessage)
					require.NotContains(t, sent, hbaPassword)
				})
			}
		})
	}
}

// hbaServer has a login for each method.
type hbaServer struct {
	pg *pgserver.Server
	ca authority
}

func newHBAServer(t *testing.T, version string) hbaServer {
	t.Helper()
	self, err := user.Current()
	require.NoError(t, err)
	s := hbaServer{ca: newAuthority(t)}
	certificate, key := s.ca.issue(t, "127.0.0.1")
	s.pg, err = pgserver.Start(t.Context(), pgserver.Options{
		Version:  version,
		Settings: map[string]string{"unix_socket_directories": ".", "ssl": "on", "ssl_ca_file": "root.crt"}, // in the data directory
		Files: map[string]string{
			"pg_hba.conf": rules, "pg_ident.conf": "people " + self.Username + " by_peer\n",
			"server.crt": certificate, "server.key": key, "root.crt": s.ca.Certificate,
		},
	})
	require.NoError(t, err)
	t.Cleanup(s.pg.Stop)
	dba, err := pgx.Connect(t.Context(), s.pg.SuperuserURL())
	require.NoError(t, err)
	defer func() { _ = dba.Close(context.Background()) }()
	for _, login := range regexp.MustCompile("by_[a-z0-9_]+").FindAllString(rules, -1) {
		_, err := dba.Exec(t.Context(), fmt.Sprintf("set password_encryption = '%s'; create role %s login password '%s'",
			map[bool]string{true: "md5", false: "scram-sha-256"}[login == "by_md5"], login, hbaPassword))
		require.NoError(t, err)
	}
	return s
}

// try logs in as a tenant, and as the operator, and returns what both have sent and what came of each.
func (s hbaServer) try(t *testing.T, login string) (sent string, tenant, operator error) {
	t.Helper()
	server, heard := s.connect(t, login, url.Values{})
	tenant = server.VerifyLogin(t.Context(), tenantOf(login))
	_, operator = server.Survey(t.Context())
	return heard(), tenant, operator
}

func tenantOf(login string) Login {
	return Login{Name: login, Role: login, Database: "postgres", Password: credential.SecretOf(hbaPassword)}
}

// connect prepares the operator's login of that name. Its URL has the parameters in query, and those that it needs.
func (s hbaServer) connect(t *testing.T, login string, query url.Values) (server *Server, heard func() string) {
	t.Helper()
	port, heard := eavesdrop(t, s.pg.Port)
	u := url.URL{Scheme: "postgres", User: url.UserPassword(login, hbaPassword), Path: "/postgres"}
	query.Set("host", "127.0.0.1")
	query.Set("port", strconv.Itoa(port))
	query.Set("sslmode", "disable")
	switch login {
	case "by_peer":
		query.Set("host", s.pg.DataDir())
		query.Set("port", strconv.Itoa(s.pg.Port))
	case "by_cert":
		query.Set("sslmode", "verify-full")
		s.ca.present(t, query, login)
	}
	u.RawQuery = query.Encode()
	server, err := Connect(t.Context(), Config{URL: credential.SecretOf(u.String()), MaxConnections: 1})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server, heard
}

// eavesdrop listens before a server, and hears what is sent to it.
func eavesdrop(t *testing.T, server int) (port int, heard func() string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	ear := &recorder{}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go ear.relay(client, net.JoinHostPort("127.0.0.1", strconv.Itoa(server)))
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port, ear.String
}

type recorder struct {
	mu      sync.Mutex
	written strings.Builder
}

func (r *recorder) Write(sent []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written.Write(sent)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written.String()
}

// relay carries a connection to the server; it records the client's bytes before they go on.
func (r *recorder) relay(client net.Conn, address string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
	_, _ = io.Copy(server, io.TeeReader(client, r))
}

// authority signs the certificates of one server and its clients.
type authority struct{ pgserver.Authority }

func newAuthority(t *testing.T) authority {
	t.Helper()
	made, err := pgserver.NewAuthority()
	require.NoError(t, err)
	return authority{made}
}

func (a authority) issue(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	certificate, key, err := a.Issue(name)
	require.NoError(t, err)
	return certificate, key
}

// present has a URL's client show a certificate of the login's.
func (a authority) present(t *testing.T, query url.Values, login string) {
	t.Helper()
	certificate, key := a.issue(t, login)
	for parameter, content := range map[string]string{"sslrootcert": a.Certificate, "sslcert": certificate, "sslkey": key} {
		path := filepath.Join(t.TempDir(), parameter)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		query.Set(parameter, path)
	}
}
