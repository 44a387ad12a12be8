package fly

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Machines that Fly makes up, and tells the client to come back to in an hour, fill no memory.
func TestRatesOfMadeUpMachinesAreForgotten(t *testing.T) {
	l := newLimits()
	at := noon
	l.now = func() time.Time { return at }
	for i := range 2 * forgetAt {
		l.refused("lease machine", fmt.Sprint("m", i), time.Hour)
	}
	require.LessOrEqual(t, len(l.buckets), forgetAt)
}

// Notes about Machines are forgotten with them, and a list that is too short is no sign that they are gone.
func TestNotesOfMachinesThatAreGoneAreForgotten(t *testing.T) {
	c := open(t, "http://127.0.0.1:1")
	r := Rollout{App: App{Name: "a"}, Revision: 7}
	for i := range 10 {
		c.remember(r, fmt.Sprint("m", i))
	}
	left := []machine{made("m1", "stopped"), made("other", "stopped")}
	c.recall(left, r, false)
	require.True(t, left[0].wasRunning)
	require.Len(t, c.running["a"], 10)
	c.recall(left, r, true)
	require.True(t, left[0].wasRunning)
	require.False(t, left[1].wasRunning)
	require.Len(t, c.running["a"], 1)
	c.recall(nil, r, true)
	require.Empty(t, c.running)
}

// The baseline of an app is bounded: however many Machines are unwell, so many are noted, and the others count as well.
func TestTheBaselineIsBounded(t *testing.T) {
	c := open(t, "http://127.0.0.1:1")
	c.now = func() time.Time { return noon }
	machines := make([]machine, maxMachines)
	for i := range machines {
		machines[i] = made(fmt.Sprint("m", i), "started", checked("critical"), launched(time.Hour))
	}
	c.noteUnwell("a", machines)
	require.Len(t, c.unwell["a"], maxUnwell)
}

// A large app is read: 1,000 Machines of 20 KB each.
func TestALargeAppIsRead(t *testing.T) {
	one := `{"id":"m%d","state":"started","config":{"env":{"A":"` + strings.Repeat("x", 20<<10) + `"}}}`
	var list strings.Builder
	for i := range 1000 {
		list.WriteString([]string{"[", ","}[min(i, 1)])
		fmt.Fprintf(&list, one, i)
	}
	c := open(t, newFake(t, body(list.String()+"]")).URL)
	p, err := c.Probe(t.Context(), App{Name: "a", MachineCount: 1000}, "A")
	require.NoError(t, err)
	require.Equal(t, 1000, p.Total)
	require.Equal(t, "and 995 more of the kind", p.Warnings[maxWarnings])
}
