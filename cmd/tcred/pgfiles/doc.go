// Package pgfiles writes the two files in which psql, and every other client that uses libpq, finds a connection by its name: the connection
// service file (pg_service.conf) and the password file (.pgpass).
//
// PutService and PutPassword are pure: they take what is in a file and return what is to be in it. Every line that tcred did not write stays as
// it is, byte for byte. Edit does the I/O. The libraries for these formats (pgservicefile and pgpassfile of github.com/jackc) only read; the tests
// read with them what is written here.
package pgfiles

import (
	"errors"
	"fmt"
	"strings"
)

// mark begins the comment line by which tcred knows its own lines again. The tenant's ID and a full stop follow.
const mark = "# Written by tcred for tenant "

// ErrForeign says that the lines to replace are not tcred's own, or are another tenant's.
var ErrForeign = errors.New("not written by tcred for this tenant")

func markOf(tenant, more string) string { return mark + tenant + "." + more + "\n" }

// markedFor returns the tenant of a comment line of tcred's, "" for any other line.
func markedFor(line string) string {
	rest, isMark := strings.CutPrefix(strings.TrimSpace(line), mark)
	tenant, _, ended := strings.Cut(rest, ".")
	if !isMark || !ended {
		return ""
	}
	return tenant
}

// lines cuts content after each line feed.
func lines(content []byte) []string {
	if len(content) == 0 {
		return nil
	}
	all := strings.SplitAfter(string(content), "\n")
	if all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// insert puts more before the line at. The line before it may be the file's last, without a line feed.
func insert(all []string, at int, more ...string) []byte {
	var b strings.Builder
	for _, line := range all[:at] {
		b.WriteString(line)
	}
	if at > 0 && !strings.HasSuffix(all[at-1], "\n") {
		b.WriteString("\n")
	}
	for _, line := range append(more, all[at:]...) {
		b.WriteString(line)
	}
	return []byte(b.String())
}

// plain says why a value cannot stand in a line, or returns nil.
func plain(name, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("the %s is empty", name)
	case strings.ContainsAny(value, "\r\n\x00"):
		return fmt.Errorf("the %s has a line break", name)
	}
	return nil
}
