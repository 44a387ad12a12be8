package postgres

import (
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

var plainIdentifier = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// Identifier is a name as SQL wants it, in quotes where it needs them, and without what does not print.
func Identifier(name string) string {
	const longest = 63 // bytes: NAMEDATALEN - 1
	if plainIdentifier.MatchString(name) && len(name) <= longest {
		return name
	}
	return pgx.Identifier{shown(name[:min(len(name), longest)])}.Sanitize()
}

// Literal is a value as SQL wants it; a backslash needs the E form, which means the same with any settings of the server.
func Literal(value string) string {
	quoted := "'" + strings.ReplaceAll(value, "'", "''") + "'"
	if strings.Contains(value, `\`) {
		return "E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
