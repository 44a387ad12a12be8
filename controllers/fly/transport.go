package fly

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

const (
	// maxHeaders bounds the headers of an answer.
	maxHeaders = 64 << 10
	// maxAhead bounds what the other side of a connection may send ahead of what has been read: of one answer, and of all together.
	maxAhead, maxAheadOfAll = 256 << 10, 2 << 20
)

// newHTTPClient follows no redirect, which would carry a secret elsewhere, retries nothing, and unpacks nothing.
// Roots are the authorities that a certificate may be from; nil = the system's.
func newHTTPClient(roots *x509.CertPool) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, failure.New(failure.Retry, reasons.Unexpected, "no cookie jar for the Fly client")
	}
	transport := &http.Transport{
		Proxy:                  proxy,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: maxAhead, MaxReceiveBufferPerConnection: maxAheadOfAll},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaders,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
	}
	return &http.Client{
		Transport:     transport,
		Jar:           &affinity{jar},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// proxy is the one that HTTPS_PROXY names, which sees a tunnel. An http URL goes to its host directly: a proxy would read the token.
func proxy(r *http.Request) (*url.URL, error) {
	if r.URL.Scheme != "https" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

const (
	affinityCookie = "fly_flaps_affinity"
	maxCookie      = 256
	appsPath       = "/v1/apps/"
)

// affinity keeps one cookie per app and no other: Fly's affinity cookie, with which a read after a write reaches the same host.
type affinity struct{ http.CookieJar }

// SetCookies keeps the cookie for all of the app that u is about, whatever domain or path it asks for.
func (a *affinity) SetCookies(u *url.URL, cookies []*http.Cookie) {
	rest, ofApp := strings.CutPrefix(u.Path, appsPath)
	app, _, _ := strings.Cut(rest, "/")
	if !ofApp || app == "" {
		return
	}
	for _, cookie := range cookies {
		if cookie.Name == affinityCookie && len(cookie.Value) <= maxCookie {
			kept := &http.Cookie{ //nolint:gosec // read from an answer and sent back to the same host; no browser sees it
				Name: affinityCookie, Value: cookie.Value, Path: appsPath + app, Secure: cookie.Secure, MaxAge: cookie.MaxAge, Expires: cookie.Expires,
			}
			a.CookieJar.SetCookies(u, []*http.Cookie{kept})
			return
		}
	}
}
