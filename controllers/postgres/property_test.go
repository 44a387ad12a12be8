package postgres

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// machine drives one tenant by random calls, next to a model of what the ledger has to hold.
type machine struct {
	f        *fixture
	operator *pgx.Conn
	id       string

	rows  []row // the model; the revision is the index plus 1
	claim struct {
		uid        string
		generation int64
	}
}

type row struct {
	state      string
	generation int64
}

func TestRandomCallsKeepToTheTransitions(t *testing.T) {
	checks := "25"
	if harness.Short() {
		checks = "5"
	}
	require.NoError(t, flag.Set("rapid.checks", checks))
	onEachVersion(t, func(t *testing.T, f *fixture) {
		operator, err := pgx.Connect(t.Context(), f.operatorURL())
		require.NoError(t, err)
		defer func() { _ = operator.Close(context.Background()) }()
		rapid.Check(t, func(r *rapid.T) {
			id, role := f.newTenant()
			f.prepareOverlap(role)
			m := &machine{f: f, operator: operator, id: id}
			r.Repeat(map[string]func(*rapid.T){
				"adopt": m.adopt, "open": m.open, "rotate": m.rotate, "issue": m.issue, "rolled": m.rolled, "retire": m.retire, "complete": m.complete, "discard": m.discard,
				"jumble": m.jumble, "": m.check,
			})
		})
	})
}

var uids = []string{"a", "b"}

func (m *machine) adopt(r *rapid.T) {
	a := adoptionOf(m.id, rapid.SampledFrom(uids).Draw(r, "uid"))
	a.ReplacesUID = rapid.SampledFrom([]string{"", "a", "b"}).Draw(r, "replaces")
	_, err := m.f.server.Adopt(m.f.t.Context(), a)
	switch m.claim.uid {
	case "":
		require.NoError(r, err)
		m.claim.uid = a.UID
	case a.UID:
		require.NoError(r, err)
	case a.ReplacesUID:
		require.NoError(r, err)
		m.claim.uid = a.UID
	default:
		require.EqualValues(r, reasons.OwnershipConflict, failure.ReasonOf(err))
	}
}

// holds says whether the model lets uid act; if not, err has to say so.
func (m *machine) holds(r *rapid.T, uid string, err error) bool {
	switch m.claim.uid {
	case uid:
		return true
	case "":
		require.EqualValues(r, reasons.Superseded, failure.ReasonOf(err))
	default:
		require.EqualValues(r, reasons.OwnershipConflict, failure.ReasonOf(err))
	}
	return false
}

func (m *machine) open(r *rapid.T) {
	uid, generation := rapid.SampledFrom(uids).Draw(r, "uid"), rapid.Int64Range(0, 4).Draw(r, "generation")
	newest := m.newest()
	after := max(0, newest-rapid.Int64Range(0, 1).Draw(r, "behind"))
	opened, err := m.f.server.OpenRotation(m.f.t.Context(), Opening{TenantID: m.id, UID: uid, Generation: generation, Cause: "r", StatedManager: "m", After: after})
	if !m.holds(r, uid, err) {
		return
	}
	if m.begun() == 0 && after != newest {
		require.EqualValues(r, reasons.Superseded, failure.ReasonOf(err), "opened by one who has not seen the newest rotation")
		return
	}
	require.NoError(r, err)
	made := m.begun() == 0
	switch {
	case !made:
	case len(m.rows) > 0 && m.rows[len(m.rows)-1].state == StateDiscarded:
		m.rows[len(m.rows)-1] = row{StateOpen, generation}
	default:
		m.rows = append(m.rows, row{StateOpen, generation})
	}
	require.Equal(r, m.begun(), opened.Revision)
	require.Equal(r, made, opened.Made)
}

func (m *machine) rotate(r *rapid.T) {
	uid, revision := rapid.SampledFrom(uids).Draw(r, "uid"), m.revision(r)
	givesUp := rapid.Bool().Draw(r, "gives up")
	gaveUp := errors.New("gave up")
	verifier := m.f.verifier(credential.NewPassword())
	err := m.f.server.InTransaction(m.f.t.Context(), m.id, uid, func(ctx context.Context, tx Transaction) error {
		if err := tx.Stage(ctx, Staging{Revision: revision, Verifier: verifier, LoginChecked: true}); err != nil {
			return err
		}
		if err := tx.Commit(ctx, FlyWrite{App: "a", Version: 1}); err != nil || !givesUp {
			return err
		}
		return gaveUp
	})
	if !m.holds(r, uid, err) {
		return
	}
	switch {
	case m.state(revision) == StateIssued:
		require.EqualValues(r, reasons.Superseded, failure.ReasonOf(err), "another password than the one that was issued")
	case m.state(revision) != StateOpen:
		require.EqualValues(r, reasons.Superseded, failure.ReasonOf(err))
	case givesUp:
		require.Equal(r, gaveUp, err)
	default:
		require.NoError(r, err)
		m.commit(revision)
	}
}

func (m *machine) commit(revision int64) {
	if older := m.committed(); older != 0 {
		m.rows[older-1].state = StateSuperseded
	}
	m.rows[revision-1].state = StateCommitted
}

// issue gives the idle login a password and, now and then, goes on with it to the commit.
func (m *machine) issue(r *rapid.T) {
	uid, revision := rapid.SampledFrom(uids).Draw(r, "uid"), m.revision(r)
	verifier := m.f.verifier(credential.NewPassword())
	before := m.f.observe(m.id)
	var issued Issued
	err := m.f.server.InTransaction(m.f.t.Context(), m.id, uid, func(ctx context.Context, tx Transaction) (err error) {
		issued, err = tx.Issue(ctx, revision, verifier)
		return err
	})
	if !m.holds(r, uid, err) {
		return
	}
	if m.state(revision) != StateOpen && m.state(revision) != StateIssued || m.find(StateCommitted) != 0 {
		require.EqualValues(r, reasons.Superseded, failure.ReasonOf(err))
		return
	}
	require.NoError(r, err)
	m.rows[revision-1].state = StateIssued
	require.NotEqual(r, before.Login, issued.Login, "the login in use was issued")
	if rapid.Bool().Draw(r, "delivers") {
		require.NoError(r, m.f.server.InTransaction(m.f.t.Context(), m.id, uid, func(ctx context.Context, tx Transaction) error {
			if err := tx.Stage(ctx, Staging{Revision: revision, Verifier: verifier, LoginChecked: true}); err != nil {
				return err
			}
			return tx.Commit(ctx, FlyWrite{App: "a", Version: 1})
		}))
		m.commit(revision)
		require.Equal(r, issued.Login, m.f.observe(m.id).Login)
	}
}

func (m *machine) rolled(r *rapid.T) {
	uid, revision := rapid.SampledFrom(uids).Draw(r, "uid"), m.revision(r)
	err := m.f.server.Rolled(m.f.t.Context(), m.id, uid, revision)
	if !m.holds(r, uid, err) {
		return
	}
	switch m.state(revision) {
	case StateCommitted, StateRolled:
		require.NoError(r, err)
		m.rows[revision-1].state = StateRolled
	default:
		require.EqualValues(r, reasons.Superseded, failure.ReasonOf(err))
	}
}

func (m *machine) retire(r *rapid.T) {
	uid, revision := rapid.SampledFrom(uids).Draw(r, "uid"), m.revision(r)
	_, err := m.f.server.Retire(m.f.t.Context(), m.id, uid, revision, Retirement{OnceIdle: true})
	if !m.holds(r, uid, err) {
		return
	}
	if m.state(revision) == StateRolled {
		require.NoError(r, err)
		require.Empty(r, m.f.observe(m.id).FormerLogin)
	} else {
		require.EqualValues(r, reasons.Superseded, failure.ReasonOf(err))
	}
}

func (m *machine) complete(r *rapid.T) {
	uid, revision := rapid.SampledFrom(uids).Draw(r, "uid"), m.revision(r)
	before := m.f.observe(m.id)
	err := m.f.complete(m.f.t.Context(), m.id, uid, revision)
	if !m.holds(r, uid, err) {
		return
	}
	switch m.state(revision) {
	case StateCompleted:
		require.NoError(r, err)
	case StateCommitted, StateRolled:
		if before.FormerLogin != "" || before.Last.LoginCheckedAt.IsZero() { // jumble commits without a login
			require.EqualValues(r, reasons.Superseded, failure.ReasonOf(err), "two logins at the end, or an unproved one")
			return
		}
		require.NoError(r, err)
		m.rows[revision-1].state = StateCompleted
		m.claim.generation = max(m.claim.generation, m.rows[revision-1].generation)
	default:
		require.EqualValues(r, reasons.Superseded, failure.ReasonOf(err))
	}
}

func (m *machine) discard(r *rapid.T) {
	uid, revision := rapid.SampledFrom(uids).Draw(r, "uid"), m.revision(r)
	err := m.f.server.Discard(m.f.t.Context(), m.id, uid, revision)
	if !m.holds(r, uid, err) {
		return
	}
	switch m.state(revision) {
	case StateDiscarded:
		require.NoError(r, err)
	case StateOpen, StateIssued:
		require.NoError(r, err)
		m.rows[revision-1].state = StateDiscarded
	default:
		require.EqualValues(r, reasons.Superseded, failure.ReasonOf(err))
	}
}

// jumble does what no caller does: the SQL functions in any order within one transaction, errors ignored. Its outcome is only
// held against the transition table, and then taken over into the model.
func (m *machine) jumble(r *rapid.T) {
	ctx := m.f.t.Context()
	before := m.rows
	tx, err := m.operator.Begin(ctx)
	require.NoError(r, err)
	for range rapid.IntRange(1, 6).Draw(r, "calls") {
		call := rapid.SampledFrom([]string{
			fmt.Sprintf("select tenant_credentials.open($1, 'a', $2, 'r', 'm', %d, 0)", m.newest()),
			"select from tenant_credentials.lock($1, 'a') where $2 > 0",
			"select tenant_credentials.stage($1, 'a', $2, '" + m.f.verifier(credential.NewPassword()) + "', null)",
			"select tenant_credentials.issue($1, 'a', $2, '" + m.f.verifier(credential.NewPassword()) + "')",
			"select tenant_credentials.commit($1, 'a', $2, null, null, null, null)",
			"select tenant_credentials.rolled($1, 'a', $2)",
			"select tenant_credentials.retire($1, 'a', $2, interval '0', true, false)",
			"select tenant_credentials.login_checked($1, 'a', $2)",
			"select tenant_credentials.complete($1, 'a', $2)",
			"select tenant_credentials.discard($1, 'a', $2)",
		}).Draw(r, "call")
		savepoint, err := tx.Begin(ctx)
		require.NoError(r, err)
		if _, err := savepoint.Exec(ctx, call, m.id, m.revision(r)); err != nil {
			require.NotContains(r, err.Error(), "does not exist", "not a call of the SQL API")
			require.NoError(r, savepoint.Rollback(ctx))
			continue
		}
		require.NoError(r, savepoint.Commit(ctx))
	}
	_ = tx.Commit(ctx) // a staged row makes it fail

	m.rows = m.read(r)
	require.GreaterOrEqual(r, len(m.rows), len(before))
	for i, after := range m.rows {
		from := stateNone
		if i < len(before) {
			from = before[i].state
			if from != StateDiscarded && !reachable(from, StateDiscarded) { // else it may have been begun again
				require.Equal(r, before[i].generation, after.generation)
			}
		}
		require.True(r, reachable(from, after.state), "%q to %q", from, after.state)
	}
	if m.claim.uid != "" {
		m.claim.generation = m.f.observe(m.id).Claim.Generation
	}
}

// reachable says whether one or more transitions lead from a state to another, or none is needed.
func reachable(from, to string, passed ...string) bool {
	if from == to {
		return true
	}
	for _, t := range transitions {
		if t.from == from && !slices.Contains(passed, t.to) && reachable(t.to, to, append(passed, from)...) {
			return true
		}
	}
	return false
}

// check compares the ledger with the model, and role with hash with ledger.
func (m *machine) check(r *rapid.T) {
	require.Equal(r, m.rows, m.read(r))
	unfinished := map[string]int{}
	for _, row := range m.rows {
		unfinished[row.state]++
	}
	require.LessOrEqual(r, unfinished[StateOpen]+unfinished[StateIssued], 1)
	require.LessOrEqual(r, unfinished[StateCommitted]+unfinished[StateRolled], 1)
	require.Zero(r, unfinished[StateStaged])

	tenant := m.f.observe(m.id)
	require.Equal(r, tenant.VerifierDigest, tenant.HashDigest)
	if tenant.Claim == nil {
		require.Empty(r, m.claim.uid)
		return
	}
	require.Equal(r, m.claim.uid, tenant.Claim.UID)
	require.Equal(r, m.claim.generation, tenant.Claim.Generation)
	if tenant.Last != nil {
		require.Equal(r, tenant.Last.VerifierDigest, tenant.VerifierDigest, "the active login has what was committed last")
		require.Equal(r, tenant.Last.Login, tenant.Login)
		if tenant.Last.State == StateCompleted && tenant.Open == nil {
			require.Empty(r, tenant.FormerLogin, "two logins at rest")
		}
	}
}

func (m *machine) read(r *rapid.T) []row {
	result, err := m.f.dba.Query(m.f.t.Context(), "select state, generation from tenant_credentials.rotations where tenant_id = $1 order by revision", m.id)
	require.NoError(r, err)
	var rows []row
	for result.Next() {
		var next row
		require.NoError(r, result.Scan(&next.state, &next.generation))
		rows = append(rows, next)
	}
	require.NoError(r, result.Err())
	return rows
}

func (m *machine) revision(r *rapid.T) int64 {
	return rapid.Int64Range(max(1, int64(len(m.rows))-2), int64(len(m.rows))+1).Draw(r, "revision")
}

func (m *machine) state(revision int64) string {
	if revision > int64(len(m.rows)) {
		return stateNone
	}
	return m.rows[revision-1].state
}

// begun is the revision that is not committed yet, committed the one that is not completed; 0 = none.
func (m *machine) begun() int64     { return max(m.find(StateOpen), m.find(StateIssued)) }
func (m *machine) committed() int64 { return max(m.find(StateCommitted), m.find(StateRolled)) }

// newest is the highest revision that is committed or completed, 0 where none is.
func (m *machine) newest() int64 {
	for i, row := range slices.Backward(m.rows) {
		if row.state == StateCommitted || row.state == StateRolled || row.state == StateCompleted {
			return int64(i + 1)
		}
	}
	return 0
}

// find returns the revision in a state, 0 = none.
func (m *machine) find(state string) int64 {
	for i, row := range m.rows {
		if row.state == state {
			return int64(i + 1)
		}
	}
	return 0
}
