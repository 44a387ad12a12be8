package pgfiles

import (
	"errors"
	"strings"
)

// Login is what a line of the password file is for.
type Login struct{ Host, Port, Database, User string }

// PutPassword returns the password file with a line for the login, where libpq finds it: the first line that matches counts, so that an earlier one
// with a wildcard would hide it. A line that tcred wrote for another login of the same tenant in the same database is removed: that login's
// password was replaced, too. ErrForeign: there is a line for this very login that is not of tcred and this tenant, and force does not say that it may be replaced.
func PutPassword(content []byte, l Login, password, tenant string, force bool) ([]byte, error) {
	line, err := l.line(password)
	if err != nil {
		return nil, err
	}
	kept, at, err := without(lines(content), l, tenant, force)
	if err != nil {
		return nil, err
	}
	if hides := firstMatch(kept, l); hides >= 0 && (at < 0 || hides < at) {
		at = hides
	}
	if at < 0 {
		at = len(kept)
	}
	return insert(kept, at, markOf(tenant, ""), line), nil
}

// without leaves out the lines that the new one replaces, and says where the first of them stood; -1 = there is none.
func without(all []string, l Login, tenant string, force bool) (kept []string, at int, err error) {
	at = -1
	for i := 0; i < len(all); i++ {
		owner, entry := markedFor(all[i]), i
		if owner != "" && i+1 < len(all) && markedFor(all[i+1]) == "" {
			entry = i + 1
		}
		old, isEntry := parse(all[entry])
		ours := entry > i && owner == tenant && old.sameDatabase(l)
		if isEntry && old.is(l) && !ours && !force {
			return nil, 0, ErrForeign
		}
		if isEntry && (ours || old.is(l)) {
			if at < 0 {
				at = len(kept)
			}
		} else {
			kept = append(kept, all[i:entry+1]...)
		}
		i = entry
	}
	return kept, at, nil
}

// firstMatch is the first line that libpq would take for the login, or the comment of tcred's above it; -1 = there is none.
func firstMatch(all []string, l Login) int {
	for i, line := range all {
		if e, isEntry := parse(line); isEntry && e.matches(l) {
			if i > 0 && markedFor(all[i-1]) != "" {
				return i - 1
			}
			return i
		}
	}
	return -1
}

func (l Login) fields() [4]string { return [4]string{l.Host, l.Port, l.Database, l.User} }

func (l Login) line(password string) (string, error) {
	var b strings.Builder
	names := [...]string{"host", "port", "database", "user", "password"}
	for i, value := range [...]string{l.Host, l.Port, l.Database, l.User, password} {
		if err := plain(names[i], value); err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(escaper.Replace(value))
	}
	if b.String()[0] == '#' || wild(l.fields()) { // libpq has no way to write them
		return "", errors.New("the login cannot stand in a password file")
	}
	return b.String() + "\n", nil
}

// escaper: "If an entry needs to contain : or \, escape this character with \" (PostgreSQL documentation, The Password File).
var escaper = strings.NewReplacer(`\`, `\\`, `:`, `\:`)

func wild(fields [4]string) bool {
	for _, field := range fields {
		if field == "*" {
			return true
		}
	}
	return false
}

// entry is the login of a line as it stands there: escaped, and with "*" for any.
type entry [4]string

// parse reads a line; a comment, or a line with fewer than four colons, is none.
func parse(line string) (e entry, isEntry bool) {
	line = strings.TrimRight(line, "\r\n")
	if strings.HasPrefix(line, "#") {
		return e, false
	}
	for i := range e {
		end := unescapedColon(line)
		if end < 0 {
			return e, false
		}
		e[i], line = line[:end], line[end+1:]
	}
	return e, true
}

func unescapedColon(text string) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case ':':
			return i
		}
	}
	return -1
}

// is says whether the line is for this login and no other.
func (e entry) is(l Login) bool { return e.matches(l) && !wild(e) }

func (e entry) matches(l Login) bool {
	for i, want := range l.fields() {
		if e[i] != "*" && unescape(e[i]) != want {
			return false
		}
	}
	return true
}

func (e entry) sameDatabase(l Login) bool {
	return !wild(e) && unescape(e[0]) == l.Host && unescape(e[1]) == l.Port && unescape(e[2]) == l.Database
}

func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
