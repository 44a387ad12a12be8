package fly

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
)

// No answer to any request makes the client ask another host.
func TestIntruderRedirects(t *testing.T) {
	t.Parallel()
	elsewhere := newHostile(t, nil)
	var attacks []attack
	for _, status := range []int{301, 302, 303, 307, 308} {
		redirect := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Refresh", "0; url="+elsewhere.URL)
			w.Header().Set("Alt-Svc", `h2="`+strings.TrimPrefix(elsewhere.URL, "http://")+`"; ma=86400; persist=1`)
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, status)
		}
		at := func(method string) string { return fmt.Sprint(status, " on ", method) }
		attacks = append(attacks,
			attack{at("GET"), on(getApp, redirect), readApp, unreadable, fmt.Sprint("HTTP ", status)},
			attack{at("GET of a list"), on(listMachines, redirect), probe, unreadable, ""},
			attack{at("POST of a secret"), on(setSecrets, redirect), set, unreadable, fmt.Sprint("HTTP ", status)},
			attack{at("POST of a lease"), on(takeLease, redirect), advance, unreadable, ""},
			attack{at("POST of an update"), on(updateMachine, redirect), advance, unreadable, ""},
		)
		t.Run(at("DELETE of a lease, and POST of a query"), func(t *testing.T) {
			h := newHostile(t, map[string]http.HandlerFunc{giveLease: redirect, graphQL: redirect})
			_, err := advance(t.Context(), open(t, h.URL))
			require.NoError(t, err)
			require.Contains(t, h.asked(), "DELETE /v1/apps/acme/machines/m1/lease")
			_, _ = record(t.Context(), open(t, h.URL))
		})
	}
	t.Run("each", func(t *testing.T) { run(t, attacks) })
	require.Empty(t, elsewhere.asked())
}

// A name that was taken from a table leads nowhere else, and is not sent at all.
func TestIntruderNames(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a path": "../apps/other", "an escaped path": "..%2fother", "a query": "a?b=c", "a fragment": "a#b", "a blank": "a b", "a line": "a\nb", "a last line": "a\n",
		"another host": "@evil.example", "nothing": "", "dots": "..", "look-alikes": "аcme", "from right to left": bidi + "acme", "5 KB": strings.Repeat("a", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, nil)
			c := open(t, h.URL)
			_, err := c.SetSecret(t.Context(), text, variable, credential.SecretOf(value))
			errs := []error{err}
			_, err = c.App(t.Context(), text)
			errs = append(errs, err)
			_, err = c.SecretDigest(t.Context(), text, variable)
			errs = append(errs, err)
			_, err = c.Instances(t.Context(), fly.App{Name: text})
			for _, err := range append(errs, err) {
				require.Equal(t, refusal{failure.Wait, reasons.FlyAppNotFound}, refusal{failure.ClassOf(err), failure.ReasonOf(err)})
				requireHarmless(t, err.Error())
			}
			require.Empty(t, h.asked())
		})
	}
}

// Of a flood of cookies one is kept: Fly's own, for the app that it was given for.
func TestIntruderCookies(t *testing.T) {
	t.Parallel()
	flood := func(cookies ...*http.Cookie) map[string]http.HandlerFunc {
		return on(getApp, func(w http.ResponseWriter, r *http.Request) {
			for _, cookie := range cookies {
				http.SetCookie(w, cookie)
			}
			honest[getApp](w, r)
		})
	}
	many := make([]*http.Cookie, 0, 501)
	for i := range 500 {
		many = append(many, &http.Cookie{Name: fmt.Sprint("c", i), Value: strings.Repeat("x", 50), Path: "/"})
	}
	const affinity = "fly_flaps_affinity"
	for name, test := range map[string]struct {
		cookies           []*http.Cookie
		sameApp, otherApp string
	}{
		"500 cookies":                   {append(many, &http.Cookie{Name: affinity, Value: "a1", Path: "/"}), affinity + "=a1", ""},
		"an affinity of 10 KB":          {[]*http.Cookie{{Name: affinity, Value: strings.Repeat("a", 10_000), Path: "/"}}, "", ""},
		"an affinity for all apps":      {[]*http.Cookie{{Name: affinity, Value: "a1", Path: "/"}}, affinity + "=a1", ""},
		"an affinity for another app":   {[]*http.Cookie{{Name: affinity, Value: "a1", Path: "/v1/apps/other"}}, affinity + "=a1", ""},
		"an affinity for another host":  {[]*http.Cookie{{Name: affinity, Value: "a1", Domain: "api.fly.io", Path: "/"}}, affinity + "=a1", ""},
		"a hundred affinities":          {append(many[:100:100], &http.Cookie{Name: affinity, Value: "a1"}, &http.Cookie{Name: affinity, Value: "a2", Path: "/v1"}), affinity + "=a1", ""},
		"a cookie that only looks like": {[]*http.Cookie{{Name: "FLY_FLAPS_AFFINITY", Value: "a1", Path: "/"}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, flood(test.cookies...))
			c := open(t, h.URL)
			_, err := c.App(t.Context(), app)
			require.NoError(t, err)
			_, err = c.SecretDigest(t.Context(), app, variable)
			require.NoError(t, err)
			_, err = c.App(t.Context(), "other")
			require.NoError(t, err)
			require.Len(t, h.requests, 3)
			require.Equal(t, test.sameApp, h.requests[1].Header.Get("Cookie"))
			require.Equal(t, test.otherApp, h.requests[2].Header.Get("Cookie"))
		})
	}
}

// A client that is told to come back in a thousand years comes back within the hour, and does not ask before.
func TestIntruderRetryAfter(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"3600", "99999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "60, 0", "-1", "0", "NaN", strings.Repeat("9", 60_000)} {
		t.Run(after[:min(len(after), 30)], func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, on(getApp, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", after)
				w.WriteHeader(http.StatusTooManyRequests)
			}))
			c := open(t, h.URL)
			_, err := c.App(t.Context(), app)
			require.Equal(t, refusal{failure.Retry, reasons.RateLimited}, refusal{failure.ClassOf(err), failure.ReasonOf(err)})
			ctx, cancel := context.WithTimeout(t.Context(), 0)
			defer cancel()
			_, err = c.App(ctx, app)
			require.Equal(t, refusal{failure.Retry, reasons.RateLimited}, refusal{failure.ClassOf(err), failure.ReasonOf(err)})
			require.Len(t, h.asked(), 1)
			requireHarmless(t, err.Error())
		})
	}
}

// addresses are those that the client and the CRD refuse or accept alike.
var addresses = []struct {
	name, url string
	insecure  bool
	says      string // "" = accepted
	crd       string
}{
	{"https", "https://api.machines.dev", false, "", ""},
	{"https, with a slash", "https://api.machines.dev/", false, "", ""},
	{"https of an address", "https://10.0.0.1:4280", false, "", ""},
	{"the private network's", "http://_api.internal:4280", false, "", ""},
	{"loopback", "http://127.0.0.1:1234", false, "", ""},
	{"loopback, another of it", "http://127.9.9.9", false, "", ""},
	{"loopback, version 6", "http://[::1]:80", false, "", ""},
	{"localhost", "http://localhost:8080", false, "", ""},
	{"http, allowed", "http://fly.example:80", true, "", ""},
	{"http", "http://evil.example", false, clear, crdClear},
	{"http in capitals", "HTTP://evil.example", false, clear, crdClear},
	{"metadata of a cloud", "http://169.254.169.254", false, clear, crdClear},
	{"any address", "http://0.0.0.0", false, clear, crdClear},
	{"a private address", "http://10.0.0.1", false, clear, crdClear},
	{"a unique local address", "http://[fdaa::3]:4280", false, clear, crdClear},
	{"loopback in short", "http://127.1", false, clear, crdClear},
	{"loopback as a number", "http://2130706433", false, clear, crdClear},
	{"a name that begins like loopback", "http://127.0.0.1.evil.example", false, clear, crdClear},
	{"a name that begins like localhost", "http://localhost.evil.example", false, clear, crdClear},
	{"a name that ends like the private one", "http://x._api.internal", false, clear, crdClear},
	{"another name of the private network", "http://acme.internal", false, clear, crdClear},
	{"localhost with a dot", "http://localhost.", false, clear, crdClear},
	{"a user that looks like a host", "http://127.0.0.1@evil.example", false, shape, crdShape},
	{"a user that looks like a host, allowed", "http://127.0.0.1@evil.example", true, shape, crdShape},
	{"a user and a password", "https://u:hunter2secret@evil.example", false, shape, crdShape},
	{"a path", "https://evil.example/v1", false, shape, crdShape},
	{"a path of dots", "https://evil.example/..", false, shape, crdShape},
	{"a query", "https://evil.example?x=y", false, shape, crdShape},
	{"an empty query", "https://evil.example?", false, shape, crdShape},
	{"a fragment", "https://evil.example#x", false, shape, crdShape},
	{"an empty fragment", "https://evil.example#", false, shape, crdShape},
	{"no host", "https://", false, shape, crdShape},
	{"a port without a host", "https://:443", false, shape, crdShape},
	{"no scheme", "api.machines.dev", false, shape, crdShape},
	{"a file", "file:///etc/passwd", false, shape, crdShape},
	{"another scheme", "ftp://api.machines.dev", true, shape, crdShape},
	{"two lines", "https://evil.example\nx", false, shape, crdShape},
	{"a blank", "https://evil .example", false, shape, crdShape},
	{"a backslash", `http://evil.example\@127.0.0.1`, false, shape, crdShape},
}

const (
	clear    = "the Fly API URL is http, which sends the token and every secret in clear"
	shape    = "the Fly API URL must be a scheme and a host"
	crdClear = "with http the Fly token and every DATABASE_URL would cross the network in clear: write apiURL as https://, or insecure: true to accept that"
	crdShape = "write a URL of a scheme and a host alone, for example https://api.machines.dev"
)

// An object may be older than the CRD that would refuse it.
func TestIntruderAddresses(t *testing.T) {
	t.Parallel()
	for _, test := range addresses {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := fly.Open(fly.Config{Token: credential.SecretOf(token), URL: test.url, Insecure: test.insecure})
			if test.says == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, refusal{failure.Stall, reasons.AuthenticationFailed}, refusal{failure.ClassOf(err), failure.ReasonOf(err)})
			require.Contains(t, err.Error(), test.says)
			requireHarmless(t, err.Error())
		})
	}
}

// A token that would add a header or a line is not used, and not repeated.
func TestIntruderTokens(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ token, says string }{
		"a header":           {"FlyV1 fm2_c2VjcmV0\r\nX-Evil: 1", "white space"},
		"two lines":          {"c2VjcmV0\ndef", "white space"},
		"a zero byte":        {"c2VjcmV0\x00", "white space"},
		"from right to left": {"c2VjcmV0" + bidi, "white space"},
		"nothing":            {"", "empty"},
		"a cut":              {"FlyV1 fm2_c2VjcmV0x", "cut off"},
		"a cut after a part": {"FlyV1 fm2_c2VjcmV0,", "cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := fly.Open(fly.Config{Token: credential.SecretOf(test.token)})
			require.Equal(t, refusal{failure.Stall, reasons.AuthenticationFailed}, refusal{failure.ClassOf(err), failure.ReasonOf(err)})
			require.Contains(t, err.Error(), test.says)
			requireHarmless(t, err.Error())
		})
	}
}
