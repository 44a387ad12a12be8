package postgres

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// details are what a function says, and the sentence for it; "" = none, so that what the SQLSTATE means is said.
var details = map[string]struct{ code, detail, says string }{
	"one cause":                    {"TC011", `{"role": "tenant_x"}`, "Role tenant_x does not exist."},
	"several causes":               {"TC017", `{"code": "password_changed", "login": "x_b", "revision": 7}`, "The password of x_b is not the one of revision 7."},
	"a name to be quoted":          {"TC011", `{"role": "a\"; DROP ROLE b; --"}`, `Role "a""; DROP ROLE b; --" does not exist.`},
	"a name that is a word":        {"TC004", `{"table": "user"}`, `Rows of "user" are never deleted.`},
	"a literal to be quoted":       {"TC012", `{"code": "prefix", "role": "x", "prefix": "it's \\ a", "renamed": "y"}`, `Role x does not begin with E'it''s \\ a', so it is not a tenant's: ALTER ROLE x RENAME TO y`},
	"a list of names":              {"", `{"code": "columns_missing", "schema": "m", "table": "t", "columns": ["a", "B"]}`, `Table m.t has no column a, "B": name those that it has in spec.management.columns, and run manager install-sql.`},
	"a list of words":              {"TC017", `{"code": "state", "revision": 7, "state": "open", "expected": ["committed", "rolled"]}`, "Revision 7 is open, not committed or rolled."},
	"a field of null":              {"TC017", `{"code": "no_revision", "revision": 7, "state": null, "expected": ["open"]}`, "Revision 7 is not in the ledger, not open."},
	"a name of a megabyte":         {"TC011", `{"role": "` + strings.Repeat("x", 1<<20) + `"}`, ""},
	"a name that moves the cursor": {"TC011", `{"role": "\u001b[2J\u202ex\n"}`, `Role "[2Jx" does not exist.`},

	"no detail":              {"TC011", "", ""},
	"a sentence":             {"TC011", "Your password has expired: visit https://evil.example", ""},
	"an unknown code":        {"TC012", `{"code": "mine", "role": "x"}`, ""},
	"an unknown field":       {"TC011", `{"role": "x", "more": "y"}`, ""},
	"a field that lacks":     {"TC011", `{}`, ""},
	"a code that is a list":  {"TC012", `{"code": ["no_login", "expired"], "role": "x"}`, ""},
	"a value that is a tree": {"TC011", `{"role": {"role": "x"}}`, ""},
	"a list in a list":       {"TC011", `{"role": [["x"]]}`, ""},
	"a truth":                {"TC011", `{"role": true}`, ""},
	"a fraction":             {"TC026", `{"revision": 1.5}`, ""},
	"a number without end":   {"TC026", `{"revision": ` + strings.Repeat("9", 100) + `}`, ""},
	"more than a word":       {"TC012", `{"code": "attribute", "role": "x", "attribute": "SUPERUSER; DROP ROLE y"}`, ""},
	"words that are none":    {"TC017", `{"code": "state", "revision": 7, "state": "open", "expected": ["a b"]}`, ""},
	"two objects":            {"TC011", `{"role": "x"} {"role": "y"}`, ""},
	"a list":                 {"TC011", `["x"]`, ""},
	"null":                   {"TC011", `null`, ""},
}

func TestWordsForDetails(t *testing.T) {
	for name, d := range details {
		t.Run(name, func(t *testing.T) {
			says, ok := worded(d.code, []byte(d.detail))
			require.Equal(t, d.says != "", ok)
			if ok {
				require.Equal(t, d.says, says)
			}
		})
	}
}

// A fault is said also where nothing can be read of it.
func TestAFaultThatCannotBeReadIsAFault(t *testing.T) {
	require.Empty(t, said(nil, unsaidRole))
	require.Equal(t, unsaidRole, said([]byte(`{"code": "of another version"}`), unsaidRole))
}

var (
	sqlCode = regexp.MustCompile(`'code', '([a-z_]+)'|(?:then|else) '([a-z][a-z_]+)'(?: else '([a-z][a-z_]+)')? end, '`)
	// composed are codes that the functions put together of two parts.
	composed = regexp.MustCompile(`^(role_|second_)(operator|ledger|(database|schema|table)_owner)$|^(role|app)_(taken|without_column)$|^raised$|^TC`)
)

// Every code of the functions has words, and the words have such a function; the fields are seen where the errors are provoked.
func TestEveryCodeHasWords(t *testing.T) {
	all, err := listMigrations()
	require.NoError(t, err)
	raised := map[string]bool{}
	for _, m := range all {
		for _, found := range sqlCode.FindAllStringSubmatch(m.content, -1) {
			for _, code := range found[1:] {
				if code != "" {
					raised[code] = true
				}
			}
		}
	}
	for code := range raised {
		if _, has := words[code]; !has {
			require.NotEmpty(t, words["role_"+code], code)
			require.NotEmpty(t, words["second_"+code], code)
		}
	}
	for code := range words {
		require.True(t, raised[code] || composed.MatchString(code), code)
	}
}

// A message of the functions is a constant: what it would name is in the detail.
func TestLabelsHoldNoIdentifiers(t *testing.T) {
	all, err := listMigrations()
	require.NoError(t, err)
	for _, m := range all {
		if m.version == 8 { // psql words nothing
			continue
		}
		for _, found := range regexp.MustCompile(`errcode = 'TC\d+',\s+message = ([^\n]*)`).FindAllStringSubmatch(m.content, -1) {
			require.Regexp(t, `^'[^']+(''[^']*)*'[,;]`, found[1], m.name)
		}
	}
}

// A sentence can be made of every template, and is bounded.
func TestEveryTemplateCanBeFilled(t *testing.T) {
	for code, template := range words {
		fields := map[string]any{"code": code}
		for _, found := range placeholder.FindAllStringSubmatch(template, -1) {
			fields[found[1]] = "x"
		}
		detail, err := json.Marshal(fields)
		require.NoError(t, err)
		says, ok := worded("", detail)
		require.True(t, ok, code)
		require.NotContains(t, says, "{", code)
	}
}

// Whatever a detail is, the sentence is one of ours: it has no control character, and everything foreign in it is bounded.
func FuzzDetail(f *testing.F) {
	for _, d := range details {
		if len(d.detail) < longestDetail {
			f.Add(d.code, d.detail)
		}
	}
	f.Fuzz(func(t *testing.T, code, detail string) {
		says, ok := worded(code, []byte(detail))
		if !ok {
			return
		}
		require.LessOrEqual(t, len(detail), longestDetail)
		require.LessOrEqual(t, len(says), 2*longestDetail+1000)
		require.False(t, strings.ContainsFunc(says, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", says)
		begins := false
		for _, template := range words {
			beginning, _, _ := strings.Cut(template, "{")
			begins = begins || strings.HasPrefix(says, beginning)
		}
		require.True(t, begins, "%q", says)
	})
}
