package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// An operator that is older than the ledger goes on with it, as after a downgrade of the operator, and its install-sql refuses to write. Only
// where a function that it calls is gone, the ledger is no use to it.
func TestLedgerOfANewerVersion(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.exec("insert into tenant_credentials.goose_db_version (version_id, is_applied) values ($1, true)", LedgerVersion+1)
		survey, err := f.server.Survey(t.Context())
		require.NoError(t, err)
		require.Equal(t, LedgerVersion+1, survey.LedgerVersion)
		refused := requireFailure(t, Install(t.Context(), f.dbaURL(), f.installation()), failure.Stall, reasons.Rejected)
		require.Contains(t, refused.Detail, "Run install-sql of the newer program.")
		f.rotate(id, f.open(id, 1).Revision)

		f.exec("drop function tenant_credentials.observe(uuid[])")
		_, err = f.server.Observe(t.Context(), []string{id})
		requireFailure(t, err, failure.Wait, reasons.LedgerOutdated)
	})
}
