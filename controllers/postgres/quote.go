package postgres

import (
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

var plainIdentifier = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// keywords are those that PostgreSQL's quote_ident quotes, of 15 to 18 together: a name may be one, and its statement could not be run without quotes.
var keywords = strings.Fields(`
	all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast char character check coalesce
	collate collation column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
	current_timestamp current_user dec decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign
	freeze from full grant greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull join json
	json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize json_table json_value lateral leading
	least left like limit localtime localtimestamp merge_action national natural nchar none normalize not notnull null nullif numeric offset on only
	or order out outer overlaps overlay placing position precision primary real references returning right row select session_user setof similar
	smallint some substring symmetric system_user table tablesample then time timestamp to trailing treat trim true union unique user using values
	varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot
	xmlserialize xmltable`)

// Identifier is a name as SQL wants it, in quotes where it needs them, and without what does not print.
func Identifier(name string) string {
	const longest = 63 // bytes: NAMEDATALEN - 1
	if plainIdentifier.MatchString(name) && len(name) <= longest && !slices.Contains(keywords, name) {
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
