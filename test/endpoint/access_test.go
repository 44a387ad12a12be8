package endpoint

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// outside is an address that the playground's pg_hba.conf lets in the group's members alone from.
const outside = "127.0.0.2"

// A tenant is accepted from outside while it has external access, and no longer: its open session ends, too, while that of the app goes on.
func TestExternalAccess(t *testing.T) {
	t.Parallel()
	x := newOwned(t, "started")
	endExternalAccessSoon(t)
	c := owner(t)
	require.Equal(t, http.StatusOK, c.rotate(t, x.ID, "", "Prefer: wait=25").Code)
	x.WaitReady()
	inside, err := pgx.Connect(t.Context(), x.URL())
	require.NoError(t, err)
	defer func() { _ = inside.Close(context.Background()) }()
	_, err = fromOutside(t, x.URL())
	require.ErrorContains(t, err, "no pg_hba.conf entry", "it is let in before it is enabled")

	a, err := c.ask(t.Context(), http.MethodPut, accessPath(x.ID), `{"enabled":true}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.Code, a.Body)
	require.Contains(t, a.Body, `"status":"enabled"`)
	require.Regexp(t, `:\*{8}@`, a.rotation(t).ExternalURL)
	session, err := fromOutside(t, x.URL())
	require.NoError(t, err)
	defer func() { _ = session.Close(context.Background()) }()

	a, err = c.ask(t.Context(), http.MethodPost, accessPath(x.ID), `{"enabled":false}`)
	require.NoError(t, err)
	require.Contains(t, []int{http.StatusOK, http.StatusAccepted}, a.Code, a.Body)
	require.Eventually(t, func() bool { return session.Ping(t.Context()) != nil }, patience, 100*time.Millisecond, "the open external session stays")
	_, err = fromOutside(t, x.URL())
	require.ErrorContains(t, err, "no pg_hba.conf entry")
	require.NoError(t, inside.Ping(t.Context()), "the session from inside was ended")
	require.Eventually(t, func() bool {
		a, err := c.ask(t.Context(), http.MethodGet, accessPath(x.ID), "")
		return err == nil && a.Code == http.StatusOK && a.rotation(t).Status == "disabled"
	}, patience, 200*time.Millisecond)
	require.Equal(t, map[string]int{"completed": 1}, x.Rows(), "the password was rotated")
}

// endExternalAccessSoon shortens what the end of an access waits for.
func endExternalAccessSoon(t *testing.T) {
	t.Helper()
	platform.Sandbox().Exec(t, "ALTER SYSTEM SET authentication_timeout = '10s'")
	platform.Sandbox().Exec(t, "SELECT pg_reload_conf()")
}

func accessPath(tenantID string) string { return "/api/v1/tenants/" + tenantID + "/external-db-access" }

// fromOutside logs in with a DATABASE_URL as a client outside does: from another address, and by TLS that it checks.
func fromOutside(t *testing.T, databaseURL string) (*pgx.Conn, error) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {os.Getenv("GATEWAY_CA")}}.Encode()
	config, err := pgx.ParseConfig(u.String())
	require.NoError(t, err)
	config.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(outside)}}).DialContext
	return pgx.ConnectConfig(t.Context(), config)
}
