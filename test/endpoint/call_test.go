package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answer is what the endpoint said.
type answer struct {
	Code   int
	Header http.Header
	Body   string
}

// rotation is what an answer says of a rotation.
type rotation struct {
	Status      string
	Message     string
	Reason      string
	InternalURL string `json:"internal_database_url"`
	ExternalURL string `json:"external_database_url"`
	Revision    int64
	Machines    *struct{ Total, Updated int }
	Links       struct{ Self string }
}

// problem is what an answer says that is none.
type problem struct {
	Error struct{ Code, Message string }
}

func (a answer) rotation(t *testing.T) rotation {
	t.Helper()
	var r rotation
	require.NoError(t, json.Unmarshal([]byte(a.Body), &r), a.Body)
	return r
}

func (a answer) code(t *testing.T) string {
	t.Helper()
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), a.Body)
	var p problem
	require.NoError(t, json.Unmarshal([]byte(a.Body), &p), a.Body)
	return p.Error.Code
}

// caller calls one gateway with one token.
type caller struct {
	url, token string
	http       *http.Client
}

func newCaller(t *testing.T, url, token string) caller {
	t.Helper()
	authority, err := os.ReadFile(os.Getenv("GATEWAY_CA"))
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM(authority))
	return caller{url: url, token: token, http: &http.Client{Timeout: time.Minute,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}}}
}

func owner(t *testing.T) caller {
	t.Helper()
	return newCaller(t, os.Getenv("GATEWAY_URL"), os.Getenv("GATEWAY_OWNER_TOKEN"))
}

// ask sends a request with headers, such as "If-Match: "1"".
func (c caller) ask(ctx context.Context, method, path, body string, headers ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body == "" {
		request.Body = nil
	} else {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

// rotate asks for a rotation of a tenant.
func (c caller) rotate(t *testing.T, tenantID, body string, headers ...string) answer {
	t.Helper()
	a, err := c.ask(t.Context(), http.MethodPost, rotatePath(tenantID), body, headers...)
	require.NoError(t, err)
	return a
}

func rotatePath(tenantID string) string { return "/api/v1/tenants/" + tenantID + "/rotate-credentials" }
