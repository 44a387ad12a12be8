// Package credential makes a tenant's credentials: the password, the SCRAM verifier that PostgreSQL and the management table
// store, and the DATABASE_URL that the app gets. It does no I/O, and its secrets cannot be printed by accident.
package credential

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/big"

	"github.com/xdg-go/scram"
)

const (
	// alphabet is safe in a URL, a shell and a connection string without any quoting.
	alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	// passwordLength gives 190 bits with this alphabet.
	passwordLength = 32
	// iterations and saltLength are PostgreSQL's own defaults (scram_iterations; SCRAM_DEFAULT_SALT_LEN).
	iterations = 4096
	saltLength = 16

	redacted = "[redacted]"
)

// Secret is a value that prints as [redacted] through fmt, encoding/json and log/slog alike. The zero value is an empty secret.
type Secret struct{ value string }

// SecretOf makes a secret of a text that has just been read from where it is kept.
func SecretOf(text string) Secret { return Secret{text} }

// Reveal returns the value itself. Call it only where the value leaves the program for the place that it is made for.
func (s Secret) Reveal() string { return s.value }

// String prints [redacted].
func (Secret) String() string { return redacted }

// GoString prints [redacted].
func (Secret) GoString() string { return redacted }

// Format prints [redacted] for every verb, %x and %q among them, which would otherwise reach the field.
func (Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// MarshalText yields [redacted], for encoding/json, YAML and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue yields [redacted].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// NewPassword draws a password from the operating system's random source. It cannot fail: crypto/rand ends the program where
// there is no randomness.
func NewPassword() Secret {
	size := big.NewInt(int64(len(alphabet)))
	password := make([]byte, passwordLength)
	for i := range password {
		n, err := rand.Int(rand.Reader, size)
		if err != nil {
			panic(err) // not reached: rand.Reader never returns an error (crypto/rand, since Go 1.24)
		}
		password[i] = alphabet[n.Int64()]
	}
	return Secret{string(password)}
}

// Verifier returns what PostgreSQL stores for the password, with a fresh salt: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
// (PostgreSQL documentation, pg_authid). A client that sends it to the server never sends the password.
func Verifier(password Secret) (string, error) {
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	client, err := scram.SHA256.NewClient("", password.value, "")
	if err != nil {
		return "", fmt.Errorf("the password cannot be used with SCRAM-SHA-256 (SASLprep)")
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return "", fmt.Errorf("the SCRAM-SHA-256 verifier cannot be computed")
	}
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored.StoredKey), encode(stored.ServerKey)), nil
}
