package fly

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

const (
	testToken = "fm2_c2VjcmV0LXRva2Vu"
	testValue = "postgres://tenant:hunter2secret@db.internal/site"
)

// fake answers with the given steps, one after the other, and the last one from then on. It keeps the bodies it was sent.
type fake struct {
	*httptest.Server
	mu     sync.Mutex
	steps  []http.HandlerFunc
	bodies []string
}

func newFake(t *testing.T, steps ...http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{steps: steps}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		f.bodies = append(f.bodies, string(body))
		step := f.steps[0]
		if len(f.steps) > 1 {
			f.steps = f.steps[1:]
		}
		f.mu.Unlock()
		step(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) sent() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.bodies...)
}

// status answers with a body that repeats the request's secrets, as a careless server might.
func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"error":"`+testToken+" "+testValue+`"}`)
	}
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func open(t *testing.T, url string) *Client {
	t.Helper()
	c, err := Open(Config{Token: credential.SecretOf(testToken), URL: url})
	require.NoError(t, err)
	return c
}

func requireFailure(t *testing.T, err error, class failure.Class, reason failure.Reason) {
	t.Helper()
	require.Error(t, err)
	require.NotNil(t, failure.As(err))
	require.Equal(t, class, failure.ClassOf(err), err.Error())
	require.Equal(t, reason, failure.ReasonOf(err), err.Error())
	require.NotContains(t, err.Error(), "hunter2secret")
	require.NotContains(t, err.Error(), "c2VjcmV0")
}

const setAnswer = `{"secrets":[{"name":"DATABASE_URL","digest":"d1"}],"version":9007199254740995,"Version":9007199254740995}`

func TestAnswersAreClassed(t *testing.T) {
	tests := map[string]struct {
		answer                 http.HandlerFunc
		readClass, writeClass  failure.Class
		readReason, writeReson failure.Reason
	}{
		"401":        {status(401), failure.Retry, failure.Retry, reasons.AuthenticationFailed, reasons.AuthenticationFailed},
		"403":        {status(403), failure.Retry, failure.Retry, reasons.PermissionDenied, reasons.PermissionDenied},
		"404":        {status(404), failure.Wait, failure.Wait, reasons.FlyAppNotFound, reasons.FlyAppNotFound},
		"408":        {status(408), failure.Retry, failure.Unknown, reasons.ConnectionFailed, reasons.OutcomeUnknown},
		"409":        {status(409), failure.Wait, failure.Wait, reasons.Busy, reasons.Busy},
		"412":        {status(412), failure.Wait, failure.Wait, reasons.Busy, reasons.Busy},
		"422":        {status(422), failure.Retry, failure.Retry, reasons.Rejected, reasons.Rejected},
		"429":        {status(429, "Retry-After", "30"), failure.Retry, failure.Retry, reasons.RateLimited, reasons.RateLimited},
		"500":        {status(500), failure.Retry, failure.Unknown, reasons.ConnectionFailed, reasons.OutcomeUnknown},
		"502":        {status(502), failure.Retry, failure.Unknown, reasons.ConnectionFailed, reasons.OutcomeUnknown},
		"redirect":   {status(307, "Location", "/elsewhere"), failure.Retry, failure.Retry, reasons.Unexpected, reasons.Unexpected},
		"cut":        {cut, failure.Retry, failure.Unknown, reasons.ConnectionFailed, reasons.OutcomeUnknown},
		"not JSON":   {body("<html>"), failure.Retry, failure.Unknown, reasons.Unexpected, reasons.OutcomeUnknown},
		"empty body": {body(""), failure.Retry, failure.Unknown, reasons.Unexpected, reasons.OutcomeUnknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := open(t, newFake(t, test.answer).URL)
			_, err := c.App(t.Context(), "app-1")
			requireFailure(t, err, test.readClass, test.readReason)

			f := newFake(t, test.answer)
			_, err = open(t, f.URL).postSecret(t.Context(), "app-1", "DATABASE_URL", []byte(testValue))
			requireFailure(t, err, test.writeClass, test.writeReson)
			require.Len(t, f.sent(), 1, "one attempt is one request")
		})
	}
}

func TestUnreachableFlyHasChangedNothing(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, err := open(t, gone.URL).SetSecret(t.Context(), "app-1", "DATABASE_URL", credential.SecretOf(testValue))
	requireFailure(t, err, failure.Retry, reasons.ConnectionRefused)
}

func TestSetSecretSendsTheSameBytesUntilItKnows(t *testing.T) {
	f := newFake(t, cut, status(503), status(408), status(429), body(setAnswer))
	got, err := open(t, f.URL).SetSecret(t.Context(), "app-1", "DATABASE_URL", credential.SecretOf(testValue))
	require.NoError(t, err)
	require.Equal(t, AppSecret{Digest: "d1", Version: 9007199254740995}, got)
	sent := f.sent()
	require.Len(t, sent, 5)
	for _, bytes := range sent {
		require.Equal(t, sent[0], bytes)
	}
}

func TestSetSecretEndsUnknownAtItsDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := open(t, newFake(t, cut).URL).SetSecret(ctx, "app-1", "DATABASE_URL", credential.SecretOf(testValue))
	requireFailure(t, err, failure.Unknown, reasons.OutcomeUnknown)
}

func TestSetSecretEndsUnknownWhenFlyHangs(t *testing.T) {
	over := make(chan struct{})
	f := newFake(t, func(http.ResponseWriter, *http.Request) { <-over })
	defer close(over)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := open(t, f.URL).SetSecret(ctx, "app-1", "DATABASE_URL", credential.SecretOf(testValue))
	requireFailure(t, err, failure.Unknown, reasons.OutcomeUnknown)
}

func TestARefusalAfterALostAnswerStaysUnknown(t *testing.T) {
	for _, code := range []int{401, 403, 404, 422} {
		_, err := open(t, newFake(t, cut, status(code)).URL).SetSecret(t.Context(), "app-1", "DATABASE_URL", credential.SecretOf(testValue))
		requireFailure(t, err, failure.Unknown, reasons.OutcomeUnknown)
	}
}

func TestSetSecretReadsADigestThatTheAnswerLacks(t *testing.T) {
	f := newFake(t, body(`{"version":9007199254740995}`), body(`{"secrets":[{"name":"DATABASE_URL","digest":"d9"}]}`))
	got, err := open(t, f.URL).SetSecret(t.Context(), "app-1", "DATABASE_URL", credential.SecretOf(testValue))
	require.NoError(t, err)
	require.Equal(t, AppSecret{Digest: "d9", Version: 9007199254740995}, got)
}

func TestRetryAfterKeepsTheClientAway(t *testing.T) {
	f := newFake(t, status(429, "Retry-After", "60"))
	c := open(t, f.URL)
	for range 3 {
		_, err := c.App(t.Context(), "app-1")
		requireFailure(t, err, failure.Retry, reasons.RateLimited)
	}
	require.Len(t, f.sent(), 1, "nothing is sent before the time that Fly asked for")
	_, err := c.App(t.Context(), "app-2")
	requireFailure(t, err, failure.Retry, reasons.RateLimited)
	require.Len(t, f.sent(), 2, "another app has its own rate")
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "soon": 0, "999999": time.Hour,
		noon.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		noon.Add(-time.Hour).Format(http.TimeFormat):       0,
	} {
		require.Equal(t, want, retryAfter(header, noon), header)
	}
}

// Fly allows bursts of 3 and 10; calls that are held up on their way must not make more of one.
func TestLimitsKeepFlysRates(t *testing.T) {
	l := newLimits()
	at := noon
	l.now = func() time.Time { return at }
	reserve := func(action string) time.Duration {
		d, ok := l.reserve(t.Context(), bucketKey{action, "m"})
		require.True(t, ok)
		return d
	}
	for range 2 {
		require.Zero(t, reserve("update machine"))
	}
	require.Equal(t, time.Second, reserve("update machine"))
	for range 8 {
		require.Zero(t, reserve(getMachine))
	}
	require.Equal(t, 200*time.Millisecond, reserve(getMachine))
	at = at.Add(time.Hour)
	require.Zero(t, reserve("update machine"))
}

func TestNamesThatLeadElsewhereAreNotSent(t *testing.T) {
	f := newFake(t, body(setAnswer))
	c := open(t, f.URL)
	for _, name := range []string{"", "../apps/other", "a/b", "a?b=c", "a b", "a%2fb", ".."} {
		_, err := c.SetSecret(t.Context(), name, "DATABASE_URL", credential.SecretOf(testValue))
		requireFailure(t, err, failure.Wait, reasons.FlyAppNotFound)
		_, err = c.Advance(t.Context(), Rollout{App: App{Name: name}})
		requireFailure(t, err, failure.Wait, reasons.FlyAppNotFound)
	}
	require.Empty(t, f.sent())
}

func TestAppOfAnotherOrganizationIsRefused(t *testing.T) {
	f := newFake(t, body(`{"name":"app-1","machine_count":2,"organization":{"slug":"theirs"}}`))
	c, err := Open(Config{Token: credential.SecretOf(testToken), URL: f.URL, Organization: "ours"})
	require.NoError(t, err)
	_, err = c.App(t.Context(), "app-1")
	requireFailure(t, err, failure.Retry, reasons.PermissionDenied)
	c.organization = "theirs"
	app, err := c.App(t.Context(), "app-1")
	require.NoError(t, err)
	require.Equal(t, App{Name: "app-1", Organization: "theirs", MachineCount: 2}, app)
}

func TestOpenLooksAtTheTokenWithoutRepeatingIt(t *testing.T) {
	tests := map[string]struct {
		token string
		want  string // part of the failure; "" = accepted
	}{
		"macaroon":             {"fm2_c2VjcmV0LXRva2Vu", ""},
		"with scheme":          {"FlyV1 fm2_c2VjcmV0LXRva2Vu,fm2_c2VjcmV0LXRva2Vu", ""},
		"line end":             {"fm2_c2VjcmV0LXRva2Vu\n", ""},
		"personal":             {"hunter2secret", ""},
		"empty":                {"", "empty"},
		"scheme alone":         {"FlyV1 ", "empty"},
		"only white space":     {" \n", "empty"},
		"cut in the middle":    {"fm2_c2VjcmV0LXRva2V", "cut off"},
		"cut after the prefix": {"FlyV1 fm2_", "cut off"},
		"cut after a comma":    {"fm2_c2VjcmV0LXRva2Vu,", "cut off"},
		"line break inside":    {"fm2_c2Vj\ncmV0LXRva2Vu", "white space"},
		"two words":            {"hunter2secret c2VjcmV0", "white space"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Open(Config{Token: credential.SecretOf(test.token)})
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			requireFailure(t, err, failure.Stall, reasons.AuthenticationFailed)
			require.Contains(t, err.Error(), test.want)
		})
	}
}

func TestOpenRefusesAnUnusableURL(t *testing.T) {
	for _, url := range []string{"api.machines.dev", "ftp://x", "https://", "https://u:hunter2secret@x", "https://x/path", "https://x?q=1", ":"} {
		_, err := Open(Config{Token: credential.SecretOf(testToken), URL: url})
		requireFailure(t, err, failure.Stall, reasons.AuthenticationFailed)
	}
}
