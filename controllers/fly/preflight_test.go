package fly

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

// Fly's answer about the token is believed where it is clear: that the token is refused, or is of another organization.
func TestPreflight(t *testing.T) {
	emulator := flyemulator.New(flyemulator.Options{})
	server := httptest.NewServer(emulator.API())
	t.Cleanup(func() { emulator.Close(); server.Close() })
	emulator.PutToken(testToken, flyemulator.Token{Organization: "acme"})
	ask := func(url, token, organization string) error {
		c, err := Open(Config{Token: credential.SecretOf(token), URL: url, Organization: organization})
		require.NoError(t, err)
		return c.Preflight(t.Context())
	}
	require.NoError(t, ask(server.URL, testToken, "acme"))
	require.NoError(t, ask(server.URL, testToken, ""), "any organization")
	requireFailure(t, ask(server.URL, "fo1_another", "acme"), failure.Retry, reasons.AuthenticationFailed)
	err := ask(server.URL, testToken, "acmee")
	requireFailure(t, err, failure.Retry, reasons.PermissionDenied)
	require.Contains(t, err.Error(), "The Fly token is of organization acme, not of acmee")

	for name, test := range map[string]struct {
		answer http.HandlerFunc
		reason failure.Reason // "" = nothing is said against the token
	}{
		"no such call":                 {status(404), reasons.Rejected},
		"Fly is down":                  {status(503), reasons.ConnectionFailed},
		"no token":                     {body(`{"tokens":[]}`), ""},
		"no organization":              {body(`{"tokens":[{"org_slug":""}]}`), ""},
		"a name that there cannot be":  {body(`{"tokens":[{"org_slug":"<script>"}]}`), ""},
		"the user's own, by its alias": {body(`{"tokens":[{"org_slug":"personal"}]}`), ""},
		"one of several":               {body(`{"tokens":[{"org_slug":"other"},{"org_slug":"acme"}]}`), ""},
		"another one":                  {body(`{"tokens":[{"org_slug":"other"}]}`), reasons.PermissionDenied},
		"no JSON":                      {body(`<html>`), reasons.Unexpected},
	} {
		t.Run(name, func(t *testing.T) {
			err := ask(newFake(t, test.answer).URL, testToken, "acme")
			if test.reason == "" {
				require.NoError(t, err)
				return
			}
			requireFailure(t, err, failure.Retry, test.reason)
		})
	}
}

// An API with a certificate from a private authority is used with that authority's certificate alone.
func TestAPIOfAPrivateAuthority(t *testing.T) {
	server := httptest.NewTLSServer(body(`{"tokens":[]}`))
	t.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	ask := func(url string, ca []byte) error {
		c, err := Open(Config{Token: credential.SecretOf(testToken), URL: url, CA: ca})
		require.NoError(t, err)
		return c.Preflight(t.Context())
	}
	require.NoError(t, ask(server.URL, authority))
	err := ask(server.URL, nil)
	requireFailure(t, err, failure.Retry, reasons.CertificateUntrusted)
	require.Contains(t, err.Error(), "x509: certificate signed by unknown authority")
	elsewhere := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	requireFailure(t, ask(elsewhere, authority), failure.Retry, reasons.CertificateMismatch)

	_, err = Open(Config{Token: credential.SecretOf(testToken), URL: server.URL, CA: []byte("none")})
	requireFailure(t, err, failure.Stall, reasons.CertificateInvalid)
}
