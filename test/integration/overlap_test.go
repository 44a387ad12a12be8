package integration

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

const (
	overlap = "rotation: {strategy: Overlap}"
	inPlace = "rotation: {strategy: InPlace}"
)

// busyTenant is one with a second login, which the DBA has prepared, and with Machines that log in all the time.
func busyTenant(t *testing.T, machines int) tenant {
	t.Helper()
	x := newTenant(t)
	x.MakeApp(x.InitialURL())
	for range machines {
		x.AddBusyMachine()
	}
	prepare(x)
	return x
}

func prepare(x tenant) { x.SQL("SELECT tenant_credentials.prepare_overlap('" + x.Role() + "')") }

// requireNoFailedLogin looks at all that the Machines' processes have counted in their lives, but for the Machines that are named.
func requireNoFailedLogin(t *testing.T, x tenant, but ...string) {
	t.Helper()
	for _, machine := range x.Look().Machines {
		if !strings.Contains(strings.Join(but, " "), machine.ID) {
			require.Zero(t, machine.AppTotal.Failures, "failed logins of Machine %s, the last one: %s", machine.ID, machine.AppTotal.LastError)
		}
	}
}

// awaitLogins waits until each of the Machines, but for those that are named, has logged in some times more.
func awaitLogins(t *testing.T, x tenant, but ...string) {
	t.Helper()
	goal := map[string]int{}
	require.Eventually(t, func() bool {
		reached := true
		for _, machine := range x.Look().Machines {
			if _, known := goal[machine.ID]; !known {
				goal[machine.ID] = machine.AppTotal.Logins + 5
			}
			reached = reached && (machine.AppTotal.Logins >= goal[machine.ID] || strings.Contains(strings.Join(but, " "), machine.ID))
		}
		return reached
	}, patience, 100*time.Millisecond, "the Machines do not log in any more")
}

// activeLogin is the one that the app uses.
func activeLogin(t *testing.T, x tenant) string {
	t.Helper()
	present, err := url.Parse(x.URL())
	require.NoError(t, err)
	return present.User.Username()
}

// requireOneLogin asserts that the app's login works, and that the other one cannot log in and has no password.
func requireOneLogin(t *testing.T, x tenant) {
	t.Helper()
	requireAccepted(t, x.URL())
	rows, err := x.Pool().Query(context.Background(), "SELECT rolname FROM pg_authid WHERE rolname = ANY ($1) AND (rolcanlogin OR rolpassword IS NOT NULL)",
		[]string{x.Role(), x.Role() + "_b"})
	require.NoError(t, err)
	usable, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{activeLogin(t, x)}, usable, "logins that can be used, or have a password")
}

// makeTable makes a table as the app does.
func makeTable(t *testing.T, x tenant, name string) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), x.URL())
	require.NoError(t, err)
	defer connection.Close(context.Background())
	_, err = connection.Exec(t.Context(), "CREATE TABLE "+name+" ()")
	require.NoError(t, err)
}

// owners are those of the tenant's tables, by table.
func owners(t *testing.T, x tenant) map[string]string {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), x.URL())
	require.NoError(t, err)
	defer connection.Close(context.Background())
	rows, err := connection.Query(t.Context(), "SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public'")
	require.NoError(t, err)
	found := map[string]string{}
	var table, owner string
	_, err = pgx.ForEachRow(rows, []any{&table, &owner}, func() error { found[table] = owner; return nil })
	require.NoError(t, err)
	return found
}

// Rotation after rotation the two logins take turns, no login is refused, and every object that either makes belongs to the tenant's role.
func TestOverlap(t *testing.T) {
	t.Parallel()
	x := busyTenant(t, 2)
	x.Apply(overlap)
	x.WaitReady()
	makeTable(t, x, "first")
	for i, login := range []string{x.Role() + "_b", x.Role(), x.Role() + "_b"} {
		former := x.URL()
		awaitLogins(t, x)
		x.Apply(overlap, "rotationGeneration: "+string(rune('1'+i)))
		x.WaitReady()
		require.Equal(t, login, activeLogin(t, x))
		requireOneLogin(t, x)
		requireRefused(t, former)
		makeTable(t, x, "after_"+login+string(rune('1'+i)))
		awaitLogins(t, x)
		requireNoFailedLogin(t, x)
	}
	require.Equal(t, map[string]int{"completed": 3}, x.Rows())
	require.Equal(t, map[string]string{"first": x.Role(), "after_" + x.Role() + "_b1": x.Role(), "after_" + x.Role() + "2": x.Role(), "after_" + x.Role() + "_b3": x.Role()},
		owners(t, x))
}

// Another strategy alone changes nothing; it is that of the next rotation. Back from Overlap the role itself is used again, without
// a failed login.
func TestChangedStrategy(t *testing.T) {
	long(t)
	t.Parallel()
	x := busyTenant(t, 1)
	x.Apply(inPlace, "rotationGeneration: 1")
	x.WaitReady()
	require.Equal(t, x.Role(), activeLogin(t, x))
	before := x.Look().Machines[0].AppTotal.Failures

	x.Apply(overlap, "rotationGeneration: 1")
	x.Poke()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows(), "another strategy rotated by itself")
	x.Apply(overlap, "rotationGeneration: 2")
	x.WaitReady()
	require.Equal(t, x.Role()+"_b", activeLogin(t, x))
	requireOneLogin(t, x)

	x.Apply(inPlace, "rotationGeneration: 3")
	x.WaitReady()
	require.Equal(t, x.Role(), activeLogin(t, x))
	requireOneLogin(t, x)
	awaitLogins(t, x)
	require.Equal(t, before, x.Look().Machines[0].AppTotal.Failures, "failed logins of rotations that overlap")

	x.Apply(inPlace, "rotationGeneration: 4")
	x.WaitReady()
	require.Equal(t, x.Role(), activeLogin(t, x))
	requireOneLogin(t, x)
	require.Equal(t, map[string]int{"completed": 4}, x.Rows())
}

// Raising the number again and again in the middle of a rollout brings one more rotation, and no login is refused.
func TestOverlapRaisedDuringARollout(t *testing.T) {
	t.Parallel()
	x := busyTenant(t, 3)
	x.Apply(overlap, "rotationGeneration: 1")
	require.Eventually(t, func() bool { return moved(x) > 0 }, patience, 100*time.Millisecond)
	leaseMachines(t, x, 600) // the rollout waits, however long kubectl takes
	for _, generation := range []string{"2", "3", "4", "5", "6"} {
		x.Apply(overlap, "rotationGeneration: "+generation)
	}
	require.Less(t, moved(x), 3, "the rollout was over before the number was raised")
	leaseMachines(t, x, 1)
	x.WaitReady()
	awaitLogins(t, x)
	requireNoFailedLogin(t, x)
	requireOneLogin(t, x)
	require.EqualValues(t, 6, x.Get().Status.RotationGeneration)
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
}

// moved counts the Machines that were updated.
func moved(x tenant) (count int) {
	for _, machine := range x.Look().Machines {
		count += min(machine.Updates, 1)
	}
	return count
}

// halted is a busy tenant whose first Machine has not come up with the new login, so that the others were not touched.
func halted(t *testing.T) (x tenant, crashed string) {
	t.Helper()
	x = busyTenant(t, 3)
	x.Apply(overlap)
	x.WaitReady()
	boot(t, x, "crash")
	x.Apply(overlap, "rotationGeneration: 1")
	x.WaitReason("MachineUnhealthy")
	require.Equal(t, 1, moved(x), "the rollout continued after a Machine that does not come up")
	for _, machine := range x.Look().Machines {
		if machine.Updates > 0 {
			crashed = machine.ID
		}
	}
	require.Contains(t, x.Get().Condition("FlyMachinesUpdated").Message, "Machine "+crashed)
	require.Equal(t, "RolloutHalted", x.Get().Condition("Stalled").Reason)
	awaitLogins(t, x, crashed)
	requireNoFailedLogin(t, x, crashed)
	return x, crashed
}

// boot says how the tenant's Machines come up from now on.
func boot(t *testing.T, x tenant, how string) {
	t.Helper()
	for _, machine := range x.Look().Machines {
		admin(t, http.MethodPatch, "/admin/apps/"+x.App()+"/machines/"+machine.ID, `{"boot":"`+how+`"}`, nil)
	}
}

// While a rollout is halted, the Machines that have not moved go on with the previous login; once the Machine is repaired, the rollout goes on automatically.
func TestOverlapGoesOnAfterARepair(t *testing.T) {
	long(t)
	t.Parallel()
	x, crashed := halted(t)
	boot(t, x, "healthy")
	x.StartMachine(crashed)
	x.WaitReady()
	awaitLogins(t, x)
	requireNoFailedLogin(t, x)
	requireOneLogin(t, x)
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
}

// A raised generation starts a halted rollout anew, and the Machines that have not moved notice nothing of that either.
func TestOverlapRaisedWhileHalted(t *testing.T) {
	long(t)
	t.Parallel()
	x, crashed := halted(t)
	boot(t, x, "healthy")
	x.Apply(overlap, "rotationGeneration: 2")
	x.WaitReady()
	x.StartMachine(crashed) // its restarts were used up, and a stopped Machine is not started
	awaitLogins(t, x)
	requireNoFailedLogin(t, x)
	requireOneLogin(t, x)
	require.Equal(t, map[string]int{"superseded": 1, "completed": 1}, x.Rows())
}

var prepareStatement = regexp.MustCompile(`SELECT tenant_credentials\.prepare_overlap\('[a-z0-9_]+'\)`)

// Without a second login nothing begins, and the status has the SQL that makes one; after that it begins automatically.
func TestOverlapWithoutSecondLogin(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply(overlap, "rotationGeneration: 1")
	x.WaitReason("RoleNotAllowed")
	o := x.Get()
	require.Equal(t, "RoleNotAllowed", o.Condition("Stalled").Reason)
	require.Contains(t, o.Condition("Ready").Message, "Role "+x.Role()+" has no second login "+x.Role()+"_b")
	require.Contains(t, o.Condition("Ready").Message, "Nothing was changed.")
	require.Empty(t, x.Rows())
	require.Zero(t, x.Writes(), "something was written to Fly")
	require.Equal(t, x.InitialURL(), x.URL())
	requireAccepted(t, x.URL())

	x.SQL(prepareStatement.FindString(o.Condition("Ready").Message))
	x.WaitReady()
	require.Equal(t, x.Role()+"_b", activeLogin(t, x))
	requireOneLogin(t, x)
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
}

// A login that another client has opened beside the one in use is shown, and the next rotation closes it, with either strategy.
func TestOpenedLoginIsShownAndClosed(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	prepare(x)
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	for _, next := range [][]string{{"rotationGeneration: 2", inPlace}, {"rotationGeneration: 3", overlap}} {
		x.SQL("ALTER ROLE " + x.Role() + "_b LOGIN PASSWORD 'somebodyelse'")
		x.Poke()
		x.WaitReason("DriftDetected")
		require.Equal(t, "False", x.Get().Condition("PostgresSynced").Status)
		require.Contains(t, x.Get().Condition("Ready").Message, "ALTER ROLE "+x.Role()+"_b NOLOGIN PASSWORD NULL; or raise spec.")
		x.Apply(next...)
		x.WaitReady()
		requireOneLogin(t, x)
	}
	require.Equal(t, map[string]int{"completed": 3}, x.Rows())
}

// retiring waits until only a session of the previous login keeps the rotation from being completed.
func retiring(t *testing.T, x tenant) {
	t.Helper()
	require.Eventually(t, func() bool { return x.Get().Condition("Reconciling").Reason == "Retiring" }, patience, 100*time.Millisecond)
	require.Equal(t, map[string]int{"rolled": 1}, unfinished(x))
}

// unfinished counts the ledger rows that are not completed.
func unfinished(x tenant) map[string]int {
	rows := x.Rows()
	delete(rows, "completed")
	return rows
}

// A session of the previous login has the grace period: the login is closed when the session ends or, if it does not, when that period is over,
// and then the session is ended.
func TestOverlapGracePeriod(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, "grace")
	x := newTenantIn(t, e, "stopped")
	prepare(x)
	grace := func(period string) {
		kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", `{"spec":{"rotation":{"overlapGracePeriod":"`+period+`"}}}`)
	}
	grace("1h")
	x.Apply(overlap)
	x.WaitReady()
	former := x.URL()
	leaves, err := pgx.Connect(t.Context(), former)
	require.NoError(t, err)
	x.Apply(overlap, "rotationGeneration: 1")
	retiring(t, x)
	requireAccepted(t, former)
	require.NoError(t, leaves.Close(t.Context()))
	x.WaitReady()
	requireRefused(t, former)

	former = x.URL()
	stays := session(t, former)
	x.Apply(overlap, "rotationGeneration: 2")
	retiring(t, x)
	require.Contains(t, x.Get().Condition("Ready").Message, "or 1h after the last Machine was updated")
	requireAccepted(t, former)
	require.True(t, stays())
	grace("1s")
	x.WaitReady()
	requireRefused(t, former)
	require.False(t, stays(), "the session is still there after the grace period")
	requireOneLogin(t, x)
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
}

// After a compromise there is no grace, and nothing overlaps: both logins are closed, and their sessions ended, before the login in use gets
// another password.
func TestOverlapCompromised(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	prepare(x)
	x.Apply(overlap, "rotationGeneration: 1")
	x.WaitReady()
	former := x.URL()
	thief := session(t, former)
	require.True(t, thief())

	lift := x.Fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"delay","delay_ms":3000}`)
	defer lift()
	x.Apply(overlap, "rotationGeneration: 1", "rotationRequest: {replacesRevision: 1, compromised: true}")
	require.Eventually(t, func() bool { return x.Rows()["open"] == 1 }, patience, 50*time.Millisecond)
	mend := x.Fault(`{"route":"GET /v1/apps/{app}","status":503,"count":-1}`) // for the passes after this one
	require.Eventually(t, func() bool { return !thief() }, patience, 100*time.Millisecond, "the session of before is still there")
	require.Eventually(t, func() bool { return x.Rows()["committed"] == 1 }, patience, 50*time.Millisecond)
	require.True(t, closedFirst(t, x))
	requireRefused(t, former)
	requireOneLogin(t, x)
	owner := session(t, x.URL())
	mend()
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 2}, x.Rows())
	require.True(t, owner(), "a session with the present password")
	requireOneLogin(t, x)
}
