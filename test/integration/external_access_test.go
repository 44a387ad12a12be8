package integration

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// The playground's inside is 127.0.0.1. A client that binds itself to this address comes from outside.
const outside = "127.0.0.2"

// dialFromOutside logs in at the external URL with the password that the app has.
func dialFromOutside(t *testing.T, external, delivered string) (*pgx.Conn, error) {
	t.Helper()
	u, err := url.Parse(external)
	require.NoError(t, err)
	app, err := url.Parse(delivered)
	require.NoError(t, err)
	password, _ := app.User.Password()
	u.User = url.UserPassword(app.User.Username(), password)
	config, err := pgx.ParseConfig(u.String())
	require.NoError(t, err)
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(outside)}}).DialContext(ctx, network, address)
	}
	session, err := pgx.ConnectConfig(t.Context(), config)
	if err == nil {
		t.Cleanup(func() { _ = session.Close(context.Background()) })
	}
	return session, err
}

// requireShutOut asserts that pg_hba.conf has no rule for the tenant from outside.
func requireShutOut(t *testing.T, external, delivered string) {
	t.Helper()
	_, err := dialFromOutside(t, external, delivered)
	var refused *pgconn.PgError
	require.True(t, errors.As(err, &refused) && refused.Code == "28000", "%v", err)
}

// A tenant is accepted from outside while it asks for that. Then the session from there is ended, the app's stays, and no password changes.
func TestExternalAccess(t *testing.T) { // not parallel: it restarts the operator
	long(t)
	x := newTenant(t, "stopped")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	require.Empty(t, x.Get().Condition("ExternalAccess"))
	require.Empty(t, x.Get().Status.Postgres.ExternalURL)
	external := x.Get().Status.Postgres.InternalURL + "?sslmode=require"
	requireShutOut(t, external, x.URL())

	x.Apply("rotationGeneration: 1", "externalAccess: {}")
	x.WaitReady()
	require.Equal(t, "Enabled", x.Get().Condition("ExternalAccess").Reason)
	require.Equal(t, external, x.Get().Status.Postgres.ExternalURL)
	fromOutside, err := dialFromOutside(t, external, x.URL())
	require.NoError(t, err)
	fromInside, err := pgx.Connect(t.Context(), x.URL())
	require.NoError(t, err)
	defer func() { _ = fromInside.Close(context.Background()) }()

	x.Apply("rotationGeneration: 1", "suspend: true")
	require.Eventually(t, func() bool { return x.Get().Condition("ExternalAccess").Reason == "Disabling" }, patience, 100*time.Millisecond, x.Describe())
	o := x.Get()
	require.Equal(t, "False Progressing", o.Condition("Ready").Status+" "+o.Condition("Ready").Reason)
	require.Equal(t, "Disabling", o.Condition("Reconciling").Reason)
	require.Empty(t, o.Status.Postgres.ExternalURL)
	requireShutOut(t, external, x.URL())
	require.Error(t, fromOutside.Ping(t.Context()), "the external session is still there")
	require.NoError(t, fromInside.Ping(t.Context()))
	require.NoError(t, playground("manager-down").Run())
	require.NoError(t, playground("manager-up").Run())

	x.WaitReady()
	require.Equal(t, "Disabled", x.Get().Condition("ExternalAccess").Reason)
	require.NoError(t, fromInside.Ping(t.Context()))
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	require.Equal(t, []string{"granted", "revoked", "swept"}, auditedAccess(t, x.ID))
	require.Eventually(t, func() bool {
		events := kubectl(t, "", "-n", "tenants-sandbox", "events", "--for", "tcred/"+x.Name)
		return strings.Contains(events, "ExternalAccessEnabled") && strings.Contains(events, "ExternalAccessDisabled")
	}, patience, 500*time.Millisecond)
}
