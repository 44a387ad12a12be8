// Package connection reads and writes a tenant's DATABASE_URL. It does no I/O, and a password in it is not printed by accident.
package connection

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Mask stands where a password is not shown.
const Mask = "********"

// longest bounds a URL.
const longest = 8 << 10

// defaultPort is libpq's where a URL names none.
const defaultPort = "5432"

// Secret is a password. It prints as Mask; Reveal returns it where it leaves the program for the place that it is for.
type Secret struct{ value string }

// Reveal returns the password itself.
func (s Secret) Reveal() string { return s.value }

// Format prints Mask for every verb.
func (Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, Mask) }

// MarshalText yields Mask, for encoding/json and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(Mask), nil }

// Connection is a URL of PostgreSQL, taken apart.
type Connection struct {
	scheme                     string
	Host, Port, Database, User string
	// Password is Mask itself where the URL has it masked.
	Password   Secret
	parameters []parameter
}

type parameter struct{ name, value string }

// ErrURL says no more than this: the text may hold a password.
var ErrURL = errors.New("the value is not a URL such as postgresql://user:password@host:5432/database")

// Parse reads a URL with one host, a login, a password and a database. Its errors never repeat any part of it.
func Parse(text string) (Connection, error) {
	if len(text) > longest || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Connection{}, ErrURL
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.User == nil || u.Fragment != "" {
		return Connection{}, ErrURL
	}
	password, _ := u.User.Password()
	c := Connection{
		scheme: u.Scheme, Host: u.Hostname(), Port: cmp.Or(u.Port(), defaultPort),
		Database: strings.TrimPrefix(u.Path, "/"), User: u.User.Username(), Password: Secret{password},
	}
	if c.Host == "" || c.Database == "" || c.User == "" || password == "" || slices.ContainsFunc([]string{c.Host, c.Database, c.User, password}, unprintable) {
		return Connection{}, ErrURL
	}
	c.parameters, err = parseQuery(u.RawQuery)
	return c, err
}

// identity are the parameters that would say once more, or otherwise, where to log in and with what.
var identity = []string{"host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "sslpassword"}

// parseQuery keeps the order. libpq takes a plus sign for itself, and not for a blank.
func parseQuery(query string) (list []parameter, err error) {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, nameErr := url.PathUnescape(name)
		value, valueErr := url.PathUnescape(value)
		if nameErr != nil || valueErr != nil || name == "" || unprintable(name+value) || slices.Contains(identity, name) {
			return nil, ErrURL
		}
		list = append(list, parameter{name, value})
	}
	return list, nil
}

// unprintable finds what would break a line of a file or a terminal. A blank is fine.
func unprintable(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// URL is the URL with the password in it.
func (c Connection) URL() Secret {
	return Secret{c.text(url.UserPassword(c.User, c.Password.value).String())}
}

// String is the URL with the password masked.
func (c Connection) String() string { return c.text(url.User(c.User).String() + ":" + Mask) }

func (c Connection) text(user string) string {
	u := url.URL{Scheme: c.scheme, Host: net.JoinHostPort(c.Host, c.Port), Path: "/" + c.Database}
	var query []string
	for _, p := range c.parameters {
		query = append(query, strings.ReplaceAll(url.QueryEscape(p.name)+"="+url.QueryEscape(p.value), "+", "%20"))
	}
	u.RawQuery = strings.Join(query, "&")
	return strings.Replace(u.String(), "://", "://"+user+"@", 1)
}

// SameLogin says whether both are for the same login at the same database.
func (c Connection) SameLogin(other Connection) bool {
	return c.Host == other.Host && c.Port == other.Port && c.Database == other.Database && c.User == other.User
}

// Through is the same login by another way: its scheme, host, port and parameters.
func (c Connection) Through(way Connection) Connection {
	way.Database, way.User, way.Password = c.Database, c.User, c.Password
	return way
}

// settings are the parameters that a service file may get. Others are not libpq's, by which a client would refuse the whole service, or name
// files and programs on this computer, which a value from elsewhere must not.
var settings = []string{
	"application_name", "channel_binding", "client_encoding", "connect_timeout", "gssencmode", "keepalives", "keepalives_count", "keepalives_idle",
	"keepalives_interval", "load_balance_hosts", "options", "require_auth", "ssl_max_protocol_version", "ssl_min_protocol_version", "sslmode",
	"sslnegotiation", "sslrootcert", "sslsni", "target_session_attrs", "tcp_user_timeout",
}

// Settings are the parameters for a service file in the order of the URL, and the names of those that are left out.
func (c Connection) Settings() (kept [][2]string, left []string) {
	kept = [][2]string{{"host", c.Host}, {"port", c.Port}, {"dbname", c.Database}, {"user", c.User}}
	for _, p := range c.parameters {
		if slices.Contains(settings, p.name) && p.value != "" {
			kept = append(kept, [2]string{p.name, p.value})
		} else {
			left = append(left, p.name)
		}
	}
	return kept, left
}
