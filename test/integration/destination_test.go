package integration

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// The rest of an app's URL, besides its login and address, cannot be read at Fly: before the first rotation the object shows the URL to be written, and
// the form that is asked for is in the URL then. Another form is another rotation.
func TestTheFormOfTheURL(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply("rotation: {strategy: InPlace}")
	x.WaitReady()
	bare := "DATABASE_URL=postgresql://" + x.Role() + ":<password>@" + address(t, x.InitialURL()) + "/site_" + x.Short
	require.Contains(t, x.Get().Condition("Ready").Message, bare+". Compare this with the app's present value")
	require.Eventually(t, func() bool {
		return strings.Contains(kubectl(t, "", "-n", "tenants-sandbox", "events", "--for", "tcred/"+x.Name, "--types=Warning"), bare)
	}, 30*time.Second, 100*time.Millisecond, "no event says so")

	x.Apply("rotation: {strategy: InPlace}", `databaseURL: {parameters: {options: "-c statement_timeout=5s", sslmode: disable}}`, "rotationGeneration: 1")
	x.WaitReady()
	require.Contains(t, x.URL(), "?options=-c%20statement_timeout%3D5s&sslmode=disable")
	session, err := pgx.Connect(t.Context(), x.URL())
	require.NoError(t, err)
	defer func() { _ = session.Close(context.Background()) }()
	var timeout string
	require.NoError(t, session.QueryRow(t.Context(), "SHOW statement_timeout").Scan(&timeout))
	require.Equal(t, "5s", timeout)

	x.Apply("rotation: {strategy: InPlace}", `databaseURL: {scheme: postgres, parameters: {sslmode: prefer}}`, "rotationGeneration: 1")
	x.WaitReady()
	require.Equal(t, "DeliveryChanged", x.Get().Status.LastRotation.Cause)
	require.True(t, strings.HasPrefix(x.URL(), "postgres://") && strings.HasSuffix(x.URL(), "?sslmode=prefer"))
	requireAccepted(t, x.URL())
}

// A parameter that could redirect an app, hold a password or mislead its driver is refused at the door, with what to write.
func TestFormsThatAreRefused(t *testing.T) {
	t.Parallel()
	for parameters, says := range map[string]string{
		`{host: elsewhere.example.com}`: "the login, the password and the address are the operator's to write",
		`{Password: x}`:                 "the login, the password and the address are the operator's to write",
		`{"a b": x}`:                    "write names of parameters such as sslmode",
		`{sslmode: "off"}`:              "write sslmode as disable, allow, prefer, require, verify-ca or verify-full",
		`{options: "a\nb"}`:             "write one line of plain text",
	} {
		x := newRow(t)
		output, err := try(x.Manifest("databaseURL: {parameters: "+parameters+"}"), "apply", "-f", "-")
		require.Error(t, err, parameters)
		require.Contains(t, output, says, parameters)
	}
}

func address(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u.Host
}

// A mistyped address of an environment meets one tenant. Once it is fixed, that one gets a new password automatically, and the others are left
// as they are; a change that works goes on to all of them.
func TestAChangedAddressIsProvedByOneTenant(t *testing.T) {
	long(t)
	t.Parallel()
	e := newEnvironment(t, "moved")
	tenants := make([]tenant, 3)
	for i := range tenants {
		tenants[i] = newTenantIn(t, e, "started")
		tenants[i].Apply("rotation: {strategy: InPlace}", "rotationGeneration: 1")
	}
	for _, x := range tenants {
		x.WaitReady()
	}
	internal := func(settings string) {
		kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", `{"spec":{"postgres":{"internal":`+settings+`}}}`)
	}
	halted := func() (found []tenant) {
		for _, x := range tenants {
			if x.Get().Condition("Ready").Reason == "MachineUnhealthy" {
				found = append(found, x)
			}
		}
		return found
	}
	internal(`{"host":"127.0.0.2"}`)
	require.Eventually(t, func() bool { return len(halted()) > 0 }, patience, 200*time.Millisecond, "no tenant tries the address")
	require.Len(t, halted(), 1)
	canary := halted()[0]
	for _, x := range tenants {
		if x.ID == canary.ID {
			continue
		}
		require.Contains(t, x.Get().Condition("Ready").Message, "starts once another tenant of TenantEnvironment "+e.Name+" has proved the changed address")
		require.Equal(t, map[string]int{"completed": 1}, x.Rows())
		requireAccepted(t, x.URL())
	}

	internal(`{"host":"127.0.0.1"}`)
	for _, x := range tenants {
		x.Poke()
		require.Eventually(t, func() bool { return x.Get().Condition("Ready").Status == "True" }, patience, 200*time.Millisecond, x.Describe())
		requireAccepted(t, x.URL())
	}
	require.Equal(t, map[string]int{"completed": 2, "superseded": 1}, canary.Rows())
	require.Equal(t, "DeliveryChanged", canary.Get().Status.LastRotation.Cause)

	internal(`{"parameters":{"application_name":"an-app"}}`)
	for _, x := range tenants {
		require.Eventually(t, func() bool { return strings.HasSuffix(x.URL(), "?application_name=an-app") }, patience, 200*time.Millisecond, x.Describe())
		x.WaitReady()
		requireAccepted(t, x.URL())
	}
}
