package fly

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// trust is the variable by which a child trusts a server's certificate.
func trust(t *testing.T, server *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	return "SSL_CERT_FILE=" + file
}

// The client speaks no TLS that is broken, and trusts no certificate that it does not know.
func TestIntruderTLS(t *testing.T) {
	for name, test := range map[string]struct {
		most           uint16
		trusted, works bool
	}{
		"TLS 1.0": {tls.VersionTLS10, true, false}, "TLS 1.1": {tls.VersionTLS11, true, false},
		"TLS 1.2": {tls.VersionTLS12, true, true}, "TLS 1.3": {tls.VersionTLS13, true, true}, "a certificate of its own": {tls.VersionTLS13, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(routes(nil))
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: test.most}
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			defer server.Close()
			var environment []string
			if test.trusted {
				environment = append(environment, trust(t, server))
			}
			r := startChild(t, "app", server.URL, environment...)
			for i := range r.Errors {
				if test.works {
					require.Empty(t, r.Errors[i])
					continue
				}
				require.Equal(t, failure.Retry, r.Classes[i])
				require.Contains(t, r.Errors[i], "Fly cannot be reached")
			}
		})
	}
}

// A proxy of the environment sees tunnels, and never a request with the token.
func TestIntruderProxies(t *testing.T) {
	var asked, tunnels, tokens atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method == http.MethodConnect {
			tunnels.Add(1)
		}
		if r.Header.Get("Authorization") != "" {
			tokens.Add(1)
		}
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	environment := []string{"HTTP_PROXY=" + proxy.URL, "http_proxy=" + proxy.URL, "HTTPS_PROXY=" + proxy.URL, "ALL_PROXY=" + proxy.URL}
	for name, test := range map[string]struct {
		url, insecure string
		tunnels       bool
	}{
		"http of the private network": {"http://_api.internal:1", "", false},
		"http, allowed":               {"http://fly.invalid", "yes", false},
		"https":                       {"https://fly.invalid", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			asked.Store(0)
			tunnels.Store(0)
			r := startChild(t, "app", test.url, append(environment, insecureKey+"="+test.insecure)...)
			for _, text := range r.Errors {
				require.Contains(t, text, "Fly cannot be reached")
			}
			require.Equal(t, test.tunnels, asked.Load() > 0)
			require.Equal(t, asked.Load(), tunnels.Load())
			require.Zero(t, tokens.Load())
		})
	}
}
