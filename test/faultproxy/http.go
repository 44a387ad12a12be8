package faultproxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// HTTP is a proxy for an HTTP API.
type HTTP struct {
	// URL is where it listens, as scheme and host.
	URL string

	rules     *Rules
	kubes     bool
	target    *url.URL
	transport *http.Transport
	pass      *httputil.ReverseProxy
	server    *httptest.Server

	mu   sync.Mutex
	up   context.Context // ends with Cut
	down context.CancelFunc
}

// NewFly starts a proxy for Fly's API.
func NewFly(target *url.URL, rules *Rules) *HTTP {
	p := newHTTP(target, &http.Transport{}, rules)
	p.server = httptest.NewServer(p)
	p.URL = p.server.URL
	return p
}

// NewKubernetes starts a proxy for a kube-apiserver, which trust has the certificates of. Each client shows its own token.
func NewKubernetes(target *url.URL, trust *tls.Config, rules *Rules) *HTTP {
	p := newHTTP(target, &http.Transport{TLSClientConfig: trust}, rules)
	p.kubes = true
	p.server = httptest.NewTLSServer(p)
	p.URL = p.server.URL
	return p
}

func newHTTP(target *url.URL, transport *http.Transport, rules *Rules) *HTTP {
	p := &HTTP{rules: rules, target: target, transport: transport}
	p.pass = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = target.Host },
		Transport:     transport,
		FlushInterval: -1, // a watch is a stream
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.Mend()
	return p
}

// Certificate is the PEM of the certificate that a client has to trust.
func (p *HTTP) Certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
}

// Cut ends every request in progress, but those that meet a fault, and answers none until Mend: a network that is gone.
func (p *HTTP) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down()
}

// Mend takes a Cut back.
func (p *HTTP) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up, p.down = context.WithCancel(context.Background())
}

func (p *HTTP) network() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up
}

// Close ends the proxy and every request.
func (p *HTTP) Close() {
	p.Cut()
	p.server.CloseClientConnections()
	p.server.Close()
	p.transport.CloseIdleConnections()
}

// ServeHTTP passes a request on, or lets it meet its fault.
func (p *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	network := p.network()
	if network.Err() != nil {
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(r.Body) // whole, so that net/http can notice when the caller goes away
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	call := Call{Name: p.name(r), About: r.URL.Path}
	switch {
	case p.kubes && r.Method == http.MethodPatch:
		call.Body = body
	case r.URL.Path == "/graphql" || strings.HasPrefix(r.URL.Path, "/api/v1/releases"):
		call = releaseCall(r.Method, r.URL.Path, body)
	}
	fault := p.rules.meet(call)
	if fault == nil {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(network, cancel)()
		p.pass.ServeHTTP(w, r.WithContext(ctx))
		return
	}
	passage := &httpPassage{proxy: p, request: r, body: body, writer: w}
	fault(passage)
	if !passage.answered {
		panic(http.ErrAbortHandler)
	}
}

func (p *HTTP) name(r *http.Request) string {
	if p.kubes {
		return kubernetesName(r)
	}
	return flyName(r)
}

var flyPath = regexp.MustCompile(`^/v1/apps/[^/]+(?:/(secrets|machines)(?:/[^/]+(/lease)?)?)?$`)

func flyName(r *http.Request) string {
	match := flyPath.FindStringSubmatch(r.URL.Path)
	if match == nil {
		return r.Method
	}
	listing := r.URL.Path[len(r.URL.Path)-len(match[1]):] == match[1]
	names := map[string]string{
		"GET": "get app", "GET secrets list": "list secrets", "POST secrets list": "set secret", "GET machines list": "list machines",
		"GET machines": "get machine", "POST machines": "update machine",
		"POST machines/lease": "lease machine", "DELETE machines/lease": "release machine",
	}
	key := r.Method
	if match[1] != "" {
		key += " " + match[1] + match[2]
		if listing {
			key += " list"
		}
	}
	if name, known := names[key]; known {
		return name
	}
	return r.Method + " " + match[1] + match[2]
}

// inApp is the app's name in the variables of a GraphQL call, or in a release by REST.
var inApp = regexp.MustCompile(`"(?:appName|appId|app_name)":"([^"]*)"`)

// releaseCall is what GraphQL, or REST, is asked for; updating a release names no app.
func releaseCall(method, path string, body []byte) Call {
	call := Call{Name: "list releases"}
	byREST := path != "/graphql"
	switch {
	case byREST && method == http.MethodPost, bytes.Contains(body, []byte("createRelease")):
		call.Name = "create release"
	case byREST && method == http.MethodPatch, bytes.Contains(body, []byte("updateRelease")):
		call.Name = "update release"
	}
	if match := inApp.FindSubmatch(body); match != nil {
		call.About = string(match[1])
	}
	return call
}

var objectPath = regexp.MustCompile(`/namespaces/[^/]+/tenantcredentials/[^/]+(/status)?$`)

// kubernetesName is patch status, patch object or read object for a TenantCredential, and the bare method for anything else.
func kubernetesName(r *http.Request) string {
	match := objectPath.FindStringSubmatch(r.URL.Path)
	switch {
	case match == nil:
		return r.Method
	case r.Method == http.MethodPatch && match[1] != "":
		return "patch status"
	case r.Method == http.MethodPatch:
		return "patch object"
	case r.Method == http.MethodGet:
		return "read object"
	}
	return r.Method
}

type httpPassage struct {
	proxy    *HTTP
	request  *http.Request
	body     []byte
	writer   http.ResponseWriter
	response *http.Response
	answer   []byte
	answered bool
}

func (p *httpPassage) GivenUp() <-chan struct{} { return p.request.Context().Done() }

func (p *httpPassage) Forward() error {
	onward := p.request.Clone(context.WithoutCancel(p.request.Context()))
	onward.RequestURI = ""
	onward.URL.Scheme, onward.URL.Host, onward.Host = p.proxy.target.Scheme, p.proxy.target.Host, p.proxy.target.Host
	onward.Body = io.NopCloser(bytes.NewReader(p.body))
	response, err := p.proxy.transport.RoundTrip(onward)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	p.response = response
	p.answer, err = io.ReadAll(response.Body)
	return err
}

func (p *httpPassage) Answer() {
	for name, values := range p.response.Header {
		p.writer.Header()[name] = values
	}
	p.writer.WriteHeader(p.response.StatusCode)
	_, err := p.writer.Write(p.answer)
	p.answered = err == nil
}

func (p *httpPassage) Refuse() {
	p.writer.Header().Set("Content-Type", "application/json")
	p.writer.WriteHeader(http.StatusServiceUnavailable)
	text := `{"error":"unavailable"}`
	if p.proxy.kubes {
		text = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"etcdserver: request timed out","reason":"InternalError","code":500}`
	}
	_, err := io.WriteString(p.writer, text)
	p.answered = err == nil
}
