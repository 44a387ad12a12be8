package postgres

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

func TestRotationEndToEnd(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		id, role := f.newTenant()

		before := f.observe(id)
		require.True(t, before.Found)
		require.True(t, before.RoleExists)
		require.Equal(t, role, before.Role)
		require.Equal(t, f.database, before.Database)
		require.Equal(t, "sp-"+id[:8], before.FlyApp)
		require.Empty(t, before.RoleViolation)
		require.Len(t, before.VerifierDigest, 64)
		require.Equal(t, before.VerifierDigest, before.HashDigest)
		require.Nil(t, before.Claim)
		require.Nil(t, before.Last)

		adopted, err := f.server.Adopt(ctx, adoptionOf(id, "uid"))
		require.NoError(t, err)
		require.Zero(t, adopted.Claim.Generation)
		require.Equal(t, before.VerifierDigest, adopted.Claim.VerifierDigest)

		opened := f.open(id, 3)
		require.Equal(t, int64(1), opened.Revision)
		require.True(t, opened.Made)
		opened.Made = false
		require.Equal(t, opened, f.open(id, 4), "an open rotation is returned, not doubled")

		password := credential.NewPassword()
		delivery := strings.Repeat("ab", 32)
		write := FlyWrite{App: "sp-" + id[:8], Version: math.MaxUint64, Digest: "digest"}
		require.NoError(t, f.server.InTransaction(ctx, id, "uid", func(ctx context.Context, tx Transaction) error {
			require.Equal(t, opened, *tx.Tenant().Open)
			if err := tx.Stage(ctx, Staging{Revision: 1, Verifier: f.verifier(password), DeliveryDigest: delivery, LoginChecked: true}); err != nil {
				return err
			}
			return tx.Commit(ctx, write)
		}))
		require.NoError(t, f.server.VerifyLogin(ctx, Login{Name: role, Role: role, Database: f.database, Password: password}))
		requireFailure(t, f.server.VerifyLogin(ctx, Login{Name: role, Role: role, Database: f.database, Password: credential.SecretOf("wrong")}), failure.Retry, reasons.VerificationFailed)

		after := f.observe(id)
		require.Nil(t, after.Open)
		require.Equal(t, StateCommitted, after.Last.State)
		require.Equal(t, after.VerifierDigest, after.HashDigest)
		require.Equal(t, after.VerifierDigest, after.Last.VerifierDigest)
		require.Equal(t, after.HashDigest, after.Last.HashDigest)
		require.Equal(t, delivery, after.Last.DeliveryDigest)
		require.Equal(t, write, FlyWrite{after.Last.FlyApp, after.Last.FlyVersion, after.Last.FlyDigest, after.Last.FlyInstances})
		require.NotEqual(t, before.VerifierDigest, after.VerifierDigest)
		require.Zero(t, after.Claim.Generation)

		require.NoError(t, f.complete(ctx, id, "uid", 1))
		require.NoError(t, f.complete(ctx, id, "uid", 1), "twice is the same as once")
		done := f.observe(id)
		require.Equal(t, StateCompleted, done.Last.State)
		require.Equal(t, int64(3), done.Claim.Generation)
		require.False(t, done.Last.CompletedAt.Before(done.Last.CommittedAt))
	})
}

func TestObserveAnswersInOrderAlsoForUnknownTenants(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.newTenant()
		const unknown = "00000000-0000-4000-8000-000000000001"
		tenants, err := f.server.Observe(t.Context(), []string{unknown, id})
		require.NoError(t, err)
		require.Len(t, tenants, 2)
		require.Equal(t, unknown, tenants[0].ID)
		require.False(t, tenants[0].Found)
		require.Equal(t, f.prefix+"00000000", tenants[0].Role)
		require.Equal(t, "site_00000000", tenants[0].Database)
		require.False(t, tenants[0].RoleExists)
		require.Equal(t, id, tenants[1].ID)
		require.True(t, tenants[1].Found)
	})
}

// Revisions that a failover has lost are not given to other passwords.
func TestOpenGoesAboveWhatWasSeen(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		opened, err := f.server.OpenRotation(t.Context(), Opening{TenantID: id, UID: "uid", Generation: 1, Cause: "LedgerRegressed", Above: 7})
		require.NoError(t, err)
		require.Equal(t, int64(8), opened.Revision)
		require.NoError(t, f.server.Discard(t.Context(), id, "uid", 8))
		opened, err = f.server.OpenRotation(t.Context(), Opening{TenantID: id, UID: "uid", Generation: 1, Cause: "GenerationRaised", Above: 2})
		require.NoError(t, err)
		require.Equal(t, int64(8), opened.Revision, "what is lower than the ledger counts for nothing, and what was given up is begun again")
		require.NoError(t, f.server.Discard(t.Context(), id, "uid", 8))
		opened, err = f.server.OpenRotation(t.Context(), Opening{TenantID: id, UID: "uid", Generation: 1, Cause: "LedgerRegressed", Above: 8})
		require.NoError(t, err)
		require.Equal(t, int64(9), opened.Revision, "one that was seen is not begun again")
	})
}
