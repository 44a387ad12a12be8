package credential

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/xdg-go/scram"
	"pgregory.net/rapid"
)

// A password must never be printed, whichever way a caller tries.
func TestSecretNeverPrints(t *testing.T) {
	secret := Secret{"hunter2-hunter2"}
	holder := struct {
		Inner  Secret
		Nested *Secret
	}{secret, &secret}
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		fmt.Fprintf(&printed, verb+"\n", secret)
		fmt.Fprintf(&printed, verb+"\n", &secret)
		fmt.Fprintf(&printed, verb+"\n", holder)
		fmt.Fprintf(&printed, verb+"\n", []Secret{secret})
		fmt.Fprintf(&printed, verb+"\n", map[string]Secret{"k": secret})
	}
	encoded, err := json.Marshal(map[string]any{"a": holder, "b": secret})
	require.NoError(t, err)
	printed.Write(encoded)
	slog.New(slog.NewJSONHandler(&printed, nil)).Info("m", "secret", secret, "holder", holder)
	slog.New(slog.NewTextHandler(&printed, nil)).Info("m", "secret", secret, "holder", holder)
	fmt.Fprint(&printed, fmt.Errorf("failed: %v", secret))

	require.NotContains(t, printed.String(), "hunter2")
	require.NotContains(t, strings.ToLower(printed.String()), fmt.Sprintf("%x", "hunter2"))
	require.Equal(t, "hunter2-hunter2", secret.Reveal())
}

func TestPasswordShape(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		password := NewPassword().Reveal()
		require.Regexp(t, regexp.MustCompile(`^[A-Za-z0-9]{32}$`), password)
		require.False(t, seen[password], "the same password twice")
		seen[password] = true
	}
}

// A client that knows the password logs in against the verifier, and one that does not is refused: checked with the SCRAM
// exchange itself, as the server does it.
func TestVerifierChecksThePassword(t *testing.T) {
	password := NewPassword()
	verifier, err := Verifier(password)
	require.NoError(t, err)
	require.NotContains(t, verifier, password.Reveal())
	require.NoError(t, scramLogin(t, verifier, password.Reveal()))
	require.Error(t, scramLogin(t, verifier, NewPassword().Reveal()))

	again, err := Verifier(password)
	require.NoError(t, err)
	require.NotEqual(t, verifier, again, "the salt is not fresh")
}

func TestDatabaseURL(t *testing.T) {
	destination := Destination{Variable: "DATABASE_URL", Host: "db.internal", Port: 5432, Role: "tenant_7dd06cd6", Database: "site_7dd06cd6", Scheme: "postgresql"}
	require.Equal(t, "postgresql://tenant_7dd06cd6_b:abc@db.internal:5432/site_7dd06cd6", destination.URL("tenant_7dd06cd6_b", Secret{"abc"}).Reveal())
	destination.Host = "fdaa::3"
	require.Equal(t, "postgresql://tenant_7dd06cd6:abc@[fdaa::3]:5432/site_7dd06cd6", destination.URL(destination.Role, Secret{"abc"}).Reveal())
	destination.Host, destination.Parameters = "db", map[string]string{"sslmode": "disable", "options": "-c statement_timeout=5s"}
	require.Equal(t, "postgresql://tenant_7dd06cd6:abc@db:5432/site_7dd06cd6?options=-c%20statement_timeout%3D5s&sslmode=disable",
		destination.URL(destination.Role, Secret{"abc"}).Reveal())
	require.Equal(t, "postgresql://tenant_7dd06cd6:<password>@db:5432/site_7dd06cd6?options=-c%20statement_timeout%3D5s&sslmode=disable",
		destination.Form(destination.Role))
}

// A change of any part of the destination changes the digest, and nothing else does.
func TestDigestTellsDestinationsApart(t *testing.T) {
	draw := rapid.Custom(func(t *rapid.T) Destination {
		name := rapid.StringMatching(`[a-z]{1,3}`)
		secret := rapid.StringMatching(`([a-z]/[a-z])?`)
		return Destination{name.Draw(t, "variable"), secret.Draw(t, "connection Secret"), name.Draw(t, "host"), rapid.Int32Range(1, 3).Draw(t, "port"), name.Draw(t, "role"),
			name.Draw(t, "database"), name.Draw(t, "scheme"), rapid.MapOfN(name, name, 0, 2).Draw(t, "parameters")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		if reflect.DeepEqual(a, b) != (a.Digest() == b.Digest()) {
			t.Fatalf("%+v and %+v", a, b)
		}
	})
}

func scramLogin(t *testing.T, verifier, password string) error {
	t.Helper()
	parts := regexp.MustCompile(`^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)$`).FindStringSubmatch(verifier)
	require.Len(t, parts, 5, "not a verifier as PostgreSQL stores it")
	stored := scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: decode(t, parts[2]), Iters: iterations},
		StoredKey:  []byte(decode(t, parts[3])),
		ServerKey:  []byte(decode(t, parts[4])),
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	require.NoError(t, err)
	client, err := scram.SHA256.NewClient("tenant", password, "")
	require.NoError(t, err)

	clientSide, serverSide := client.NewConversation(), server.NewConversation()
	first, err := clientSide.Step("")
	require.NoError(t, err)
	challenge, err := serverSide.Step(first)
	require.NoError(t, err)
	proof, err := clientSide.Step(challenge)
	require.NoError(t, err)
	_, err = serverSide.Step(proof)
	return err
}

func decode(t *testing.T, encoded string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(encoded)
	require.NoError(t, err)
	return string(raw)
}
