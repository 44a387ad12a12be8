package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// gateway is one that runs, with the rights of config/gateway.
type gateway struct {
	t      testing.TB
	url    string
	client *http.Client
	routes routers.Router
	probes string
	// stop begins a graceful stop; ended has what run returned.
	stop  context.CancelFunc
	ended chan error
}

// newGateway starts one with short pauses; change sets what a test is about.
func newGateway(t testing.TB, change func(*options)) *gateway {
	t.Helper()
	o := options{audience: "tenant-credential-gateway", metricsAddress: "0", probeAddress: freeAddress(t), maxInFlight: 500, failedRate: 100, failedBurst: 1000}
	roots := certificate(t, &o)
	if change != nil {
		change(&o)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	g := &gateway{t: t, url: "https://" + listener.Addr().String(), probes: "http://" + o.probeAddress, stop: cancel, ended: make(chan error, 1)}
	g.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 200, ForceAttemptHTTP2: true}}
	go func() { g.ended <- serve(ctx, gatewayConfig(t), o, listener) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-g.ended)
		g.client.CloseIdleConnections()
	})
	spec, err := openapi.GetSpec()
	require.NoError(t, err)
	g.routes, err = gorillamux.NewRouter(spec)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		response, err := http.Get(g.probes + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, 20*time.Second, 10*time.Millisecond)
	running.Store(g, true)
	t.Cleanup(func() { running.Delete(g) })
	return g
}

// running are the gateways of the tests that run.
var running sync.Map

// waitUntilKnown waits until the gateways of a test have heard of a tenant: their caches follow the API server.
func waitUntilKnown(t testing.TB, x *tenant) {
	t.Helper()
	token := staff(t)
	running.Range(func(key, _ any) bool {
		if g := key.(*gateway); strings.HasPrefix(t.Name(), g.t.Name()) {
			require.Eventually(t, func() bool {
				request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, g.url+x.path("rotations"), nil)
				require.NoError(t, err)
				request.Header.Set("Authorization", "Bearer "+token)
				response, err := g.client.Do(request)
				if err != nil {
					return true // it serves no more
				}
				_ = response.Body.Close()
				return response.StatusCode != http.StatusNotFound
			}, 20*time.Second, 10*time.Millisecond, "the gateway does not know the tenant")
		}
		return true
	})
}

func freeAddress(t testing.TB) string {
	t.Helper()
	port, err := pgserver.FreePort()
	require.NoError(t, err)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// certificate makes one for 127.0.0.1.
func certificate(t testing.TB, o *options) *x509.CertPool {
	t.Helper()
	folder := t.TempDir()
	o.certFile, o.keyFile = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	return writeCertificate(t, o.certFile, o.keyFile)
}

func writeCertificate(t testing.TB, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "gateway"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600))
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(certFile, public, 0o600))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(public)
	return roots
}

// gatewayConfig is the way to the API server of the gateway's own ServiceAccount.
func gatewayConfig(t testing.TB) *rest.Config {
	t.Helper()
	own := rest.AnonymousClientConfig(config)
	own.BearerToken = accountToken(t, "tcred-system", "tenant-credential-gateway")
	if between := faultsOfNext; between != nil {
		own.Wrap(func(next http.RoundTripper) http.RoundTripper { return between.to(next) })
	}
	return own
}

// faultsOfNext are between the API server and the gateways that are started while it is set.
var faultsOfNext *faults

// accountToken is a token of a ServiceAccount, which is made where there is none; without an audience it is for the API server.
func accountToken(t testing.TB, namespace, name string, audiences ...string) string {
	t.Helper()
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = namespace, name
	if err := client.IgnoreAlreadyExists(admin.Create(context.Background(), account)); err != nil {
		require.NoError(t, err)
	}
	cluster, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	request, err = cluster.CoreV1().ServiceAccounts(namespace).CreateToken(context.Background(), name, request, metav1.CreateOptions{})
	require.NoError(t, err)
	return secrets.add(request.Status.Token)
}

func staff(t testing.TB) string {
	return accountToken(t, "tenants", "staff", "tenant-credential-gateway")
}

// answer is what the gateway said, checked against the OpenAPI document.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

// call makes one call. header has pairs of names and values.
func (g *gateway) call(method, path, token, body string, header ...string) answer {
	g.t.Helper()
	a, err := g.try(context.Background(), method, path, token, body, header...)
	require.NoError(g.t, err)
	return a
}

func (g *gateway) try(ctx context.Context, method, path, token, body string, header ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, g.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	begun := time.Now()
	response, err := g.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: response.StatusCode, header: response.Header, body: content, took: time.Since(begun)}
	g.validate(request, a)
	return a, nil
}

// validate has every answer of every test as openapi.yaml says, without a token in it.
func (g *gateway) validate(request *http.Request, a answer) {
	assert.Empty(g.t, secrets.leaked(string(a.body)), "the answer holds a token")
	assert.NotEmpty(g.t, a.header.Get("X-Request-Id"))
	route, parameters, err := g.routes.FindRoute(request)
	if err != nil { // no path of the document
		if a.status >= 400 {
			var p openapi.Problem
			assert.NoError(g.t, json.Unmarshal(a.body, &p))
			assert.Equal(g.t, a.status, p.Status)
			assert.True(g.t, p.Error.Code.Valid(), "code %q", p.Error.Code)
		}
		return
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, PathParams: parameters, Route: route},
		Status:                 a.status, Header: a.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	assert.NoError(g.t, openapi3filter.ValidateResponse(context.Background(), input.SetBodyBytes(a.body)), "%s %s: %d %s", request.Method, request.URL.Path, a.status, a.body)
}

func (a answer) rotation(t testing.TB) openapi.Rotation {
	t.Helper()
	var r openapi.Rotation
	require.NoError(t, json.Unmarshal(a.body, &r), "%d %s", a.status, a.body)
	return r
}

// requireProblem asserts a refusal, and that callers can read it in both of its forms.
func requireProblem(t testing.TB, a answer, status int, code openapi.ProblemErrorCode) openapi.Problem {
	t.Helper()
	var p openapi.Problem
	require.Equal(t, status, a.status, "%s", a.body)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	require.NoError(t, json.Unmarshal(a.body, &p))
	require.Equal(t, code, p.Error.Code, "%s", a.body)
	require.Equal(t, p.Detail, p.Error.Message)
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		require.NotEmpty(t, a.header.Get("Retry-After"))
	}
	return p
}

func (g *gateway) rotate(x *tenant, token, body string, header ...string) answer {
	g.t.Helper()
	return g.call(http.MethodPost, x.path("rotate-credentials"), token, body, header...)
}
