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
	// Scheme is that of the URL.
	Scheme string
	// Parameters follow the question mark in the URL; nil = none.
	Parameters map[string]string
}

// URL returns the DATABASE_URL of a login with its password in it.
func (d Destination) URL(login string, password Secret) Secret {
	return Secret{d.url(url.UserPassword(login, password.value))}
}

// PasswordlessURL is the DATABASE_URL of a login without a password.
func (d Destination) PasswordlessURL(login string) string { return d.url(url.User(login)) }

func (d Destination) url(user *url.Userinfo) string {
	u := url.URL{Scheme: d.Scheme, User: user, Host: d.address(), Path: "/" + d.Database, RawQuery: d.query()}
	return u.String()
}

// Form is the URL as people may read it, with a mark where the password stands.
func (d Destination) Form(login string) string {
	const instead = "password"
	return strings.Replace(d.URL(login, Secret{instead}).value, ":"+instead+"@", ":<password>@", 1)
}

// query has the parameters in the order of their names. A blank is %20: libpq takes a plus sign for one.
func (d Destination) query() string {
	values := url.Values{}
	for name, value := range d.Parameters {
		values.Set(name, value)
	}
	return strings.ReplaceAll(values.Encode(), "+", "%20")
}

// address is host:port.
func (d Destination) address() string {
	return net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port)))
}

// Digest is the hexadecimal SHA-256 of the destination. It differs from the one of the last rotation where what was delivered was
// made for another variable, Secret, address or form.
func (d Destination) Digest() string {
	parts := []string{d.Variable, d.address(), d.Role, d.Database, d.Scheme, d.query()}
	if d.ConnectionSecret != "" {
		parts = append(parts, d.ConnectionSecret)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}
