package faultproxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
)

func TestHTTPCallsHaveNames(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	target, err := url.Parse(server.URL)
	require.NoError(t, err)
	const object = "/apis/credentials.systemprompt.io/v1alpha1/namespaces/n/tenantcredentials/acme"
	tests := []struct{ kind, method, path, want string }{
		{"fly", "GET", "/v1/apps/sp-1", "get app"},
		{"fly", "GET", "/v1/apps/sp-1/secrets", "list secrets"},
		{"fly", "POST", "/v1/apps/sp-1/secrets", "set secret"},
		{"fly", "GET", "/v1/apps/sp-1/machines?include_leases=true", "list machines"},
		{"fly", "GET", "/v1/apps/sp-1/machines/m1", "get machine"},
		{"fly", "POST", "/v1/apps/sp-1/machines/m1", "update machine"},
		{"fly", "POST", "/v1/apps/sp-1/machines/m1/lease?ttl=60", "lease machine"},
		{"fly", "DELETE", "/v1/apps/sp-1/machines/m1/lease", "release machine"},
		{"fly", "POST", "/api/v1/releases", "create release"},
		{"fly", "PATCH", "/api/v1/releases/r1", "update release"},
		{"fly", "POST", "/graphql", "list releases"},
		{"kubernetes", "GET", object, "read object"},
		{"kubernetes", "PATCH", object, "patch object"},
		{"kubernetes", "PATCH", object + "/status", "patch status"},
		{"kubernetes", "GET", "/apis/credentials.systemprompt.io/v1alpha1/tenantcredentials?watch=true", "GET"},
	}
	for _, test := range tests {
		rules := faultproxy.NewRules()
		proxy, client := faultproxy.NewFly(target, rules), http.DefaultClient
		if test.kind == "kubernetes" {
			proxy = faultproxy.NewKubernetes(target, nil, rules)
			client = trusting(t, proxy)
		}
		_, err := send(t, client, test.method, proxy.URL+test.path)
		require.NoError(t, err)
		calls, _ := rules.Calls()
		require.Len(t, calls, 1)
		require.Equal(t, test.want, calls[0].Name, test.path)
		require.True(t, strings.HasPrefix(test.path, calls[0].About))
		proxy.Close()
	}
}

func trusting(t *testing.T, proxy *faultproxy.HTTP) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(proxy.Certificate()))
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}

func send(t *testing.T, client *http.Client, method, address string) (status int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader("{}"))
	require.NoError(t, err)
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, response.Body.Close())
	return response.StatusCode, err
}

func TestHTTPFaults(t *testing.T) {
	var served atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	defer server.Close()
	target, err := url.Parse(server.URL)
	require.NoError(t, err)
	rules := faultproxy.NewRules()
	proxy := faultproxy.NewFly(target, rules)
	defer proxy.Close()
	tests := []struct {
		name        string
		fault       faultproxy.Fault
		status      int // 0 = the client has no answer
		takesEffect bool
	}{
		{"refused", func(p faultproxy.Passage) { p.Refuse() }, 503, false},
		{"answer lost", func(p faultproxy.Passage) { _ = p.Forward() }, 0, true},
		{"held", func(p faultproxy.Passage) { <-p.GivenUp() }, 0, false},
		{"late", func(p faultproxy.Passage) { <-p.GivenUp(); _ = p.Forward() }, 0, true},
		{"goes on", func(p faultproxy.Passage) { _ = p.Forward(); p.Answer() }, 200, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			served.Store(0)
			over := make(chan struct{})
			rules.Set(func(faultproxy.Call, []faultproxy.Call) faultproxy.Fault {
				return func(p faultproxy.Passage) { defer close(over); test.fault(p) }
			})
			status, err := send(t, http.DefaultClient, http.MethodPost, proxy.URL+"/v1/apps/sp-1/secrets")
			require.Equal(t, test.status == 0, err != nil)
			require.Equal(t, test.status, status)
			<-over
			require.Equal(t, test.takesEffect, served.Load() == 1)
		})
	}
}

// A network that is cut ends the streams that are open, and lets a call that is held go on.
func TestHTTPCut(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/stream") {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	target, err := url.Parse(server.URL)
	require.NoError(t, err)
	rules := faultproxy.NewRules()
	proxy := faultproxy.NewFly(target, rules)
	defer proxy.Close()

	response, err := http.Get(proxy.URL + "/stream")
	require.NoError(t, err)
	rules.Set(func(faultproxy.Call, []faultproxy.Call) faultproxy.Fault {
		return func(p faultproxy.Passage) {
			proxy.Cut()
			if p.Forward() == nil {
				p.Answer()
			}
		}
	})
	status, err := send(t, http.DefaultClient, http.MethodPost, proxy.URL+"/held")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	_, err = io.ReadAll(response.Body)
	require.Error(t, err, "the stream goes on")
	require.NoError(t, response.Body.Close())

	rules.Set(nil)
	_, err = send(t, http.DefaultClient, http.MethodGet, proxy.URL+"/more")
	require.Error(t, err)
	proxy.Mend()
	_, err = send(t, http.DefaultClient, http.MethodGet, proxy.URL+"/more")
	require.NoError(t, err)
}
