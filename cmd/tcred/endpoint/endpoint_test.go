package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"
)

const tenant = "7dd06cd6-2f8e-4b1c-9a5e-0c3d4e5f6a7b"

// open is a client whose seconds are milliseconds. The mutex is held while the handler runs.
func open(t *testing.T, handler http.HandlerFunc) (*Client, *[]string, *sync.Mutex) {
	t.Helper()
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	var notices []string
	c, err := New(Options{Server: server.URL, Token: "the-token", Notice: func(text string) { notices = append(notices, text) }})
	require.NoError(t, err)
	c.unit = time.Millisecond
	return c, &notices, &mu
}

func problem(w http.ResponseWriter, status int, retryAfter string) {
	w.Header().Set("Content-Type", "application/problem+json")
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"code":"unavailable","message":"Busy."}}`)
}

func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestAConnectionThatFailsIsTriedFiveTimesWithOneKey(t *testing.T) {
	keys := map[string]int{}
	c, notices, mu := open(t, func(w http.ResponseWriter, r *http.Request) {
		keys[r.Header.Get("Idempotency-Key")]++
		drop(w, r)
	})
	_, err := c.Rotate(t.Context(), tenant, Rotate{Key: "k", Until: client.Completed})
	var unknown *Unknown
	require.ErrorAs(t, err, &unknown)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, map[string]int{"k": mostFailures}, keys)
	require.Len(t, *notices, mostFailures-1)
	require.Contains(t, (*notices)[3], "Retrying in 8ms.")
}

func TestAConnectionThatWasNeverMadeIsNoUnknownOutcome(t *testing.T) {
	c, _, _ := open(t, drop)
	c.base.Host = "127.0.0.1:1"
	_, err := c.Rotate(t.Context(), tenant, Rotate{Key: "k"})
	var unknown *Unknown
	require.False(t, errors.As(err, &unknown))
	require.EqualError(t, err, "127.0.0.1:1 cannot be reached: 127.0.0.1:1 refuses the connection")
}

func TestWhatIsTriedAgain(t *testing.T) {
	require.False(t, final(t, &Unreachable{}))
	require.True(t, final(t, &Unreachable{final: true}))
	require.True(t, final(t, &Unexpected{}))
	require.False(t, final(t, &Unexpected{passing: true}))
	require.True(t, final(t, &Refusal{Status: 409}))
	require.False(t, final(t, &Refusal{Status: 429}))
}

func final(t *testing.T, err error) bool {
	t.Helper()
	tries := tries{}
	_, again := tries.next(answer{}, err)
	return !again
}

func TestAfterABusyAnswerTheOutcomeOfAnEarlierAttemptIsStillUnknown(t *testing.T) {
	n := 0
	c, _, mu := open(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			drop(w, r)
		}
		problem(w, 503, "60000")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := c.Rotate(ctx, tenant, Rotate{Key: "k"})
	var unknown *Unknown
	require.ErrorAs(t, err, &unknown)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 2, n, "it does not wait for what comes too late")
}

func TestWhileARotationIsFollowedItIsTriedUntilTheTimeIsOver(t *testing.T) {
	n := 0
	c, _, _ := open(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n <= 2*mostFailures {
			drop(w, r)
		}
		if n == 2*mostFailures+1 {
			problem(w, 503, "3")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"status":"rotated","message":"m","internal_database_url":"u","external_database_url":"","revision":7,"links":{"self":"/"}}`)
	})
	s, err := c.Again(t.Context(), c.rotation(tenant, 7))
	require.NoError(t, err)
	require.EqualValues(t, 7, s.Revision)
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]int{
		"": 0, "7": 7, "-1": 0, "x": 0, "99999999": 24 * 60 * 60, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): 0,
	} {
		require.Equal(t, want, answer{header: http.Header{"Retry-After": {value}}}.retryAfter(), value)
	}
	date := time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat)
	require.InDelta(t, 30, answer{header: http.Header{"Retry-After": {date}}}.retryAfter(), 2)
}

func TestServers(t *testing.T) {
	for _, server := range []string{
		"https://example.com", "https://example.com:8443/prefix/", "http://localhost:80", "http://127.0.0.1:1", "http://[::1]:1",
	} {
		_, err := New(Options{Server: server, Token: "t"})
		require.NoError(t, err, server)
	}
	for _, server := range []string{
		"", "example.com", "http://example.com", "http://10.0.0.1", "http://localhost.example.com", "https://u:p@example.com", "https://example.com?a", "https://example.com#a",
		"ftp://example.com", "https:example.com",
	} {
		_, err := New(Options{Server: server, Token: "t"})
		require.Error(t, err, server)
	}
	for _, token := range []string{"", "a b", "a\nb", "ä", strings.Repeat("x", maxToken+1)} {
		_, err := New(Options{Server: "https://example.com", Token: token})
		require.Error(t, err)
	}
}

func TestAPrefixOfTheServersURLIsKept(t *testing.T) {
	c, err := New(Options{Server: "https://example.com/prefix/", Token: "t"})
	require.NoError(t, err)
	require.Equal(t, "https://example.com/prefix/api/v1/tenants/"+tenant+"/rotations/7", c.rotation(tenant, 7).String())
}

// No answer of a stranger causes a panic, and the message about it is one printable line, bounded, without the token.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", []byte(`{"status":"rotated","revision":1,"internal_database_url":"x"}`))
	f.Add(409, "application/problem+json", []byte(`{"error":{"code":"stalled","message":"a\nb\u001b[31m"}}`))
	f.Add(502, "text/html; charset=x", []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		c := &Client{unit: time.Second}
		c.base, _ = parseServer("https://example.com")
		a := answer{url: c.base, status: status, header: http.Header{"Content-Type": {kind}}, body: body}
		err := a.check()
		if err == nil {
			_, err = c.state(a)
		}
		if err == nil {
			return
		}
		require.LessOrEqual(t, len(err.Error()), maxText+300)
		require.False(t, strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }), "%q", err.Error())
	})
}

const refusal = `{"type":"about:blank","title":"t","status":409,"detail":"d","error":{"code":"suspended","message":"It is suspended."}}`

func TestOnlyAProblemIsTheEndpointsOwnRefusal(t *testing.T) {
	for name, test := range map[string]struct {
		status     int
		kind, body string
		own        bool
	}{
		"a problem":               {409, "application/problem+json", refusal, true},
		"with a charset":          {409, "application/problem+json; charset=utf-8", refusal, true},
		"a code of tomorrow":      {409, "application/problem+json", strings.Replace(refusal, "suspended", "of_tomorrow", 1), true},
		"another type":            {409, "application/json", refusal, false},
		"no type":                 {409, "", refusal, false},
		"with a good status":      {200, "application/problem+json", refusal, false},
		"no code":                 {409, "application/problem+json", strings.Replace(refusal, "suspended", "", 1), false},
		"a code that is none":     {409, "application/problem+json", strings.Replace(refusal, "suspended", "a b", 1), false},
		"no message":              {409, "application/problem+json", strings.Replace(refusal, "It is suspended.", " ", 1), false},
		"no JSON":                 {409, "application/problem+json", "no", false},
		"the error of an old one": {409, "application/problem+json", `{"error":"no"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := answer{status: test.status, header: http.Header{"Content-Type": {test.kind}}, body: []byte(test.body)}.check()
			var own *Refusal
			require.Equal(t, test.own, errors.As(err, &own))
			require.Error(t, err)
		})
	}
}
