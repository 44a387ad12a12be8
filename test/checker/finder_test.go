package checker

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

const planted = "k3JxQ9vWm2TzR7bNfH5sYc8LpD4gAe6U"

func TestFinderSeesEveryForm(t *testing.T) {
	f := newFinder([]string{"another-password", planted, "p@ss/w+rd&%?#"})
	texts := map[string]string{
		"itself":              "password=" + planted + "\n",
		"at the end":          planted,
		"hexadecimal":         `\x00` + hex.EncodeToString([]byte(planted)),
		"HEXADECIMAL":         strings.ToUpper(hex.EncodeToString([]byte(planted))),
		"a slice of bytes":    fmt.Sprint("body=", []byte("x"+planted+"x")),
		"a list of numbers":   strings.ReplaceAll(fmt.Sprint([]byte(planted)), " ", ","),
		"a hex dump":          hex.Dump([]byte("seven: " + planted)),
		"in a base64 URL":     base64.StdEncoding.EncodeToString([]byte("postgres://u:" + planted + "@h/d")),
		"shifted by one":      base64.StdEncoding.EncodeToString([]byte("postgres://uu:" + planted + "@h/d")),
		"shifted by two":      base64.StdEncoding.EncodeToString([]byte("postgres://uuu:" + planted + "@h/d")),
		"base64 for URLs":     base64.RawURLEncoding.EncodeToString([]byte("~~" + planted + "~~")),
		"base64, no padding":  base64.RawStdEncoding.EncodeToString([]byte(planted)),
		"after many a prefix": strings.Repeat(planted[:4], 9) + planted,
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			found := map[int]bool{}
			f.in([]byte(text), found)
			require.Equal(t, map[int]bool{1: true}, found)
		})
	}
	found := map[int]bool{}
	f.in([]byte("postgres://u:p%40ss%2Fw%2Brd%26%25%3F%23@h/d "+planted[:31]+"V"), found)
	require.Equal(t, map[int]bool{2: true}, found, "escaped, and one that only begins like a password")
	clear(found)
	newFinder([]string{`a"quoted\password`}).in([]byte(`{"password":"a\"quoted\\password"}`), found)
	require.Len(t, found, 1, "escaped for JSON")
}

func TestFinderReadsAcrossItsBuffer(t *testing.T) {
	f := newFinder([]string{planted})
	for _, before := range []int{0, 1<<20 - 33, 1<<20 - 16, 1<<20 - 1, 1 << 20, 2<<20 - 40} {
		text := append(bytes.Repeat([]byte{'k'}, before), planted+" and more"...)
		found := map[int]bool{}
		require.NoError(t, f.read(bytes.NewReader(text), found))
		require.Len(t, found, 1, "after %d bytes", before)
		clear(found)
		require.NoError(t, f.read(iotest.HalfReader(bytes.NewReader(text)), found))
		require.Len(t, found, 1, "after %d bytes, in small pieces", before)
	}
	require.ErrorIs(t, f.read(iotest.ErrReader(bytes.ErrTooLarge), map[int]bool{}), bytes.ErrTooLarge)
}

func TestFinderOfNothing(t *testing.T) {
	found := map[int]bool{}
	require.NoError(t, newFinder([]string{"short"}).read(strings.NewReader("short text"), found))
	require.Empty(t, found)
}

// The example of RFC 7677, section 3, as PostgreSQL stores it.
func TestSatisfies(t *testing.T) {
	const verifier = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	require.True(t, Satisfies(verifier, "pencil"))
	require.False(t, Satisfies(verifier, "Pencil"))
	require.False(t, Satisfies(strings.Replace(verifier, "wfPL", "wfPK", 1), "pencil"), "a ServerKey of another password")
	for _, broken := range []string{"", "md5abc", "SCRAM-SHA-256$x:y$z", "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$a:b"} {
		require.False(t, Satisfies(broken, "pencil"), broken)
	}
}
