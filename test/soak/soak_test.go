package soak

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

const (
	soakTenants = 200
	// quietBound is how long after the last fault every object may take to be Ready: an attempt that failed often is made again after two
	// minutes and a half at the latest, a lease that a killed process left on a Machine ends after one, and the machine may be busy.
	quietBound = 10 * time.Minute
)

// figures are what a run prints and leaves in bin/soak.json.
type figures struct {
	Seed                 uint64         `json:"seed"`
	Duration             string         `json:"duration"`
	Tenants              int            `json:"tenants"`
	Asked                int            `json:"rotationsAskedFor"`
	Committed            int            `json:"rotationsCommitted"`
	Completed            int            `json:"rotationsCompleted"`
	Superseded           int            `json:"rotationsSuperseded"`
	Kills                int            `json:"managerKills"`
	Starts               int            `json:"managerStarts"`
	Exits                int            `json:"managerExits"`
	Steps                map[string]int `json:"steps"`
	FaultyRequests       int            `json:"requestsWithAFault"`
	PasswordsProbed      int            `json:"passwordsProbed"`
	StatusesProbed       int            `json:"readyStatusesProbed"`
	RecoveryFromFirst    percentiles    `json:"secondsFromFirstFaultEndToReady"`
	RecoveryFromLast     percentiles    `json:"secondsFromLastFaultEndToReady"`
	QuietSecondsAllReady float64        `json:"secondsOfQuietUntilAllReady"`
	Violations           []string       `json:"violations"`
}

// TestSoak drives 200 tenants through everything that can go wrong, for DURATION, as SEED has it; then it is quiet, and everything has to
// be as it was asked for.
func TestSoak(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("make soak runs it")
	}
	duration, err := time.ParseDuration(cmp.Or(os.Getenv("DURATION"), "10m"))
	require.NoError(t, err)
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("SEED"), strconv.Itoa(rand.IntN(1_000_000))), 10, 64)
	require.NoError(t, err)
	fmt.Printf("soak: SEED=%d DURATION=%s (the same two numbers replay the plan)\n", seed, duration)

	p := newPlan(seed, soakTenants, duration)
	log, r := p.write(t), newRecovery(len(p.tenants))
	s := startFleet(t, p.tenants, 32, r.see)
	s.shortenLogins(t)
	watching := &probes{system: s.system, tenants: p.tenants}
	s.meanwhile(func(ctx context.Context) { watching.run(ctx, watching.password) })
	s.meanwhile(func(ctx context.Context) { watching.run(ctx, watching.status) })
	acts := &performance{system: s.system, plan: p, managers: s.managers, recovery: r, log: log, began: time.Now(), done: map[string]int{}}
	acts.perform(s.ctx)
	require.Empty(t, acts.errors, "a step could not be carried out")

	require.NoError(t, s.adminCall(t.Context(), http.MethodDelete, "/admin/faults", nil, nil))
	fmt.Println("soak: quiet")
	f := &figures{Seed: seed, Duration: duration.String(), Tenants: len(p.tenants)}
	f.QuietSecondsAllReady = s.all.awaitSettled(t, len(p.tenants), quietBound).Round(100 * time.Millisecond).Seconds()
	s.rest()

	f.gather(t, s.system, acts, watching)
	f.Violations = append(f.Violations, watching.violations...)
	f.Violations = append(f.Violations, panics(t)...)
	fmt.Println("soak: all are Ready; the checker looks")
	for _, v := range checker.CheckServed(t.Context(), s.config, s.before, p.raised()) {
		f.Violations = append(f.Violations, v.String())
	}
	leave(t, "soak.json", f)
	require.Empty(t, f.Violations)
}

// write writes the plan into bin/, and leaves the file open for what happens.
func (p *plan) write(t *testing.T) *os.File {
	t.Helper()
	path := filepath.Join(harness.Repository, "bin", fmt.Sprintf("soak-%d.log", p.seed))
	log, err := os.Create(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	for i, x := range p.tenants {
		fmt.Fprintf(log, "tenant %03d is %s, Machines %v\n", i, x.id, x.machines)
	}
	steps := 0
	for _, lane := range lanes {
		fmt.Fprintf(log, "\nlane %s\n", lane)
		for _, s := range p.lanes[lane] {
			fmt.Fprintln(log, s)
			steps++
		}
	}
	fmt.Fprint(log, "\nwhat happened\n")
	fmt.Printf("soak: %d steps are planned; the plan and what happens are in bin/%s\n", steps, filepath.Base(path))
	return log
}

// raised has for each tenant how often the plan asks for a rotation.
func (p *plan) raised() map[string]int {
	raised := map[string]int{}
	for _, x := range p.tenants {
		raised[x.id] = x.raises
	}
	return raised
}

// gather counts what was done.
func (f *figures) gather(t *testing.T, s *system, p *performance, watching *probes) {
	t.Helper()
	f.Steps, f.Starts, f.Exits = p.done, p.managers.starts, p.managers.exits
	f.Kills = p.done[doKill] + p.done[doKillLease] + p.done[doSecondEnd]
	f.PasswordsProbed, f.StatusesProbed = watching.passwords, watching.statuses
	f.RecoveryFromFirst, f.RecoveryFromLast = p.recovery.summaries()
	for _, x := range p.plan.tenants {
		f.Asked += x.raises
	}
	connection, err := s.connect(t.Context())
	require.NoError(t, err)
	defer connection.Close(t.Context())
	require.NoError(t, connection.QueryRow(t.Context(), `SELECT count(committed_at), count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE state = 'superseded')
		FROM tenant_credentials.rotations`).Scan(&f.Committed, &f.Completed, &f.Superseded))
	var requests []struct{ Fault string }
	require.NoError(t, s.adminCall(t.Context(), http.MethodGet, "/admin/requests", nil, &requests))
	for _, r := range requests {
		if r.Fault != "" {
			f.FaultyRequests++
		}
	}
}

// panics are those that the managers' logs show.
func panics(t *testing.T) []string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(os.Getenv("PLAYGROUND_LOG_DIR"), "manager*.log"))
	require.NoError(t, err)
	var found []string
	for _, path := range logs {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		for line := range bytes.Lines(content) {
			if bytes.Contains(line, []byte("panic")) {
				found = append(found, filepath.Base(path)+": "+strings.TrimSpace(string(line[:min(len(line), 300)])))
			}
		}
	}
	return found
}

// leave prints the figures of a run, and leaves them in bin/.
func leave(t *testing.T, name string, figures any) {
	t.Helper()
	content, err := json.MarshalIndent(figures, "", "  ")
	require.NoError(t, err)
	fmt.Println(string(content))
	require.NoError(t, os.WriteFile(filepath.Join(harness.Repository, "bin", name), append(content, '\n'), 0o600))
}
