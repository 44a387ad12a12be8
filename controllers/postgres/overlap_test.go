package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// overlapping is an adopted tenant with a second login.
func (f *fixture) overlapping() (id, role string) {
	f.t.Helper()
	id, role = f.adoptedTenant()
	f.prepareOverlap(role)
	return id, role
}

// issue opens a rotation and gives the idle login its password.
func (f *fixture) issue(id string) (Rotation, credential.Secret) {
	f.t.Helper()
	password := credential.NewPassword()
	opened := f.open(id, 1)
	require.NoError(f.t, f.issueAs(id, opened.Revision, password))
	return *f.observe(id).Open, password
}

// issueAs gives the idle login of an open rotation this password.
func (f *fixture) issueAs(id string, revision int64, password credential.Secret) error {
	return f.server.InTransaction(f.t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
		_, err := tx.Issue(ctx, revision, f.verifier(password))
		return err
	})
}

// deliver commits what was issued.
func (f *fixture) deliver(id string, revision int64, policy string) error {
	f.t.Helper()
	verifierOf := one[string](f, "select rolpassword from pg_authid a join tenant_credentials.rotations r on r.login = a.rolname where tenant_id = $1 and revision = $2", id, revision)
	return f.server.InTransaction(f.t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
		if err := tx.Stage(ctx, Staging{Revision: revision, Verifier: verifierOf, SessionPolicy: policy, LoginChecked: true}); err != nil {
			return err
		}
		return tx.Commit(ctx, FlyWrite{})
	})
}

// overlap makes one rotation up to its commit.
func (f *fixture) overlap(id string) (Rotation, credential.Secret) {
	f.t.Helper()
	issued, password := f.issue(id)
	require.NoError(f.t, f.deliver(id, issued.Revision, SessionsKept))
	return issued, password
}

// finish retires the previous login and completes the rotation.
func (f *fixture) finish(id string, revision int64) {
	f.t.Helper()
	require.NoError(f.t, f.server.Rolled(f.t.Context(), id, "uid", revision))
	for !f.retire(id, revision, 0, true) {
	}
	require.NoError(f.t, f.complete(f.t.Context(), id, "uid", revision))
}

func (f *fixture) retire(id string, revision int64, grace time.Duration, endSessions bool) bool {
	f.t.Helper()
	retired, err := f.server.Retire(f.t.Context(), id, "uid", revision, Retirement{Grace: grace, OnceIdle: true, EndSessions: endSessions})
	require.NoError(f.t, err)
	return retired
}

// requireClosed asserts that a login has no password and may not log in.
func (f *fixture) requireClosed(login string) {
	f.t.Helper()
	require.True(f.t, one[bool](f, "select not rolcanlogin and rolpassword is null from pg_authid where rolname = $1", login), "%s can still be used", login)
}

func (f *fixture) requireLogsIn(login, role, password string) {
	f.t.Helper()
	require.NoError(f.t, f.server.VerifyLogin(f.t.Context(), Login{Name: login, Role: role, Database: f.database, Password: credential.SecretOf(password)}))
}

func TestOverlapChangesLoginsAndLeavesOne(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.overlapping()
		f.open(id, 1)
		first := f.rotate(id, 1)
		require.NoError(t, f.complete(t.Context(), id, "uid", 1))
		f.exec("create schema app_" + role[len(f.prefix):] + " authorization " + role)
		former, formerLogin := first, role
		for range 3 {
			issued, password := f.issue(id)
			require.NotEqual(t, formerLogin, issued.Login)
			f.requireLogsIn(formerLogin, role, former.Reveal())
			f.requireLogsIn(issued.Login, role, password.Reveal())
			require.Equal(t, formerLogin, f.observe(id).Login, "nothing is delivered yet")

			require.NoError(t, f.deliver(id, issued.Revision, SessionsKept))
			f.requireLogsIn(formerLogin, role, former.Reveal())
			requireFailure(t, f.complete(t.Context(), id, "uid", issued.Revision), failure.Retry, reasons.Superseded)

			f.finish(id, issued.Revision)
			f.requireClosed(formerLogin)
			session := f.login(issued.Login, password.Reveal())
			table := "app_" + role[len(f.prefix):] + ".by_" + issued.Login
			_, err := session.Exec(t.Context(), "create table "+table+" ()")
			require.NoError(t, err)
			require.Equal(t, role, one[string](f, "select tableowner::text from pg_tables where tablename = 'by_'||$1", issued.Login))
			_, err = session.Exec(t.Context(), "drop table "+table)
			require.NoError(t, err)
			require.NoError(t, session.Close(t.Context()))
			former, formerLogin = password, issued.Login
		}
		require.Equal(t, role+"_b", formerLogin)
	})
}

func TestSecondLoginHasWhatTheRoleHas(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.overlapping()
		f.exec(`alter role ` + role + ` connection limit 7 valid until '2099-01-01';
			alter role ` + role + ` set search_path to "$user", 'Odd, name', '';
			alter role ` + role + ` in database ` + f.database + ` set statement_timeout to '77s';
			alter role ` + role + ` set app.region to 'it''s "fra"'`)
		f.exec("select tenant_credentials.prepare_overlap($1)", role) // a setting of no extension is a superuser's
		first, password := f.overlap(id)
		settings := func(login, role string) []string {
			return one[[]string](f, `select array_agg(setdatabase || ' ' || c order by setdatabase, c) from pg_db_role_setting cross join unnest(setconfig) c
				where setrole = $1::text::regrole and c <> 'role=' || $2`, login, role)
		}
		require.Equal(t, settings(role, role), settings(first.Login, role))
		require.True(t, one[bool](f, "select a.rolconnlimit = b.rolconnlimit and a.rolvaliduntil = b.rolvaliduntil from pg_authid a, pg_authid b where a.rolname = $1 and b.rolname = $2", role, first.Login))
		session := f.login(first.Login, password.Reveal())
		var path string
		require.NoError(t, session.QueryRow(t.Context(), "show search_path").Scan(&path))
		require.Equal(t, `"$user", "Odd, name", ""`, path)
		f.finish(id, first.Revision)

		second, _ := f.overlap(id)
		f.finish(id, second.Revision)
		f.exec("alter role " + role + " reset search_path; alter role " + role + " connection limit -1")
		third, _ := f.issue(id)
		require.Equal(t, settings(role, role), settings(third.Login, role), "what was taken from the role is taken from its second login")

		f.exec("alter role " + role + " set log_statement to 'all'")
		require.Equal(t, []string{"log_statement"}, f.leftOut(id, third.Revision), "a superuser's setting is left out, and named")
		f.exec("select tenant_credentials.prepare_overlap($1)", role)
		require.Empty(t, f.leftOut(id, third.Revision))
	})
}

// leftOut issues a password, and names the settings that the idle login could not be given.
func (f *fixture) leftOut(id string, revision int64) []string {
	f.t.Helper()
	var issued Issued
	require.NoError(f.t, f.server.InTransaction(f.t.Context(), id, "uid", func(ctx context.Context, tx Transaction) (err error) {
		issued, err = tx.Issue(ctx, revision, f.verifier(credential.NewPassword()))
		return err
	}))
	return issued.LeftOut
}

func TestSecondLoginHasToBePrepared(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		second := role + "_b"
		refused := func(part string) {
			t.Helper()
			require.Contains(t, f.observe(id).SecondViolation, part)
			err := f.issueAs(id, f.open(id, 1).Revision, credential.NewPassword())
			requireFailure(t, err, failure.Stall, reasons.RoleNotAllowed)
			require.ErrorContains(t, err, part)
		}
		refused("SELECT tenant_credentials.prepare_overlap('" + role + "')")

		f.exec("create role " + second + " login")
		refused("SELECT tenant_credentials.prepare_overlap('" + role + "')")
		_, err := f.dba.Exec(t.Context(), "select tenant_credentials.prepare_overlap($1)", role)
		require.ErrorContains(t, err, "is not the second login of "+role)
		require.Empty(t, f.observe(id).FormerLogin, "another tenant's role is not ours to close")
		f.exec("drop role " + second)

		f.prepareOverlap(role)
		f.prepareOverlap(role)
		require.Empty(t, f.observe(id).SecondViolation)
		f.exec("alter role " + second + " createdb")
		refused("has the attribute CREATEDB")
		f.exec("alter role " + second + " nocreatedb")
		f.exec("grant pg_monitor to " + second)
		refused("REVOKE pg_monitor FROM " + second)
		f.exec("revoke pg_monitor from " + second)
		f.issue(id)
	})
}

// A password that was issued and not delivered is thrown away, and the login in use notices nothing.
func TestIssuedAgainAndDiscarded(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.overlapping()
		first, former := f.overlap(id)
		f.finish(id, first.Revision)

		issued, lost := f.issue(id)
		err := f.issueAs(id, issued.Revision, credential.NewPassword())
		require.NoError(t, err)
		require.Error(t, f.server.VerifyLogin(t.Context(), Login{Name: issued.Login, Role: role, Database: f.database, Password: lost}))
		f.exec("alter role " + issued.Login + " password 'another client''s'")
		requireFailure(t, f.deliver(id, issued.Revision, SessionsKept), failure.Retry, reasons.Superseded)

		require.NoError(t, f.server.Discard(t.Context(), id, "uid", issued.Revision))
		f.requireClosed(issued.Login)
		f.requireLogsIn(first.Login, role, former.Reveal())
	})
}

func TestRetireWaitsForSessionsWithinItsGrace(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.overlapping()
		first, former := f.overlap(id)
		f.finish(id, first.Revision)
		session := f.login(first.Login, former.Reveal())
		second, _ := f.overlap(id)
		requireFailure(t, second.retireNow(f, id), failure.Retry, reasons.Superseded)
		require.NoError(t, f.server.Rolled(t.Context(), id, "uid", second.Revision))

		require.False(t, f.retire(id, second.Revision, time.Hour, true))
		require.Equal(t, first.Login, f.observe(id).FormerLogin)
		requireAlive(t, session)
		require.False(t, f.retire(id, second.Revision, 0, true), "closed by this call, and not swept yet")
		f.requireClosed(first.Login)
		require.True(t, f.retire(id, second.Revision, 0, false), "nothing is to be ended")
		requireAlive(t, session)
		require.False(t, f.retire(id, second.Revision, 0, true))
		requireEnded(t, session)
		require.Eventually(t, func() bool { return f.retire(id, second.Revision, 0, true) }, 10*time.Second, 50*time.Millisecond)
		require.NoError(t, f.complete(t.Context(), id, "uid", second.Revision))
		require.Equal(t, role, second.Login)
	})
}

// A tenant whose consumers cannot be seen to have moved keeps its previous login for the whole grace, and its sessions.
func TestRetireWaitsForTheWholeGrace(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.overlapping()
		first, _ := f.overlap(id)
		require.NoError(t, f.server.Rolled(t.Context(), id, "uid", first.Revision))
		retire := func(grace time.Duration) bool {
			retired, err := f.server.Retire(t.Context(), id, "uid", first.Revision, Retirement{Grace: grace})
			require.NoError(t, err)
			return retired
		}
		require.False(t, retire(time.Hour))
		require.NotEmpty(t, f.observe(id).FormerLogin, "there is no session, and a login may be in progress")
		require.False(t, retire(0))
		require.True(t, retire(0))
		require.Empty(t, f.observe(id).FormerLogin)
	})
}

func (r Rotation) retireNow(f *fixture, id string) error {
	_, err := f.server.Retire(f.t.Context(), id, "uid", r.Revision, Retirement{EndSessions: true})
	return err
}

// While consumers are being moved, the login that the others still use cannot be issued.
func TestNothingIsIssuedDuringARollout(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.overlapping()
		first, former := f.overlap(id)
		f.finish(id, first.Revision)
		second, _ := f.overlap(id)
		err := f.issueAs(id, f.open(id, 3).Revision, credential.NewPassword())
		requireFailure(t, err, failure.Retry, reasons.Superseded)
		f.requireLogsIn(first.Login, role, former.Reveal())

		password := f.rotate(id, 3) // on the login in use
		require.Equal(t, second.Login, f.observe(id).Login)
		f.requireLogsIn(second.Login, role, password.Reveal())
		f.requireLogsIn(first.Login, role, former.Reveal())
		f.finish(id, 3)
		f.requireClosed(first.Login)
	})
}

// After a compromise the password of the login in use changes, once neither login is good for anything: a session of either could otherwise
// set a password of its own.
func TestCompromiseClosesBothLoginsFirst(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.overlapping()
		first, former := f.overlap(id)
		f.finish(id, first.Revision)
		session := f.login(first.Login, former.Reveal())
		second, lost := f.issue(id)
		requireFailure(t, f.deliver(id, second.Revision, SessionsCompromised), failure.Retry, reasons.Superseded)
		f.requireLogsIn(second.Login, role, lost.Reveal())

		require.False(t, f.closeOnce(id, second.Revision), "its sessions are looked for once this is committed")
		requireAlive(t, session)
		require.Error(t, f.server.VerifyLogin(t.Context(), Login{Name: second.Login, Role: role, Database: f.database, Password: lost}))
		requireFailure(t, f.issueAs(id, second.Revision, lost), failure.Retry, reasons.Superseded)
		requireFailure(t, f.server.InTransaction(t.Context(), id, "uid", func(ctx context.Context, tx Transaction) error {
			return tx.Stage(ctx, Staging{Revision: second.Revision, Verifier: f.verifier(lost), SessionPolicy: SessionsCompromised})
		}), failure.Retry, reasons.Superseded)
		f.closeLogins(id, second.Revision)
		requireEnded(t, session)
		require.False(t, f.observe(id).Open.QuietAt.IsZero())

		password := f.rotateEnding(id, second.Revision, SessionsCompromised)
		f.requireLogsIn(first.Login, role, password.Reveal())
		require.Empty(t, f.observe(id).FormerLogin)
		require.True(t, f.endSessions(id, second.Revision, false), "none is left of before")
		require.NoError(t, f.complete(t.Context(), id, "uid", second.Revision), "there is no other login to be retired")
	})
}

func TestTerminatedSessionsAreThoseOfBeforeTheRetirement(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.overlapping()
		first, former := f.overlap(id)
		f.finish(id, first.Revision)
		second, _ := f.issue(id)
		require.NoError(t, f.deliver(id, second.Revision, SessionsTerminated))
		require.False(t, f.endSessions(id, second.Revision, true))
		late := f.login(first.Login, former.Reveal())
		require.False(t, f.endSessions(id, second.Revision, true))
		requireAlive(t, late)
		require.NoError(t, f.server.Rolled(t.Context(), id, "uid", second.Revision))
		f.retire(id, second.Revision, 0, false)
		require.False(t, f.endSessions(id, second.Revision, true))
		requireEnded(t, late)
		requireFailure(t, f.complete(t.Context(), id, "uid", second.Revision), failure.Retry, reasons.Superseded)
		require.Equal(t, role, second.Login)
	})
}

// A session of the previous login can change the login's settings; that keeps neither the login open nor the session.
func TestSettingsOfThePreviousLoginDoNotKeepItOpen(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.overlapping()
		first, former := f.overlap(id)
		f.finish(id, first.Revision)
		session := f.login(first.Login, former.Reveal())
		_, err := session.Exec(t.Context(), "set role none")
		require.NoError(t, err)
		_, err = session.Exec(t.Context(), "alter role "+first.Login+" reset role")
		require.NoError(t, err)
		require.Contains(t, f.observe(id).SecondViolation, "does not act as "+role+" any more: SELECT tenant_credentials.prepare_overlap('"+role+"')")

		require.Error(t, f.issueAs(id, f.open(id, 2).Revision, credential.NewPassword()), "nothing goes to a login that is not prepared")
		f.exec("select tenant_credentials.prepare_overlap($1)", role)
		password := credential.NewPassword()
		require.NoError(t, f.issueAs(id, 2, password))
		_, err = session.Exec(t.Context(), "alter role "+first.Login+" reset role")
		require.NoError(t, err)
		f.exec("revoke " + role + " from " + first.Login) // which up to PostgreSQL 15 the tenant's role can do itself
		require.NoError(t, f.deliver(id, 2, SessionsKept))
		require.Equal(t, first.Login, f.observe(id).FormerLogin)
		f.finish(id, 2)
		f.requireClosed(first.Login)
		requireEnded(t, session)
		f.requireLogsIn(role, role, password.Reveal())
	})
}

// A tenant can lock its own role's row; that keeps no password from being changed, whichever of its logins does it.
func TestBlockersOfEitherLoginAreEnded(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.overlapping()
		first, former := f.overlap(id)
		f.finish(id, first.Revision)
		blocker := f.login(first.Login, former.Reveal())
		_, err := blocker.Exec(t.Context(), "begin; alter role "+role+" password 'held'")
		require.NoError(t, err)
		second, password := f.issue(id)
		requireEnded(t, blocker)
		f.requireLogsIn(second.Login, role, password.Reveal())
	})
}

func TestOperatorCannotPrepareOrCarryOver(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		_, role := f.adoptedTenant()
		operator, err := pgx.Connect(t.Context(), f.operatorURL())
		require.NoError(t, err)
		defer func() { _ = operator.Close(t.Context()) }()
		for _, call := range []string{"prepare_overlap('" + role + "')", "carry_over('" + role + "', '" + role + "')", "close_login('" + role + "')"} {
			_, err := operator.Exec(t.Context(), "select tenant_credentials."+call)
			require.ErrorContains(t, err, "permission denied", call)
		}
	})
}

// Every login that a rotation has given a password to is the tenant's, under any name: renamed with its role, it is reported while it can
// be used, no rotation is completed before it is closed, and after a compromise it is closed first.
func TestLoginsAreKnownByTheLedgerAndNotByName(t *testing.T) {
	for name, rotate := range map[string]func(t *testing.T, f *fixture, id string){
		"the next rotation": func(t *testing.T, f *fixture, id string) {
			issued, _ := f.overlap(id)
			requireFailure(t, f.complete(t.Context(), id, "uid", issued.Revision), failure.Retry, reasons.Superseded)
			f.finish(id, issued.Revision)
		},
		"a compromise": func(t *testing.T, f *fixture, id string) {
			revision := f.open(id, 1).Revision
			f.rotateEnding(id, revision, SessionsCompromised)
			require.NoError(t, f.complete(t.Context(), id, "uid", revision))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachVersion(t, func(t *testing.T, f *fixture) {
				id, role := f.overlapping()
				issued, password := f.overlap(id)
				f.finish(id, issued.Revision)
				stray := Login{Name: role + "_b", Role: role + "_b", Database: f.database, Password: password}

				renamed := role + "_acme"
				f.exec("alter role " + role + " rename to " + renamed)
				f.exec("alter role " + stray.Name + " reset role")
				f.exec("update management.tenants set db_role = $2 where id = $1", id, renamed)
				f.exec("alter role " + renamed + " login")
				f.prepareOverlap(renamed)
				t.Cleanup(func() {
					_, _ = f.dba.Exec(context.Background(), "drop owned by "+renamed+" cascade")
					_, _ = f.dba.Exec(context.Background(), "drop role "+stray.Name+", "+renamed)
				})
				require.NoError(t, f.server.VerifyLogin(t.Context(), stray))
				require.Equal(t, stray.Name, f.observe(id).FormerLogin)

				rotate(t, f, id)
				require.Empty(t, f.observe(id).FormerLogin)
				requireFailure(t, f.server.VerifyLogin(t.Context(), stray), failure.Retry, reasons.VerificationFailed)
				f.requireClosed(stray.Name)
			})
		})
	}
}
