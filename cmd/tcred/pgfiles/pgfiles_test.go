package pgfiles

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgpassfile"
	"github.com/jackc/pgservicefile"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const (
	tenant  = "7dd06cd6-2f8e-4b1c-9a5e-0c3d4e5f6a7b"
	another = "00000000-0000-4000-8000-000000000000"
)

func service(host string) Service {
	return Service{Name: "acme", Tenant: tenant, Settings: []Setting{{"host", host}, {"port", "5432"}, {"sslmode", "verify-full"}}}
}

var login = Login{Host: "db.example.com", Port: "5432", Database: "site", User: "t:e\\nant"}

func TestPutService(t *testing.T) {
	const ours = "[acme]\n" + mark + tenant + ". The next --save replaces this section.\nhost=db\nport=5432\nsslmode=verify-full\n"
	for name, test := range map[string]struct{ before, after string }{
		"no file":           {"", ours},
		"at the end":        {"[b]\nhost=x\n", "[b]\nhost=x\n\n" + ours},
		"without line feed": {"[b]\nhost=x", "[b]\nhost=x\n\n" + ours},
		"in its place": {
			"# a\n [acme] \n" + mark + tenant + ". x\nhost=old\n\n# of the next\n[b]\r\nhost=y\r\n",
			"# a\n" + ours + "\n# of the next\n[b]\r\nhost=y\r\n",
		},
		"a longer name is another": {"[acme2]\nhost=x\n", "[acme2]\nhost=x\n\n" + ours},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := PutService([]byte(test.before), service("db"), false)
			require.NoError(t, err)
			require.Equal(t, test.after, string(got))
			again, err := PutService(got, service("db"), false)
			require.NoError(t, err)
			require.Equal(t, string(got), string(again), "the same again changes nothing")
		})
	}
}

func TestAServiceThatTcredDidNotWriteStays(t *testing.T) {
	for name, content := range map[string]string{
		"no mark":         "[acme]\nhost=x\n",
		"another tenant":  "[acme]\n" + mark + another + ".\nhost=x\n",
		"a mark above it": mark + tenant + ".\n[acme]\nhost=x\n",
		"only the second": "[acme]\nhost=x\n[acme]\n" + mark + tenant + ".\nhost=y\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := PutService([]byte(content), service("db"), false)
			require.ErrorIs(t, err, ErrForeign)
			require.ErrorIs(t, CheckService([]byte(content), "acme", tenant), ErrForeign)
			got, err := PutService([]byte(content), service("db"), true)
			require.NoError(t, err)
			require.NoError(t, CheckService(got, "acme", tenant))
		})
	}
}

func TestWhatAServiceFileCannotHave(t *testing.T) {
	for _, s := range []Service{
		{Name: "", Tenant: tenant}, {Name: "a]", Tenant: tenant}, {Name: "a\nb", Tenant: tenant},
		{Name: "a", Settings: []Setting{{"host", "x\npassword=y"}}},
		{Name: "a", Settings: []Setting{{"host", "x "}}},
		{Name: "a", Settings: []Setting{{"host", ""}}},
		{Name: "a", Settings: []Setting{{"host", strings.Repeat("x", longestLine)}}},
	} {
		_, err := PutService(nil, s, false)
		require.Error(t, err, s)
	}
}

func TestPutPassword(t *testing.T) {
	const ours = mark + tenant + ".\ndb.example.com:5432:site:t\\:e\\\\nant:p\\:w\\\\d\n"
	const old = mark + tenant + ".\ndb.example.com:5432:site:t\\:e\\\\nant:old\n"
	for name, test := range map[string]struct{ before, after string }{
		"no file":                          {"", ours},
		"at the end":                       {"# a\nx:5432:site:u:p\n", "# a\nx:5432:site:u:p\n" + ours},
		"without line feed":                {"x:5432:site:u:p", "x:5432:site:u:p\n" + ours},
		"before one that would hide it":    {"x:1:y:z:p\n*:*:*:*:p\n", "x:1:y:z:p\n" + ours + "*:*:*:*:p\n"},
		"in its place":                     {"a:1:b:c:d\n" + old + "# z\r\n", "a:1:b:c:d\n" + ours + "# z\r\n"},
		"no longer hidden":                 {"*:*:site:*:p\n" + old, ours + "*:*:site:*:p\n"},
		"another login of the tenant":      {mark + tenant + ".\ndb.example.com:5432:site:other:old\n", ours},
		"another database of the tenant":   {mark + tenant + ".\ndb:5432:site:u:old\n", mark + tenant + ".\ndb:5432:site:u:old\n" + ours},
		"before another's that hides it":   {mark + another + ".\n*:*:*:*:x\n", ours + mark + another + ".\n*:*:*:*:x\n"},
		"a mark without a line is a line":  {mark + tenant + ".\n", mark + tenant + ".\n" + ours},
		"a line that tcred's was made of":  {mark + tenant + ".\ndb.example.com:5432:site:*:x\n", ours + mark + tenant + ".\ndb.example.com:5432:site:*:x\n"},
		"two marks and one line":           {mark + tenant + ".\n" + old, mark + tenant + ".\n" + ours},
		"twice: both are of before":        {old + "\n" + old, ours + "\n"},
		"a comment is none of the entries": {"#db.example.com:5432:site:t\\:e\\\\nant:x\n", "#db.example.com:5432:site:t\\:e\\\\nant:x\n" + ours},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := PutPassword([]byte(test.before), login, `p:w\d`, tenant, false)
			require.NoError(t, err)
			require.Equal(t, test.after, string(got))
			again, err := PutPassword(got, login, `p:w\d`, tenant, false)
			require.NoError(t, err)
			require.Equal(t, string(got), string(again), "the same again changes nothing")
		})
	}
}

func TestALineThatTcredDidNotWriteStays(t *testing.T) {
	const line = "db.example.com:5432:site:t\\:e\\\\nant:x\n"
	for name, before := range map[string]string{"no mark": line, "another tenant's": mark + another + ".\n" + line} {
		t.Run(name, func(t *testing.T) {
			content := []byte("# mine\n" + before)
			_, err := PutPassword(content, login, "new", tenant, false)
			require.ErrorIs(t, err, ErrForeign)
			got, err := PutPassword(content, login, "new", tenant, true)
			require.NoError(t, err)
			require.Equal(t, "# mine\n"+mark+tenant+".\n"+strings.Replace(line, ":x", ":new", 1), string(got))
		})
	}
}

func TestWhatAPasswordFileCannotHave(t *testing.T) {
	for _, l := range []Login{{"", "1", "d", "u"}, {"#h", "1", "d", "u"}, {"*", "1", "d", "u"}, {"h", "1", "d", "u\n*:*:*:*:x"}} {
		_, err := PutPassword(nil, l, "p", tenant, false)
		require.Error(t, err, l)
	}
	_, err := PutPassword(nil, login, "", tenant, false)
	require.Error(t, err)
}

// anyFile draws what may be in either file: lines of all kinds, with both line ends, and bytes that are no text.
func anyFile(t *rapid.T, names string) []byte {
	line := rapid.OneOf(
		rapid.StringMatching(names),
		rapid.SampledFrom([]string{
			"", "  ", "# a comment", "[acme]", "[b]", "[acme", "host=x", " port = 1", "*:*:*:*:x", "a:b", `a\:b:1:c:d:e`, "db.example.com:5432:site:*:x",
			`db.example.com:5432:site:t\:e\\nant:x`, `db.example.com:5432:site:other:x`, mark + tenant + ".", mark + another + ". x", "\x00\xff",
		}),
	)
	var b bytes.Buffer
	for _, text := range rapid.SliceOfN(line, 0, 12).Draw(t, "lines") {
		b.WriteString(text + rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end"))
	}
	content := b.Bytes()
	if rapid.Bool().Draw(t, "cut") {
		content = bytes.TrimRight(content, "\r\n")
	}
	return content
}

// restIs says whether content without what was written is before, but for line feeds where that ended.
func restIs(content, written, before []byte) bool {
	at := bytes.Index(content, written)
	if at < 0 {
		return false
	}
	rest := string(content[:at]) + string(content[at+len(written):])
	return rest == string(before) || rest == string(before)+"\n" || rest == string(before)+"\n\n"
}

// The rest of any file stays as it is, and another author's reader finds what was written.
func TestTheRestOfTheServiceFileStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := anyFile(t, `[a-z]{1,5}=[a-z ]{0,5}`)
		s := service(rapid.StringMatching(`[a-z.-]{1,20}`).Draw(t, "host"))
		after, err := PutService(before, s, false)
		section, sectionErr := s.lines()
		require.NoError(t, sectionErr)
		if err != nil {
			require.ErrorIs(t, err, ErrForeign)
			return
		}
		all := lines(before)
		from, to, exists := find(all, "acme")
		if !exists {
			require.True(t, restIs(after, []byte(strings.Join(section, "")), before), "%q became %q", before, after)
		} else {
			require.Equal(t, strings.Join(all[:from], "")+strings.Join(section, "")+strings.Join(all[to:], ""), string(after))
		}
		clean := regular(after)
		found, err := pgservicefile.ParseServicefile(bytes.NewReader(clean))
		require.NoError(t, err, "%q", clean)
		parsed, err := found.GetService("acme")
		require.NoError(t, err, "%q", clean)
		require.Equal(t, s.Settings[0].Value, parsed.Settings["host"])
	})
}

// regular has tcred's own section alone: the other reader refuses lines that libpq passes over.
func regular(content []byte) []byte {
	all := lines(content)
	from, to, _ := find(all, "acme")
	return []byte(strings.Join(all[from:to], ""))
}

func TestTheRestOfThePasswordFileStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := anyFile(t, `[a-z:*\\]{1,20}`)
		password := rapid.StringMatching(`[!-~]{1,40}`).Draw(t, "password")
		after, err := PutPassword(before, login, password, tenant, false)
		if err != nil {
			require.ErrorIs(t, err, ErrForeign)
			return
		}
		line, err := login.line(password)
		require.NoError(t, err)
		kept, _, err := without(lines(before), login, tenant, false)
		require.NoError(t, err)
		require.True(t, restIs(after, []byte(markOf(tenant, "")+line), []byte(strings.Join(kept, ""))), "%q became %q", before, after)
		require.True(t, isSubsequence(kept, lines(before)), "%q kept of %q", kept, before)
		if !bytes.Contains(before, []byte(mark)) {
			require.Equal(t, lines(before), kept, "only lines of tcred's are replaced")
		}
		requireFound(t, after, password)
	})
}

// requireFound has another author's reader look the login up.
func requireFound(t require.TestingT, content []byte, password string) {
	file, err := os.CreateTemp("", "pgfiles-")
	require.NoError(t, err)
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(content)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	found, err := pgpassfile.ReadPassfile(file.Name())
	require.NoError(t, err)
	require.Equal(t, password, found.FindPassword(login.Host, login.Port, login.Database, login.User), "%q", content)
}

func isSubsequence(part, whole []string) bool {
	for _, line := range whole {
		if len(part) > 0 && part[0] == line {
			part = part[1:]
		}
	}
	return len(part) == 0
}

func FuzzPutPassword(f *testing.F) {
	f.Add([]byte("# x\n*:*:*:*:p\n"), "p:\\")
	f.Add([]byte(mark+tenant+".\ndb.example.com:5432:site:u:p"), "x")
	f.Fuzz(func(t *testing.T, content []byte, password string) {
		once, err := PutPassword(content, login, password, tenant, true)
		if err != nil {
			return
		}
		twice, err := PutPassword(once, login, password, tenant, false)
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice))
		require.GreaterOrEqual(t, firstMatch(lines(once), login), 0)
	})
}

func FuzzPutService(f *testing.F) {
	f.Add([]byte("[b]\nhost=x\n[acme]\nhost=y\n"), "db")
	f.Fuzz(func(t *testing.T, content []byte, host string) {
		once, err := PutService(content, service(host), true)
		if err != nil {
			return
		}
		twice, err := PutService(once, service(host), false)
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice))
		require.NoError(t, CheckService(once, "acme", tenant))
	})
}

func appending(text string) func([]byte) ([]byte, error) {
	return func(content []byte) ([]byte, error) { return append(content, text...), nil }
}

func TestEditsThatComeTogetherLoseNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	const writers = 20
	done := make(chan error, writers)
	for i := range writers {
		go func() { done <- Edit(file, appending(fmt.Sprintf("%d\n", i))) }()
	}
	for range writers {
		require.NoError(t, <-done)
	}
	content, err := Read(file)
	require.NoError(t, err)
	require.Len(t, lines(content), writers)
}

func TestEditMakesAFileThatNoOtherUserReads(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "f")
	require.NoError(t, os.WriteFile(file, []byte("a\n"), 0o644))
	require.NoError(t, Edit(file, appending("")), "even where the content stays")
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, mode, info.Mode().Perm())

	require.NoError(t, os.Chmod(file, 0o400))
	require.NoError(t, os.Symlink("f", filepath.Join(folder, "link")))
	require.NoError(t, Edit(filepath.Join(folder, "link"), appending("b\n")))
	target, err := os.Readlink(filepath.Join(folder, "link"))
	require.NoError(t, err)
	require.Equal(t, "f", target, "it is still a link")
	content, err := Read(file)
	require.NoError(t, err)
	require.Equal(t, "a\nb\n", string(content))
}

// A failure leaves the file as it was, and nothing beside it.
func TestEditIsWholeOrNotAtAll(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "f")
	require.NoError(t, os.WriteFile(file, []byte("a\n"), 0o600))
	require.ErrorIs(t, Edit(file, func([]byte) ([]byte, error) { return nil, ErrForeign }), ErrForeign)
	require.NoError(t, os.Mkdir(filepath.Join(folder, "folder"), 0o700))
	require.Error(t, Edit(filepath.Join(folder, "folder"), appending("b")))
	require.Error(t, Edit(filepath.Join(folder, "missing", "f"), appending("b")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(folder, "dangling")))
	require.ErrorContains(t, Edit(filepath.Join(folder, "dangling"), appending("b")), "symbolic link")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "long"), make([]byte, longest+1), 0o600))
	require.ErrorContains(t, Edit(filepath.Join(folder, "long"), appending("b")), "longer than")
	require.Error(t, replace(filepath.Join(folder, "folder"), []byte("b")), "a file cannot take a folder's name")
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, entries, 5, "%v", entries) // f, folder, dangling, long and the lock
	content, err := Read(file)
	require.NoError(t, err)
	require.Equal(t, "a\n", string(content))
}
