package credential

import (
	"maps"
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// An application finds everything by the names that it expects, and each of them says the same as the URL.
func TestConnection(t *testing.T) {
	destination := Destination{Host: "fdaa::3", Port: 5433, Role: "tenant_7dd06cd6", Database: "site_7dd06cd6", Scheme: "postgresql", Parameters: map[string]string{"sslmode": "disable"}}
	content := map[string]string{}
	for name, value := range destination.Connection("tenant_7dd06cd6_b", Secret{"abc"}) {
		content[name] = value.Reveal()
	}
	require.Equal(t, []string{"database", "host", "password", "port", "provider", "sslmode", "type", "url", "username"}, slices.Sorted(maps.Keys(content)))
	require.Equal(t, "servicebinding.io/"+content["type"], ConnectionSecretType)
	u, err := url.Parse(content["url"])
	require.NoError(t, err)
	password, _ := u.User.Password()
	require.Equal(t, []string{u.Hostname(), u.Port(), u.User.Username(), password, u.Path},
		[]string{content["host"], content["port"], content["username"], content["password"], "/" + content["database"]})
	require.Equal(t, u.Query().Get("sslmode"), content["sslmode"])
	destination.Parameters = nil
	require.Equal(t, "prefer", destination.Connection("tenant_7dd06cd6_b", Secret{"abc"})["sslmode"].Reveal(), "what libpq makes of none")
	require.Equal(t, "tenant_7dd06cd6_b", content["username"], "the login that is asked for, not the role")
}

// The digest tells every edit, removal and addition, and another password.
func TestConnectionDigestTellsContentApart(t *testing.T) {
	draw := rapid.MapOf(rapid.StringMatching(`[a-c]{0,2}`), rapid.SliceOfN(rapid.ByteRange('a', 'c'), 0, 3))
	verifier := rapid.SampledFrom([]string{"", "aa", "bb"})
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		of, than := verifier.Draw(t, "verifier of a"), verifier.Draw(t, "verifier of b")
		same := of == than && maps.EqualFunc(a, b, slices.Equal)
		if same != (ConnectionDigest(a, of) == ConnectionDigest(b, than)) {
			t.Fatalf("%q with %q and %q with %q", a, of, b, than)
		}
	})
}
