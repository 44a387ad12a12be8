package faultmatrix

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// trial is one rotation that something happens to, from the look at what is so before to the judgement.
type trial struct {
	lane    *lane
	tenant  platform.Tenant
	site    *site
	next    int64 // the generation that is asked for
	before  *checker.Snapshot
	changes changes
	witness *witness
	request string // more of the spec, with which the rotation is asked for
	overlap bool
	refused bool      // logins of the app were, because the server was down
	failed  int       // logins of the app, at any time before
	thief   *pgx.Conn // a session that was opened with the previous password; nil = there is none
	// void counts the hashes that the platform's own server stored and no rotation brought into force; more than one count = any of them.
	void []int
}

// begin has a trial of the lane's tenant.
func (l *lane) begin(t *testing.T, overlap bool) *trial {
	t.Helper()
	return l.beginAt(t, &site{config: l.config, abandon: func() { l.abandon(t, overlap) }}, l.use(t, overlap), overlap)
}

// beginAt records the state, and watches from now on. After any failure the lane is good for another trial.
func (l *lane) beginAt(t *testing.T, at *site, x platform.Tenant, overlap bool) *trial {
	t.Helper()
	before, err := checker.Take(t.Context(), at.config)
	require.NoError(t, err)
	object := l.get(t, x)
	generation, _, _ := unstructured.NestedInt64(object.Object, "spec", "rotationGeneration")
	tr := &trial{lane: l, tenant: x, site: at, next: generation + 1, before: before, changes: changesOf(t, x),
		witness: l.watch(t, at, x, object.GetGeneration()+1), overlap: overlap, failed: failedLogins(t, x), void: []int{0}}
	t.Cleanup(func() {
		if t.Failed() {
			l.explain(t, x)
			at.abandon()
		}
		l.rules.Set(nil)
		tr.witness.end()
		l.mend(t)
	})
	return tr
}

// failedLogins counts those of all processes that the app's Machines have ever run.
func failedLogins(t *testing.T, x platform.Tenant) (failed int) {
	t.Helper()
	var app struct {
		Machines []struct {
			Total struct{ Failures int } `json:"app_total"`
		}
	}
	platform.Admin(t, http.MethodGet, "/admin/apps/"+x.App(), "", &app)
	for _, m := range app.Machines {
		failed += m.Total.Failures
	}
	return failed
}

// raise asks for the rotation, whose calls choose judges.
func (tr *trial) raise(t *testing.T, choose func(faultproxy.Call, []faultproxy.Call) faultproxy.Fault) {
	t.Helper()
	tr.lane.rules.Set(choose)
	tr.lane.patch(t, tr.tenant, fmt.Sprintf(`{"spec":{"rotationGeneration":%d,"suspend":false%s}}`, tr.next, tr.request))
}

// compromise has an intruder use the present password, and the rotation be asked for because of that.
func (tr *trial) compromise(t *testing.T) {
	t.Helper()
	var err error
	tr.thief, err = pgx.Connect(t.Context(), tr.tenant.URL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tr.thief.Close(context.Background()) })
	revision := tr.tenant.Get().Status.Revision
	tr.request = fmt.Sprintf(`,"rotationRequest":{"replacesRevision":%d,"compromised":true}`, revision)
}

// finish asks the witness and the checker, and that nothing is left over. So many rotations were due.
func (tr *trial) finish(t *testing.T, due int) {
	t.Helper()
	l, x := tr.lane, tr.tenant
	require.Empty(t, tr.witness.end(), "seen meanwhile")
	if tr.overlap && !tr.refused {
		require.Equal(t, tr.failed, failedLogins(t, x), "a login of the app was refused")
	}
	require.Empty(t, leased(t, x), "a lease at Fly is left")
	if tr.thief != nil {
		_, err := tr.thief.Exec(t.Context(), "SELECT")
		require.Error(t, err, "a session that was opened with the previous password is left")
	}
	require.Empty(t, l.get(t, x).GetFinalizers())
	var found []checker.Violation
	for _, violation := range checker.Check(t.Context(), tr.site.config, tr.before, map[string]int{x.ID: due}) {
		if strings.Contains(violation.Tenant, x.ID) || violation.Tenant == "" {
			found = append(found, violation)
		}
	}
	require.Empty(t, found)
	requireNothingOpen(t, x)
	after := changesOf(t, x)
	require.Contains(t, tr.void, after.hashes-tr.changes.hashes-(after.rows-tr.changes.rows), "so much oftener was the stored hash changed than the ledger has rotations")
}

func requireNothingOpen(t *testing.T, x platform.Tenant) {
	t.Helper()
	c := x.Environment().Connect(t)
	defer c.Close(context.Background())
	within(t, 5*time.Second, "no transaction of the operator is left open", func() bool {
		var open int
		require.NoError(t, c.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE usename = 'tcred_operator' AND state LIKE 'idle in transaction%'").Scan(&open))
		return open == 0
	})
}
