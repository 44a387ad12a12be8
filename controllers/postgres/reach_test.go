package postgres

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// A server whose certificate is from a private authority can be used with that authority's certificate, and without it, or with another host's, the
// failure says which it is, in x509's own words.
func TestServerOfAPrivateAuthority(t *testing.T) {
	s := newHBAServer(t, versions[0])
	stranger := newAuthority(t)
	for name, test := range map[string]struct {
		ca, host, mode string
		class          failure.Class
		reason         failure.Reason
		says           string
	}{
		"no authority":                   {"", "127.0.0.1", "", failure.Retry, reasons.CertificateUntrusted, "its certificate is not from an authority that is trusted (x509: certificate signed by unknown authority)"},
		"another authority":              {stranger.Certificate, "127.0.0.1", "", failure.Retry, reasons.CertificateUntrusted, "x509: "},
		"its authority":                  {s.ca.Certificate, "127.0.0.1", "", failure.Wait, reasons.LedgerOutdated, ""},
		"both authorities":               {stranger.Certificate + s.ca.Certificate, "127.0.0.1", "", failure.Wait, reasons.LedgerOutdated, ""},
		"another host":                   {s.ca.Certificate, "localhost", "", failure.Retry, reasons.CertificateMismatch, "its certificate is for another host (x509: certificate is "},
		"another host, verify-ca":        {s.ca.Certificate, "localhost", "verify-ca", failure.Wait, reasons.LedgerOutdated, ""},
		"another host, require":          {s.ca.Certificate, "localhost", "require", failure.Wait, reasons.LedgerOutdated, ""},
		"require checks the authority":   {stranger.Certificate, "localhost", "require", failure.Retry, reasons.CertificateUntrusted, "x509: "},
		"verify-ca checks the authority": {stranger.Certificate, "localhost", "verify-ca", failure.Retry, reasons.CertificateUntrusted, "x509: "},
		"an unchecked mode":              {s.ca.Certificate, "127.0.0.1", "prefer", failure.Stall, reasons.AuthenticationFailed, "Leave sslmode out, or write verify-full."},
		"no certificate":                 {"-----BEGIN NOTHING-----", "127.0.0.1", "", failure.Stall, reasons.CertificateInvalid, "ca.crt has no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			u := url.URL{Scheme: "postgres", User: url.UserPassword("by_scram", hbaPassword), Host: net.JoinHostPort(test.host, strconv.Itoa(s.pg.Port)), Path: "/postgres"}
			if test.mode != "" {
				u.RawQuery = "sslmode=" + test.mode
			}
			config := Config{URL: credential.SecretOf(u.String()), MaxConnections: 1}
			if test.ca != "" {
				config.CA = []byte(test.ca)
			}
			require.Contains(t, requireFailure(t, survey(t, config), test.class, test.reason).Detail, test.says)
		})
	}
}

// The DBA's URL names the authority as libpq has it.
func TestInstallationOnAServerOfAPrivateAuthority(t *testing.T) {
	s := newHBAServer(t, versions[0])
	u, err := url.Parse(s.pg.SuperuserURL())
	require.NoError(t, err)
	u.RawQuery = ""
	refused := requireFailure(t, Install(t.Context(), u.String(), installation()), failure.Retry, reasons.CertificateUntrusted)
	require.Contains(t, refused.Detail, "Nothing was changed in database postgres")
	require.Contains(t, refused.Detail, "(x509: certificate signed by unknown authority). To fix: add sslrootcert=")

	file := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(file, []byte(s.ca.Certificate), 0o600))
	reached := func(err error) {
		require.Contains(t, failure.As(err).Detail, "Role tcred_operator, the operator's login, does not exist.")
	}
	reached(Install(t.Context(), u.String()+"?sslrootcert="+file, installation()))
	t.Setenv("PGSSLROOTCERT", file)
	reached(Install(t.Context(), u.String(), installation()))
}

// Each cause of an unreachable server has a reason of its own, and the message names the address; nothing of the URL's user or password is repeated.
func TestServerThatCannotBeReached(t *testing.T) {
	free, err := pgserver.FreePort()
	require.NoError(t, err)
	closed := net.JoinHostPort("127.0.0.1", strconv.Itoa(free))
	plain := newHBAServer(t, versions[0])
	for name, test := range map[string]struct {
		url    string
		reason failure.Reason
		says   string
	}{
		"nothing listens":           {"postgres://operator:hidden@" + closed + "/platform", reasons.ConnectionRefused, "PostgreSQL cannot be reached: " + closed + " refuses the connection."},
		"the name does not resolve": {"postgres://operator:hidden@db..internal/platform", reasons.HostNotFound, "PostgreSQL cannot be reached: the name db..internal does not resolve."},
		"another authentication": {"postgres://by_md5:hidden@" + net.JoinHostPort("127.0.0.1", strconv.Itoa(plain.pg.Port)) + "/postgres?sslmode=disable",
			reasons.MethodNotAccepted, asksFor + "md5" + onlyScram},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.says, requireFailure(t, survey(t, Config{URL: credential.SecretOf(test.url)}), failure.Retry, test.reason).Detail)
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		f := newFixture(t, versions[0])
		u, err := url.Parse(f.pg.SuperuserURL())
		require.NoError(t, err)
		u.RawQuery = ""
		require.Contains(t, requireFailure(t, survey(t, Config{URL: credential.SecretOf(u.String())}), failure.Retry, reasons.ConnectionFailed).Detail, "PostgreSQL offers no TLS")
	})
}

// survey connects and asks, and returns what came of it.
func survey(t *testing.T, config Config) error {
	t.Helper()
	server, err := Connect(t.Context(), config)
	if err != nil {
		return err
	}
	defer server.Close()
	_, err = server.Survey(t.Context())
	return err
}
