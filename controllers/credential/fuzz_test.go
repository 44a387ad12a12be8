package credential

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// hostNames are what spec.postgres.internal.host may be: names, and addresses of both kinds.
var hostNames = regexp.MustCompile(`^([A-Za-z0-9_-]{1,60}(\.[A-Za-z0-9_-]{1,60}){0,3}|[0-9a-f]{1,4}::[0-9a-f]{1,4})$`)

// An application gets any role, database and password of a tenant back from its DATABASE_URL, by the standard's rules and by a
// PostgreSQL driver's.
func FuzzDestinationURL(f *testing.F) {
	f.Add("db.internal", int32(5432), "tenant_7dd06cd6", "site_7dd06cd6", "abc", "-c statement_timeout=5s")
	f.Add("fdaa::3", int32(1), `te"n@n:t/`, "a/../b?x=y#z", "p@ss:w/rd?#[]%41 +&=", "p@ss:w/rd?#[]%41 +&=")
	f.Add("h", int32(65535), "%00", "site%2f", "\u202e\x1b[2J\xff", "\u202e")
	f.Fuzz(func(t *testing.T, host string, port int32, login, database, password, parameter string) {
		if !hostNames.MatchString(host) || port < 1 || port > 65535 || login == "" {
			t.Skip()
		}
		text := Destination{Host: host, Port: port, Role: login, Database: database, Scheme: "postgres", Parameters: map[string]string{"application_name": parameter}}.URL(login, Secret{password}).Reveal()
		u, err := url.Parse(text)
		require.NoError(t, err)
		got, _ := u.User.Password()
		require.Equal(t, []string{"postgres", host, strconv.Itoa(int(port)), login, password, "/" + database, parameter, ""},
			[]string{u.Scheme, u.Hostname(), u.Port(), u.User.Username(), got, u.Path, u.Query().Get("application_name"), u.Fragment})
		require.NotContains(t, u.RawQuery, "+")
		for _, r := range text {
			require.True(t, r > ' ' && r < 0x7f, "%q has to be quoted in a URL", r)
		}
		if strings.ContainsRune(login+database+password+parameter, 0) || strings.HasPrefix(database, "/") || database == "" {
			return // PostgreSQL has no such names
		}
		config, err := pgx.ParseConfig(text)
		require.NoError(t, err)
		require.Equal(t, []any{host, uint16(port), login, password, database, parameter},
			[]any{config.Host, config.Port, config.User, config.Password, config.Database, config.RuntimeParams["application_name"]})
	})
}

// A client with the password logs in against the verifier, which does not hold the password.
func FuzzVerifier(f *testing.F) {
	f.Add("abcdefgh", "abcdefgi")
	f.Add("\u00ad\u2000 \uff21", "A")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, password, wrong string) {
		verifier, err := Verifier(Secret{password})
		if err != nil {
			if password != "" {
				require.NotContains(t, err.Error(), `"`+password+`"`)
			}
			return
		}
		require.Regexp(t, `^SCRAM-SHA-256\$4096:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$`, verifier)
		if password == "" {
			return // the library takes no empty one at a login
		}
		require.NoError(t, scramLogin(t, verifier, password))
		if ascii(password) && ascii(wrong) && wrong != "" && wrong != password { // others may be normalised to the same
			require.Error(t, scramLogin(t, verifier, wrong))
		}
	})
}

func ascii(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// The digest of a Secret's content is the same only if the content and the verifier are.
func FuzzConnectionDigest(f *testing.F) {
	f.Add("url", []byte("a"), "host", []byte("b"), "aa", "url", []byte("ab"), "host", []byte(""), "aa")
	f.Add("a", []byte(`":"`), "b", []byte{0}, "", "a", []byte{0}, "b", []byte(`":"`), "\x00")
	key := regexp.MustCompile(`^[-._a-zA-Z0-9]+$`) // of a Secret's data
	digest := regexp.MustCompile(`^[0-9a-f]*$`)
	f.Fuzz(func(t *testing.T, k1 string, v1 []byte, k2 string, v2 []byte, of, l1 string, w1 []byte, l2 string, w2 []byte, than string) {
		for _, k := range []string{k1, k2, l1, l2} {
			if !key.MatchString(k) {
				t.Skip()
			}
		}
		if !digest.MatchString(of) || !digest.MatchString(than) {
			t.Skip()
		}
		a, b := map[string][]byte{k1: v1, k2: v2}, map[string][]byte{l1: w1, l2: w2}
		same := of == than && maps.EqualFunc(a, b, slices.Equal)
		require.Equal(t, same, ConnectionDigest(a, of) == ConnectionDigest(b, than))
	})
}
