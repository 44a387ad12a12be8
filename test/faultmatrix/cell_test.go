package faultmatrix

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// patience is how long a tenant may take to be Ready after a fault: a lease at Fly that a dead manager has left runs for 60 s.
const patience = 100 * time.Second

// cell is one square of the matrix.
type cell struct {
	step  step
	fault fault
}

func (c cell) name() string { return c.step.name + ": " + c.fault.name }

// exists says whether there is such a thing; the fault says why not.
func (c cell) exists() bool {
	if c.step.inside != nil {
		return c.fault.inServer != nil
	}
	return c.fault.onWire != nil
}

// suspends: where the process dies after the attempt was begun, a user suspends the object before it is back. The attempt is
// finished all the same, as an app may be deployed with the value at Fly.
func (c cell) suspends() bool {
	return c.fault.dies && (c.step.begun || strings.HasSuffix(c.step.name, "open") && c.fault.name == "process dies after it")
}

// run has the fault happen to one rotation, and judges what became of it.
func (c cell) run(t *testing.T, l *lane) { c.strike(t, l, nil) }

// strike is run with what has to be done after the fault; nil = nothing.
func (c cell) strike(t *testing.T, l *lane, after func(*trial, *testing.T)) {
	tr := c.begin(t, l)
	if c.fault.deposes {
		l.standby.start(t)
	}
	if c.step.compromised {
		tr.compromise(t)
	}
	i := newIncident(l, c.step, c.fault, tr.tenant)
	i.site = tr.site
	tr.raise(t, i.choose)
	select {
	case <-i.over:
	case <-time.After(patience):
		require.Fail(t, "the step never came")
	}
	require.NoError(t, i.trouble)
	if after != nil {
		after(tr, t)
	}
	c.recover(t, l, tr.tenant)
	l.awaitReady(t, tr.tenant, !c.fault.deposes && c.name() != "roll out: lease: process dies after it")
	if c.leavesLease() {
		expireLeases(t, tr.tenant)
	}
	tr.finish(t, 1)
}

// begin has a trial of the lane's tenant, or of one whose row is on another server.
func (c cell) begin(t *testing.T, l *lane) *trial {
	t.Helper()
	if !c.step.elsewhere {
		return l.begin(t, c.step.overlap)
	}
	tr := l.beginElsewhere(t, c.step.overlap)
	switch {
	case c.fault.voids:
		tr.void = []int{1}
	case c.fault.deposes: // the deposed leader may give its COMMIT up before the platform's server does its own
		tr.void = []int{0, 1}
	}
	return tr
}

// leavesLease says that a manager may have ended while it held the lease of a Machine that was updated already. Only that manager had the
// nonce, and no other one asks for the lease of an updated Machine, so the lease stays until it runs out. A deposed leader goes on until it
// notices, and so can end anywhere.
func (c cell) leavesLease() bool {
	if c.fault.deposes {
		return true
	}
	switch c.step.name {
	case "roll out: update", "overlap: update":
		return c.fault.name == "process dies after it"
	case "release: name":
		return c.fault.dies
	default:
		return c.step.name == "roll out: release"
	}
}

// recover brings a manager back, as a Deployment does.
func (c cell) recover(t *testing.T, l *lane, x platform.Tenant) {
	t.Helper()
	switch {
	case c.fault.dies:
		if c.suspends() {
			l.patch(t, x, `{"spec":{"suspend":true}}`)
		}
		l.deleteLease(t)
		l.leader.start(t)
	case c.fault.deposes:
		l.succeed(t)
	}
}

// succeed makes the one that stood by the leader, once the previous one has ended itself, as it has lost its lease.
func (l *lane) succeed(t *testing.T) {
	t.Helper()
	l.leader.awaitEnd(t)
	l.leader.network.Mend()
	l.leader, l.standby = l.standby, l.leader
}

// mend has one manager lead, and none stand by.
func (l *lane) mend(t *testing.T) {
	l.standby.kill()
	l.standby.network.Mend()
	l.leader.network.Mend()
	if t.Failed() {
		l.leader.kill()
		l.deleteLease(t)
		l.leader.start(t)
	}
}

func (l *lane) get(t *testing.T, x platform.Tenant) *unstructured.Unstructured {
	t.Helper()
	object, err := l.objects.Get(t.Context(), x.Name, metav1.GetOptions{})
	require.NoError(t, err)
	return object
}

func (l *lane) patch(t *testing.T, x platform.Tenant, patch string) {
	t.Helper()
	_, err := l.objects.Patch(t.Context(), x.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
}

// awaitReady waits until the object is ready for what is asked for. A lease at Fly whose holder is gone runs out after
// 60 s; once the operator has said that it waits for it, lapse lets that time pass at Fly.
func (l *lane) awaitReady(t *testing.T, x platform.Tenant, lapse bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) { // as kubectl wait would say less
		object := l.get(t, x)
		if ready(object) {
			return
		}
		last := message(object)
		require.True(t, time.Now().Before(deadline), "not Ready after %s:\n%s", patience, last)
		if lapse && strings.Contains(last, "holds the lease") {
			expireLeases(t, x)
		}
	}
}

func expireLeases(t *testing.T, x platform.Tenant) {
	t.Helper()
	for id := range leased(t, x) {
		platform.Admin(t, http.MethodPost, "/admin/apps/"+x.App()+"/machines/"+id+"/lease", `{"owner":"gone","ttl":0}`, nil)
	}
}

func leased(t *testing.T, x platform.Tenant) map[string]bool {
	t.Helper()
	var app struct {
		Machines []struct {
			ID     string
			Leased bool
		}
	}
	platform.Admin(t, http.MethodGet, "/admin/apps/"+x.App(), "", &app)
	held := map[string]bool{}
	for _, m := range app.Machines {
		if m.Leased {
			held[m.ID] = true
		}
	}
	return held
}

// changes counts the hashes that were ever stored for the tenant, and the rotations that the ledger has committed.
type changes struct{ hashes, rows int }

func changesOf(t *testing.T, x platform.Tenant) (c changes) {
	t.Helper()
	connection := x.Environment().Connect(t)
	defer connection.Close(context.Background())
	require.NoError(t, connection.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM faults.hashes WHERE tenant_id = $1),
		(SELECT count(*) FROM tenant_credentials.rotations WHERE tenant_id = $1 AND committed_at IS NOT NULL)`, x.ID).Scan(&c.hashes, &c.rows))
	return c
}

// explain says what is known of a failed cell.
func (l *lane) explain(t *testing.T, x platform.Tenant) {
	calls, _ := l.rules.Calls()
	var names []string
	for _, call := range calls {
		names = append(names, call.Name)
	}
	t.Log("calls: ", strings.Join(names, ", "))
	t.Log(x.Describe())
	t.Log(tail(l.leader.log, 25))
	t.Log(tail(l.standby.log, 15))
	connection, err := pgx.Connect(context.Background(), x.Environment().URL)
	if err != nil {
		t.Log(err)
		return
	}
	defer connection.Close(context.Background())
	rows, err := connection.Query(context.Background(), "SELECT concat_ws(' ', revision, state, generation, cause, opened_at, committed_at, completed_at) FROM tenant_credentials.rotations WHERE tenant_id = $1 ORDER BY revision DESC LIMIT 4", x.ID)
	if err != nil {
		return
	}
	defer rows.Close()
	for rows.Next() {
		var row string
		if rows.Scan(&row) == nil {
			t.Log(row)
		}
	}
}
