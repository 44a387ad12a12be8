package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A name in a message stands in quotation marks where PostgreSQL would put them.
func TestKeywordsAreQuoted(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		rows, err := f.dba.Query(t.Context(), "select word, quote_ident(word) from pg_get_keywords()")
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var name, quoted string
			require.NoError(t, rows.Scan(&name, &quoted))
			if name != quoted {
				require.Equal(t, quoted, Identifier(name))
			}
		}
		require.NoError(t, rows.Err())
	})
}
