package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
)

func TestTheDocumentIsServed(t *testing.T) {
	g := newGateway(t, nil)
	a := g.call(http.MethodGet, "/openapi.json", "", "")
	require.Equal(t, http.StatusOK, a.status)
	var document struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]any
	}
	require.NoError(t, json.Unmarshal(a.body, &document))
	require.Equal(t, "3.1.0", document.OpenAPI)
	require.Contains(t, document.Paths, "/api/v1/tenants/{tenant_id}/rotate-credentials")
}

func TestAChangedCertificateIsTakenUp(t *testing.T) {
	var files options
	g := newGateway(t, func(o *options) { files = *o })
	require.Equal(t, http.StatusOK, g.call(http.MethodGet, "/openapi.json", "", "").status)
	roots := writeCertificate(t, files.certFile, files.keyFile)
	require.Eventually(t, func() bool {
		fresh := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
		response, err := fresh.Get(g.url + "/openapi.json")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return true
	}, 30*time.Second, 100*time.Millisecond)
}

func TestOldTLSIsRefused(t *testing.T) {
	g := newGateway(t, nil)
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}}
	_, err := old.Get(g.url + "/openapi.json") //nolint:bodyclose // there is none
	require.Error(t, err)
}

// /metrics and the log name no token and, in metrics, no tenant.
func TestMetricsAndAccessLog(t *testing.T) {
	address := freeAddress(t)
	g := newGateway(t, func(o *options) { o.metricsAddress = address })
	x := newTenant(t, behaviour{})
	token := staff(t)
	a := g.rotate(x, token, `{"reason":"a reason that is not for the log"}`)
	require.Equal(t, http.StatusOK, a.status)
	g.call(http.MethodGet, "/api/v1/"+secrets.add("a-token.in-the.path-of-a-call")+"?token=x", "", "")
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	scrape := func(token string) (int, string) {
		request, err := http.NewRequest(http.MethodGet, "https://"+address+"/metrics", nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := insecure.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(content)
	}
	require.Eventually(t, func() bool { // its certificate is made first
		connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		return err == nil && connection.Close() == nil
	}, 20*time.Second, 10*time.Millisecond)
	status, _ := scrape(accountToken(t, "tenants", "stranger"))
	require.Equal(t, http.StatusForbidden, status)
	reader := &rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}}
	reader.Name = "metrics-reader"
	require.NoError(t, client.IgnoreAlreadyExists(admin.Create(t.Context(), reader)))
	binding := &rbacv1.ClusterRoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: reader.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "tenants", Name: "prometheus"}}}
	binding.Name = reader.Name
	require.NoError(t, client.IgnoreAlreadyExists(admin.Create(t.Context(), binding)))
	status, content := scrape(accountToken(t, "tenants", "prometheus"))
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, content, `tcred_gateway_http_requests_total{code="200",method="POST",route="/api/v1/tenants/{tenant_id}/rotate-credentials"}`)
	require.Contains(t, content, `tcred_gateway_http_request_duration_seconds_bucket{code="200",route="/api/v1/tenants/{tenant_id}/rotate-credentials",le="0.05"}`)
	require.Contains(t, content, `tcred_gateway_authentications_total{result="cluster"}`)
	require.NotContains(t, content, x.id)
	require.Empty(t, secrets.leaked(content))

	line := logLine(t, a.header.Get("X-Request-Id"))
	require.Equal(t, "/api/v1/tenants/{tenant_id}/rotate-credentials", line["route"])
	require.Equal(t, "system:serviceaccount:tenants:staff", line["caller"])
	require.Equal(t, x.id, line["tenant_id"])
	require.Equal(t, "127.0.0.1", line["remote_address"])
	require.EqualValues(t, 200, line["status"])
	require.Equal(t, "POST", line["method"])
	require.NotContains(t, logged.text(), "not for the log")
}

// logLine is the line of the access log of one call.
func logLine(t *testing.T, id string) map[string]any {
	t.Helper()
	for line := range strings.Lines(logged.text()) {
		var fields map[string]any
		if strings.Contains(line, id) && json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == "request" {
			return fields
		}
	}
	require.Fail(t, "the log has no line of the call")
	return nil
}

// The gateway's own account may do what it does, and reads no Secret.
func TestTheGatewaysRights(t *testing.T) {
	own, err := client.New(gatewayConfig(t), client.Options{Scheme: admin.Scheme()})
	require.NoError(t, err)
	for _, namespace := range []string{"tcred-system", "tenants", ""} {
		require.True(t, apierrors.IsForbidden(own.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace))), namespace)
	}
	require.True(t, apierrors.IsForbidden(own.Get(t.Context(), client.ObjectKey{Namespace: "tcred-system", Name: "any"}, &corev1.Secret{})))
	for _, verb := range []string{"create", "delete", "update", "deletecollection"} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: v1alpha1.GroupVersion.Group, Resource: "tenantcredentials", Verb: verb, Namespace: "tenants"}}}
		require.NoError(t, own.Create(t.Context(), review))
		require.False(t, review.Status.Allowed, verb)
	}
	x := newTenant(t, behaviour{ignore: true})
	c := x.object()
	before := c.DeepCopy()
	c.Status.Revision = 9
	require.True(t, apierrors.IsForbidden(own.Status().Patch(t.Context(), c, client.MergeFrom(before))), "status is the operator's")
}

// faults stand between the gateway and the API server.
type faults struct {
	answer atomic.Pointer[func(*http.Request) (*http.Response, error)]
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

func (f *faults) to(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if answer := f.answer.Load(); answer != nil {
			if response, err := (*answer)(request); response != nil || err != nil {
				return response, err
			}
		}
		return next.RoundTrip(request)
	})
}

// on has requests of a method, whose path has a part, answered with a status; 0 = the connection is cut.
func (f *faults) on(method, part string, status int) {
	answer := func(request *http.Request) (*http.Response, error) {
		if request.Method != method || !strings.Contains(request.URL.Path, part) || request.URL.Query().Has("watch") {
			return nil, nil
		}
		if status == 0 {
			return nil, errors.New("the connection was cut")
		}
		const body = "not the API server's usual words"
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": []string{"text/plain"}}, Body: io.NopCloser(strings.NewReader(body)), Request: request}, nil
	}
	f.answer.Store(&answer)
}

func TestFaultsOfTheAPIServer(t *testing.T) {
	between := &faults{}
	faultsOfNext = between
	g := newGateway(t, nil)
	faultsOfNext = nil
	x := newTenant(t, behaviour{ignore: true})
	token := staff(t)
	for _, test := range []struct{ method, part string }{
		{http.MethodGet, "/tenantcredentials/"}, {http.MethodPatch, "/tenantcredentials/"}, {http.MethodPost, "/subjectaccessreviews"}, {http.MethodPost, "/tokenreviews"},
	} {
		for _, status := range []int{0, http.StatusInternalServerError, http.StatusForbidden} {
			between.on(test.method, test.part, status)
			x, token := x, token
			switch test.part { // a kept answer is not asked for again
			case "/tokenreviews":
				token = accountToken(t, "tenants", "staff", "tenant-credential-gateway")
			case "/subjectaccessreviews":
				token = accountToken(t, "tenants", "fresh-"+strings.ToLower(http.MethodPost)+string(rune('a'+status%26)), "tenant-credential-gateway")
			}
			a := g.rotate(x, token, "")
			requireProblem(t, a, http.StatusServiceUnavailable, openapi.Unavailable)
		}
	}
	between.answer.Store(nil)
	require.Nil(t, x.object().Spec.RotationRequest)
	require.Equal(t, http.StatusAccepted, g.rotate(x, token, "", "Prefer", "respond-async").status)
	require.True(t, bytes.Contains([]byte(logged.text()), []byte("the API server did not")), "the platform's log says it")
}

func TestWhereACallComesFrom(t *testing.T) {
	g := newGateway(t, func(o *options) { o.trustedProxies = "127.0.0.0/8, 10.0.0.0/8" })
	for header, want := range map[string]string{
		"":                            "127.0.0.1",
		"203.0.113.7":                 "203.0.113.7",
		"198.51.100.1, 203.0.113.7":   "203.0.113.7",
		"203.0.113.7, 10.1.2.3":       "203.0.113.7",
		"198.51.100.1, bad, 10.1.2.3": "10.1.2.3",
		"2001:db8::1":                 "2001:db8::1",
	} {
		var lines []string
		if header != "" {
			lines = []string{"X-Forwarded-For", header}
		}
		a := g.call(http.MethodGet, "/openapi.json", "", "", lines...)
		require.Eventually(t, func() bool { return strings.Contains(logged.text(), a.header.Get("X-Request-Id")) }, time.Second, time.Millisecond)
		require.Equal(t, netip.MustParseAddr(want).String(), logLine(t, a.header.Get("X-Request-Id"))["remote_address"], header)
	}
	untrusting := newGateway(t, nil)
	a := untrusting.call(http.MethodGet, "/openapi.json", "", "", "X-Forwarded-For", "203.0.113.7")
	require.Eventually(t, func() bool { return strings.Contains(logged.text(), a.header.Get("X-Request-Id")) }, time.Second, time.Millisecond)
	require.Equal(t, "127.0.0.1", logLine(t, a.header.Get("X-Request-Id"))["remote_address"])
}

func TestMistakesInTheFlags(t *testing.T) {
	good := options{certFile: "c", keyFile: "k", audience: "a", maxInFlight: 1, failedRate: 1, failedBurst: 1, address: "127.0.0.1:0", probeAddress: "0", metricsAddress: "0"}
	for message, change := range map[string]func(*options){
		"--tls-cert-file":         func(o *options) { o.certFile = "" },
		"--token-audience":        func(o *options) { o.audience = "" },
		"--max-in-flight":         func(o *options) { o.maxInFlight = 0 },
		"--trusted-proxies":       func(o *options) { o.trustedProxies = "10.0.0.1" },
		"--authentication-config": func(o *options) { o.issuers = "missing.yaml" },
		"read the certificate":    func(*options) {},
	} {
		o := good
		change(&o)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		require.ErrorContains(t, run(ctx, gatewayConfig(t), o), message)
		cancel()
	}
}
