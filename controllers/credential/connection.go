package credential

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
)

// ConnectionSecretType is the type of a connection Secret, as the specification of service bindings for Kubernetes has it.
const ConnectionSecretType = "servicebinding.io/" + connectionKind

const (
	connectionKind = "postgresql"
	// connectionProvider tells bindings of several operators apart.
	connectionProvider = "tenant-credential-operator"
	// sslMode is what libpq makes of a URL that names none: TLS where the server offers it.
	sslMode = "prefer"
)

// Connection is the content of a connection Secret: the values that applications expect by these names, and type and provider, by which libraries
// for service bindings find it.
func (d Destination) Connection(login string, password Secret) map[string]Secret {
	return map[string]Secret{
		"type":     {connectionKind},
		"provider": {connectionProvider},
		"url":      d.URL(login, password),
		"host":     {d.Host},
		"port":     {strconv.Itoa(int(d.Port))},
		"username": {login},
		"password": password,
		"database": {d.Database},
		"sslmode":  {cmp.Or(d.Parameters["sslmode"], sslMode)},
	}
}

// ConnectionDigest is the hexadecimal SHA-256 of a connection Secret's content together with the digest of the verifier that its password
// was made with. The ledger has the latter, so that it can be told whether content is that of a rotation, whole and unchanged. A password
// cannot be guessed from it: it has 190 bits.
func ConnectionDigest(content map[string][]byte, verifierDigest string) string {
	text, err := json.Marshal(content) // its keys are in order
	if err != nil {
		panic(err) // not reached: bytes can always be encoded
	}
	sum := sha256.Sum256(append([]byte(verifierDigest+"\x00"), text...))
	return hex.EncodeToString(sum[:])
}

// VerifierDigest is the hexadecimal SHA-256 of a verifier, as the ledger keeps it.
func VerifierDigest(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return hex.EncodeToString(sum[:])
}
