package integration

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// issued are the logins with their passwords, as URLs, that a tenant has ever had.
type issued struct {
	x    tenant
	urls map[string]bool
}

// usable says that a previous login can still be used, although no rotation is in progress and the object is Ready.
func (i issued) usable(o platform.Object) bool {
	present, rows := i.x.URL(), i.x.Rows()
	i.urls[present] = true
	for url := range i.urls {
		if url == present || len(unfinished(i.x)) > 0 {
			continue
		}
		if _, err := platform.Login(url); err == nil && maps.Equal(rows, i.x.Rows()) && o.Metadata.ResourceVersion == i.x.Get().Metadata.ResourceVersion {
			return true
		}
	}
	return false
}

// awaitRotations waits until so many rotations are completed and the object is Ready. Until then it acts on Ready's message.
func (i issued) awaitRotations(t *testing.T, completed int, act func(message string)) {
	t.Helper()
	usable := false
	require.Eventually(t, func() bool {
		o := i.x.Get()
		if o.Condition("Ready").Status != "True" {
			act(o.Condition("Ready").Message)
			return false
		}
		usable = usable || i.usable(o)
		return usable || i.x.Rows()["completed"] == completed
	}, 3*time.Minute, 100*time.Millisecond, "the object is not Ready, or is rotated too often")
	require.False(t, usable, "Ready=True, and a login of before can still be used")
}

// followed runs each statement that a message offers, once. One that fails is run again: the operator may work on the same role at that moment.
func followed(t *testing.T) (act func(message string)) {
	done := map[string]bool{"": true}
	return func(message string) {
		statement := offered.FindString(message)
		if done[statement] {
			return
		}
		if output, err := tryPSQL(statement); err != nil {
			t.Logf("%s: %v\n%s", statement, err, output)
			return
		}
		done[statement] = true
	}
}

func leave(string) {}

// A tenant's role is renamed while its second login is in use, and the DBA follows the messages. The login keeps its name, and is closed with the next
// rotation. One with its password that is opened again is shown, and closed by a rotation because of a compromise.
func TestRenamedRoleWithTwoLogins(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	prepare(x)
	x.Apply(overlap, "rotationGeneration: 1")
	x.WaitReady()
	stray, leaked, renamed := x.Role()+"_b", x.URL(), "tenant_acme_"+x.Short
	require.Equal(t, stray, activeLogin(t, x))
	verifier := verifierOf(t, stray)
	logins := issued{x, map[string]bool{x.InitialURL(): true, leaked: true}}

	x.SQL("ALTER ROLE " + x.Role() + " RENAME TO " + renamed)
	override(x, "db_role", renamed)
	x.Poke()
	logins.awaitRotations(t, 2, followed(t)) // automatically: the app's URL names the role
	require.NotEqual(t, leaked, x.URL())
	requireRefused(t, leaked)

	x.Apply(overlap, "rotationGeneration: 2")
	logins.awaitRotations(t, 3, leave)
	requireAccepted(t, x.URL())
	requireRefused(t, leaked)

	x.SQL("ALTER ROLE " + stray + " LOGIN PASSWORD '" + verifier + "'")
	requireAccepted(t, leaked)
	x.Poke()
	x.WaitReason("DriftDetected")
	require.Contains(t, x.Get().Condition("Ready").Message, "Login "+stray+" can log in")
	x.Apply(overlap, "rotationGeneration: 2", "rotationRequest: {replacesRevision: 3, compromised: true}")
	logins.awaitRotations(t, 4, leave)
	requireAccepted(t, x.URL())
	requireRefused(t, leaked)
}

// verifierOf is what PostgreSQL has of a login's password.
func verifierOf(t *testing.T, login string) (verifier string) {
	t.Helper()
	require.NoError(t, platform.Sandbox().Pool(t).QueryRow(t.Context(), "SELECT rolpassword FROM pg_authid WHERE rolname = $1", login).Scan(&verifier))
	return verifier
}
