package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
)

// A value that is quoted as SQL is that value again, whether or not the server takes a backslash in an ordinary literal for an escape, and
// nothing of it is outside the literal.
func FuzzLiteral(f *testing.F) {
	for _, value := range []string{"", "a", "'", "''", `\`, `\'`, `'\`, `\\'; drop table x; --`, "E'", "$$", "\n", "é", "\xff", `\x41\101\u0041`, "'||'"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsRune(value, 0) {
			t.Skip() // PostgreSQL has no such text
		}
		for _, standard := range []bool{true, false} {
			read, rest, ok := readLiteral(Literal(value), standard)
			require.True(t, ok)
			require.Equal(t, value, read)
			require.Empty(t, rest)
		}
	})
}

// readLiteral is the reference: it reads a literal as PostgreSQL does (documentation, 4.1.2.1 and 4.1.2.2), and returns what follows it.
func readLiteral(text string, standardConformingStrings bool) (value, rest string, ok bool) {
	escapes := !standardConformingStrings
	if strings.HasPrefix(text, "E'") {
		escapes, text = true, text[1:]
	}
	if !strings.HasPrefix(text, "'") {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'' && strings.HasPrefix(text[i+1:], "'"):
			i++
			b.WriteByte('\'')
		case c == '\'':
			return b.String(), text[i+1:], true
		case c == '\\' && escapes:
			i++
			if i == len(text) || text[i] != '\\' {
				return "", "", false // the quoting uses no other escape
			}
			b.WriteByte('\\')
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// A name in a message is the name, as SQL takes it, and neither moves a terminal's cursor nor fills the message.
func FuzzIdentifier(f *testing.F) {
	for _, name := range []string{"tenant_7dd06cd6", `a"b`, "Upper", "", "a b", "\x1b[2J", "\u202eabc", "\xff\xfe", strings.Repeat("é", 40), strings.Repeat(`"`, 70)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		shown := Identifier(name)
		require.LessOrEqual(t, len(shown), 2*63+2)
		require.True(t, utf8.ValidString(shown))
		for _, r := range shown {
			require.True(t, unicode.IsPrint(r), "%q", r)
		}
		inner := shown
		if !plainIdentifier.MatchString(shown) {
			require.True(t, len(shown) >= 2 && shown[0] == '"' && shown[len(shown)-1] == '"')
			require.NotContains(t, strings.ReplaceAll(shown[1:len(shown)-1], `""`, ""), `"`)
			inner = strings.ReplaceAll(shown[1:len(shown)-1], `""`, `"`)
		}
		if len(name) <= 63 && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
			require.Equal(t, name, inner)
		}
	})
}

// An SQLSTATE in a message has nothing but digits and capitals, and a text no control character, whatever the server sends.
func FuzzPrintable(f *testing.F) {
	for _, code := range []string{"28P01", "", "\x1b[2J", "abc", "\u202e"} {
		f.Add(code)
	}
	f.Fuzz(func(t *testing.T, code string) {
		require.Regexp(t, `^[0-9A-Z]{0,5}$`, printable(code))
		require.LessOrEqual(t, len(shown(code)), 1000)
		require.False(t, strings.ContainsFunc(shown(code), func(r rune) bool { return !unicode.IsPrint(r) }))
	})
}

// A URL never loses the verification of the server's certificate unless it says so itself, and its fault is reported without the
// password.
func FuzzURL(f *testing.F) {
	f.Add("postgres", "operator", "hunter2-hunter2", "db.example:5432", "platform", "")
	f.Add("postgresql", "o%zz", "p%zz-hunter2", "db:port", "a?b", "sslmode=nonsense&x=%zz")
	f.Add("mysql", "", "a:b@c/d?e#f", "", "/", "sslmode=disable;sslmode=verify-full")
	f.Add("postgres", "o", "pass word\x00", "h1,h2:1", "d", "connect_timeout=-1&default_query_exec_mode=simple_protocol")
	f.Fuzz(func(t *testing.T, scheme, user, password, host, database, query string) {
		if strings.Contains(strings.ToLower(query), "ssl") && !strings.HasPrefix(query, "sslmode") || strings.Contains(query, "file") || strings.Contains(query, "service") {
			t.Skip() // names a file of the machine that the test runs on
		}
		text := scheme + "://" + user + ":" + password + "@" + host + "/" + database + "?" + query
		s, err := Connect(t.Context(), Config{URL: credential.SecretOf(text)})
		if err != nil {
			require.Equal(t, unusableURL(), err, "one sentence, whatever is wrong")
			return
		}
		defer s.Close()
		config := s.pool.Config().ConnConfig
		require.NotEmpty(t, config.RequireAuth)
		require.Equal(t, session["search_path"], config.RuntimeParams["search_path"])
		parsed, err := url.Parse(text)
		require.NoError(t, err)
		if !parsed.Query().Has("sslmode") && !strings.HasPrefix(config.Host, "/") {
			require.NotNil(t, config.TLSConfig)
			require.False(t, config.TLSConfig.InsecureSkipVerify)
			require.Equal(t, config.Host, config.TLSConfig.ServerName)
		}
	})
}

// Everything that a server sends, in any pieces, goes through up to the bound on ParameterStatus, and nothing after it.
func FuzzStatusReader(f *testing.F) {
	f.Add([]byte("abc"), uint16(3), 3, byte('S'))
	f.Add([]byte{'S', 0, 0, 0, 4}, uint16(0), 60000, byte('S'))
	f.Add([]byte{'D', 0xff, 0xff, 0xff, 0xff}, uint16(100), 1, byte('D'))
	f.Fuzz(func(t *testing.T, noise []byte, size uint16, count int, kind byte) {
		if count < 0 || count > 1<<17 || count*(int(size)+5) > 2<<20 {
			t.Skip()
		}
		var sent bytes.Buffer
		statuses := 0
		for range count {
			sent.WriteByte(kind)
			_ = binary.Write(&sent, binary.BigEndian, uint32(size)+4)
			sent.Write(make([]byte, size))
			if kind == 'S' {
				statuses += int(size) + 4
			}
		}
		whole := sent.Bytes()
		for _, pieces := range []io.Reader{bytes.NewReader(whole), iotest.HalfReader(bytes.NewReader(whole)), iotest.DataErrReader(bytes.NewReader(whole))} {
			got, err := io.ReadAll(&statusReader{r: pieces})
			if statuses > statusBytes {
				require.ErrorIs(t, err, errTooMuch)
				continue
			}
			require.NoError(t, err)
			require.True(t, bytes.Equal(whole, got))
		}
		// Nonsense neither ends the program nor is taken for more than it is.
		_, err := io.ReadAll(&statusReader{r: iotest.OneByteReader(bytes.NewReader(noise))})
		require.True(t, err == nil || errors.Is(err, errTooMuch))
	})
}
