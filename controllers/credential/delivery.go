package credential

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Destination is everything in a DATABASE_URL but the password, and what carries it: an app's variable, a Secret (namespace/name), or both.
type Destination struct {
	Variable string
	// ConnectionSecret is "" where there is none.
	ConnectionSecret string
	Host             string
	Port             int32
	// Role is the tenant's, whichever of its logins has the password.
	Role     string
	Database string
}

// URL returns the DATABASE_URL of a login with its password in it.
func (d Destination) URL(login string, password Secret) Secret {
	u := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword(login, password.value),
		Host:   d.Address(),
		Path:   "/" + d.Database,
	}
	return Secret{u.String()}
}

// Address is host:port.
func (d Destination) Address() string {
	return net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port)))
}

// Digest is the hexadecimal SHA-256 of the destination. It differs from the one of the last rotation where what was delivered was
// made for another variable, Secret or address.
func (d Destination) Digest() string {
	parts := []string{d.Variable, d.Address(), d.Role, d.Database}
	if d.ConnectionSecret != "" {
		parts = append(parts, d.ConnectionSecret)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}
