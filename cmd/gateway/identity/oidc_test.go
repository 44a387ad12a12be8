package identity

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/issuer"
)

const audience = "tenants"

// configuration accepts tokens of issuers, as an AuthenticationConfiguration.
func configuration(t *testing.T, rules string, issuers ...*issuer.Issuer) string {
	t.Helper()
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n"
	for _, i := range issuers {
		text += fmt.Sprintf("- issuer:\n    url: %s\n    audiences: [%s]\n    certificateAuthority: |\n      %s\n  claimMappings:\n    username: {claim: sub, prefix: \"\"}\n%s",
			i.URL, audience, strings.ReplaceAll(strings.TrimSpace(i.CA), "\n", "\n      "), rules)
	}
	file := filepath.Join(t.TempDir(), "authentication.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// load waits until every issuer that answers has been asked.
func load(t *testing.T, file string) Union {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	issuers, err := LoadIssuers(ctx, file)
	require.NoError(t, err)
	return Union{Issuers: issuers}
}

func started(t *testing.T) *issuer.Issuer {
	t.Helper()
	i := issuer.New()
	t.Cleanup(i.Close)
	return i
}

func requireAccepted(t *testing.T, u Union, token, subject string) {
	t.Helper()
	var caller Caller
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var err error
		caller, err = u.Authenticate(context.Background(), token)
		require.NoError(c, err)
	}, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, Customer, caller.Kind)
	require.Equal(t, subject, caller.Name())
}

func TestAnIssuersTokens(t *testing.T) {
	i, stranger := started(t), started(t)
	u := load(t, configuration(t, "", i))
	good := i.Claims(audience, "alice")
	requireAccepted(t, u, i.Sign(good), "alice")
	now := time.Now()
	for name, token := range map[string]string{
		"expired":                    i.Sign(issuer.With(good, map[string]any{"exp": now.Add(-time.Minute).Unix()})),
		"not yet valid":              i.Sign(issuer.With(good, map[string]any{"nbf": now.Add(10 * time.Minute).Unix()})),
		"for another audience":       i.Sign(issuer.With(good, map[string]any{"aud": "another"})),
		"without an audience":        i.Sign(issuer.With(good, map[string]any{"aud": nil})),
		"without a subject":          i.Sign(issuer.With(good, map[string]any{"sub": nil})),
		"with a subject of a number": i.Sign(issuer.With(good, map[string]any{"sub": 7})),
		"of an unknown key":          i.SignAs("unknown", good),
		"of a forged key":            i.Forge(good),
		"of another issuer's key":    stranger.Sign(good),
		"of the algorithm none":      i.Unsigned(good),
		"of HS256 by the public key": i.Confused(good),
		"whose claims were changed":  changed(i.Sign(good), i.Sign(issuer.With(good, map[string]any{"sub": "mallory"}))),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := u.Authenticate(context.Background(), token)
			require.ErrorIs(t, err, ErrRefused)
			require.NotContains(t, err.Error(), token)
		})
	}
}

// changed has the claims of the second token under the first one's signature.
func changed(signed, other string) string {
	a, b := strings.Split(signed, "."), strings.Split(other, ".")
	return a[0] + "." + b[1] + "." + a[2]
}

func TestAnIssuersNewKeyIsFetched(t *testing.T) {
	i := started(t)
	u := load(t, configuration(t, "", i))
	old := i.Token(audience, "alice")
	requireAccepted(t, u, old, "alice")
	i.Rotate()
	requireAccepted(t, u, i.Token(audience, "bob"), "bob")
	_, err := u.Authenticate(context.Background(), old)
	require.ErrorIs(t, err, ErrRefused, "a key that is withdrawn is not accepted any more")
}

func TestARuleRefusesAToken(t *testing.T) {
	i := started(t)
	u := load(t, configuration(t, "  claimValidationRules:\n  - expression: 'claims.email_verified == true'\n    message: unverified\n", i))
	good := issuer.With(i.Claims(audience, "alice"), map[string]any{"email_verified": true})
	requireAccepted(t, u, i.Sign(good), "alice")
	_, err := u.Authenticate(context.Background(), i.Sign(issuer.With(good, map[string]any{"email_verified": false})))
	require.ErrorIs(t, err, ErrRefused)
}

func TestSeveralIssuers(t *testing.T) {
	a, b := started(t), started(t)
	u := load(t, configuration(t, "", a, b))
	requireAccepted(t, u, a.Token(audience, "alice"), "alice")
	requireAccepted(t, u, b.Token(audience, "bob"), "bob")
	_, err := u.Authenticate(context.Background(), a.Sign(issuer.With(a.Claims(audience, "alice"), map[string]any{"iss": b.URL})))
	require.ErrorIs(t, err, ErrRefused, "one issuer signs nothing for another")
}

func TestAnIssuerThatDoesNotAnswer(t *testing.T) {
	i := started(t)
	i.Down()
	u := load(t, configuration(t, "", i))
	_, err := u.Authenticate(context.Background(), i.Token(audience, "alice"))
	require.ErrorIs(t, err, ErrUnavailable, "at the start")

	later := started(t)
	u = load(t, configuration(t, "", later))
	known := later.Token(audience, "alice")
	requireAccepted(t, u, known, "alice")
	later.Rotate()
	later.Down()
	requireAccepted(t, u, known, "alice")
	_, err = u.Authenticate(context.Background(), later.Token(audience, "alice"))
	require.ErrorIs(t, err, ErrUnavailable, "a key that cannot be fetched")
	later.Up()
	requireAccepted(t, u, later.Token(audience, "alice"), "alice")
}

func TestMistakesInTheConfiguration(t *testing.T) {
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
	const issuerOf = "jwt:\n- issuer: {url: https://a.example.com, audiences: [tenants]}\n  claimMappings: {username: {claim: sub, prefix: \"\"}}\n"
	for name, test := range map[string]struct{ text, message string }{
		"no YAML":           {"{", "yaml"},
		"another kind":      {"apiVersion: v1\nkind: Secret\n", "no kind \"Secret\""},
		"an unknown member": {head + "jwts: []\n", "jwts"},
		"http":              {head + strings.ReplaceAll(issuerOf, "https", "http"), "URL scheme must be https"},
		"no audience":       {head + strings.ReplaceAll(issuerOf, "[tenants]", "[]"), "audiences"},
		"a broken rule":     {head + issuerOf + "  claimValidationRules: [{expression: 'claims.'}]\n", "claimValidationRules"},
		"a broken CA":       {head + strings.ReplaceAll(issuerOf, "audiences:", "certificateAuthority: x, audiences:"), "certificateAuthority"},
		"anonymous callers": {head + "anonymous: {enabled: true}\n", "anonymous"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "authentication.yaml")
			require.NoError(t, os.WriteFile(file, []byte(test.text), 0o600))
			_, err := LoadIssuers(context.Background(), file)
			require.ErrorContains(t, err, test.message)
			require.ErrorContains(t, err, file)
		})
	}
	_, err := LoadIssuers(context.Background(), "missing.yaml")
	require.ErrorContains(t, err, "missing.yaml")
}
