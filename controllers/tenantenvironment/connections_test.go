package tenantenvironment

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// A changed login or token is another connection, although neither prints.
func TestFingerprint(t *testing.T) {
	of := func(login, token, ca string) settings {
		return settings{
			postgres: postgres.Config{URL: credential.SecretOf(login), CA: []byte(ca)},
			fly:      fly.Config{Token: credential.SecretOf(token)},
		}
	}
	was := of("postgres://a:b@c/d", "t", "x").fingerprint()
	require.Equal(t, was, of("postgres://a:b@c/d", "t", "x").fingerprint())
	for name, other := range map[string]settings{
		"another password": of("postgres://a:B@c/d", "t", "x"), "another token": of("postgres://a:b@c/d", "T", "x"), "another authority": of("postgres://a:b@c/d", "t", "y"),
	} {
		require.NotEqual(t, was, other.fingerprint(), name)
	}
}
