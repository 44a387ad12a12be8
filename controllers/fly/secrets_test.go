package fly

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

func TestALostAnswerToASecretIsAskedForAgain(t *testing.T) {
	for _, mode := range []string{flyemulator.FaultDrop, flyemulator.FaultResetAfter, flyemulator.FaultResetBefore} {
		w := newWorld(t)
		w.fault(flyemulator.Fault{Route: secretsRoute, Mode: mode, Count: 2})
		secret, err := w.SetSecret(t.Context(), testApp, "DATABASE_URL", credential.SecretOf(testValue))
		require.NoError(t, err, mode)
		app, _ := w.Inspect(t.Context(), testApp)
		require.Equal(t, testValue, app.Secrets[0].Value, mode)
		require.Equal(t, app.Secrets[0].Version, fmt.Sprint(secret.Version), mode)
		digest, err := w.SecretDigest(t.Context(), testApp, "DATABASE_URL")
		require.NoError(t, err)
		require.Equal(t, digest, secret.Digest, mode)
		for _, change := range app.History[1:] {
			require.Equal(t, testValue, *change.Value, mode)
		}
	}
}

func TestSecretDigestOfAnUnsetVariableIsEmpty(t *testing.T) {
	digest, err := newWorld(t).SecretDigest(t.Context(), testApp, "OTHER")
	require.NoError(t, err)
	require.Empty(t, digest)
}

func TestARateLimitChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.limits.now = time.Now
	w.fault(flyemulator.Fault{Route: secretsRoute, Status: 429, Headers: map[string]string{"Retry-After": "60"}})
	for range 2 { // the second is not sent at all
		_, err := w.SetSecret(t.Context(), testApp, "DATABASE_URL", credential.SecretOf(testValue))
		requireFailure(t, err, failure.Retry, reasons.RateLimited)
	}
	app, _ := w.Inspect(t.Context(), testApp)
	require.Equal(t, "old value", app.Secrets[0].Value)
}
