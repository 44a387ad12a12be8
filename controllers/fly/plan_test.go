package fly

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
)

var (
	noon   = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	target = Rollout{App: App{Name: "a"}, Variable: "DATABASE_URL", Revision: 7, SecretVersion: 1<<53 + 1}
)

// made builds a Machine in a state; the options shape it.
func made(id, state string, options ...func(*machine)) machine {
	m := machine{ID: id, State: state, InstanceID: "i-" + id, HostStatus: "ok", configured: true}
	m.UpdatedAt = noon.Add(-time.Hour).Format(time.RFC3339)
	for _, option := range options {
		option(&m)
	}
	return m
}

func group(name string) func(*machine) {
	return func(m *machine) { m.settings.group = name }
}

func moved(flags ...string) func(*machine) {
	return func(m *machine) {
		text := mark{revision: target.Revision, secretsVersion: target.SecretVersion, machine: m.ID}.String()
		for _, flag := range flags {
			text += ";" + flag
		}
		m.settings.mark = parseMark(text)
	}
}

func checked(status string) func(*machine) {
	return func(m *machine) {
		m.settings.checked, m.settings.grace = true, 30*time.Second
		if status != "" {
			m.Checks = []check{{"health", status}}
		}
	}
}

func happened(kind, status string, ago time.Duration, end *exit) func(*machine) {
	return func(m *machine) {
		e := event{Type: kind, Status: status, Timestamp: noon.Add(-ago).UnixMilli()}
		e.Request.ExitEvent = end
		m.Events = append(m.Events, e)
	}
}

func launched(ago time.Duration) func(*machine) {
	return func(m *machine) {
		happened("update", "replacing", ago, nil)(m)
		happened("start", "started", ago, nil)(m)
	}
}

func startedMachines(groupName string, ids ...string) []machine {
	machines := make([]machine, len(ids))
	for i, id := range ids {
		machines[i] = made(id, "started", group(groupName))
	}
	return machines
}

func leased(until time.Time) func(*machine) {
	return func(m *machine) { m.Lease = &lease{ExpiresAt: until.Unix()} }
}

func TestPlan(t *testing.T) {
	crash := &exit{ExitCode: 1}
	tests := map[string]struct {
		machines []machine
		next     string // IDs, "" = none
		launch   bool   // the first of them
		mark     string // its mark, beyond revision, version and ID
		want     Progress
		waiting  string // part of it
		halted   []string
	}{
		"no Machines: done": {},
		"the first by group, then ID": {
			machines: []machine{made("3", "started", group("web")), made("2", "started", group("web")), made("9", "started", group("app"))},
			next:     "9", launch: true, want: Progress{Total: 3}, waiting: "Machine 9 (app) is the next",
		},
		"a stopped one is not started": {
			machines: []machine{made("1", "stopped")},
			next:     "1", launch: false, mark: ";on-next-start", want: Progress{Total: 1}, waiting: "next",
		},
		"a suspended one is not started": {
			machines: []machine{made("1", "suspended")},
			next:     "1", launch: false, mark: ";on-next-start", want: Progress{Total: 1}, waiting: "next",
		},
		"one that an update left stopped is started again": {
			machines: []machine{made("1", "stopped", func(m *machine) { m.wasRunning = true })},
			next:     "1", launch: true, want: Progress{Total: 1}, waiting: "next",
		},
		"all moved: done": {
			machines: []machine{made("1", "started", moved(), checked("passing")), made("2", "stopped", moved("on-next-start"))},
			want:     Progress{Total: 2, Updated: 1, OnNextStart: 1},
		},
		"the same revision with another secrets version has not moved": {
			machines: []machine{made("1", "started", func(m *machine) { m.settings.mark = parseMark("7;secrets-version=3;machine=1") })},
			next:     "1", launch: true, want: Progress{Total: 1}, waiting: "next",
		},
		"a clone of one that has moved has not moved: it may have started with an older secret": {
			machines: []machine{made("1", "started", func(m *machine) { moved()(m); m.ID = "2" })},
			next:     "2", launch: true, want: Progress{Total: 1}, waiting: "next",
		},
		"once the first is well, a third of its group and the first of each other group": {
			machines: slices.Concat([]machine{made("1", "started", group("app"), moved(), launched(time.Minute))},
				startedMachines("app", "2", "3", "4", "5", "6"), startedMachines("web", "7", "8", "9")),
			next: "2 3 7", launch: true, want: Progress{Total: 9, Updated: 1}, waiting: "Machine 2 (app) is the next",
		},
		"those that are coming up count": {
			machines: slices.Concat([]machine{made("1", "started", group("app"), moved(), launched(time.Minute)),
				made("2", "started", group("app"), moved(), launched(time.Second))},
				startedMachines("app", "3", "4", "5", "6"), startedMachines("web", "7", "8", "9")),
			next: "3 7", launch: true, want: Progress{Total: 9, Updated: 1}, waiting: "next",
		},
		"of two Machines one has to serve": {
			machines: slices.Concat([]machine{made("1", "started", moved(), launched(time.Second))}, startedMachines("", "2")),
			want:     Progress{Total: 2}, waiting: "Machine 1 has been updated",
		},
		"one that does not run proves nothing, and comes last": {
			machines: []machine{made("1", "stopped"), made("2", "started"), made("3", "stopped", moved("on-next-start"))},
			next:     "2", launch: true, want: Progress{Total: 3, OnNextStart: 1}, waiting: "next",
		},
		"one that was unhealthy before proves nothing": {
			machines: slices.Concat([]machine{made("1", "started", moved("unhealthy-before"), checked("critical"), launched(5*time.Minute))},
				startedMachines("", "2", "3", "4", "5", "6")),
			next: "2", launch: true, waiting: "next",
			want: Progress{Total: 6, Updated: 1, Warnings: []string{
				"Machine 1 was unhealthy before the update and still is: check health is critical"}},
		},
		"a Machine that is unwell halts all groups": {
			machines: slices.Concat([]machine{made("1", "started", group("app"), moved(), launched(time.Minute)),
				made("2", "started", group("app"), moved(), checked("critical"), launched(5*time.Minute))}, startedMachines("web", "7", "8", "9")),
			want: Progress{Total: 5, Updated: 1, Failed: 1}, halted: []string{"Machine 2"},
		},
		"destroyed, release command and console Machines do not belong to it": {
			machines: []machine{
				made("1", "destroyed"), made("2", "destroying"), made("3", "started", group("fly_app_release_command")),
				made("4", "started", group("fly_app_console")),
			},
		},
		"the second waits for the checks of the first": {
			machines: []machine{made("1", "started", moved(), checked("critical"), launched(20*time.Second)), made("2", "started")},
			want:     Progress{Total: 2}, waiting: "check health is critical",
		},
		"the second waits for results of the first's checks": {
			machines: []machine{made("1", "started", moved(), checked(""), launched(20*time.Second)), made("2", "started")},
			want:     Progress{Total: 2}, waiting: "no result",
		},
		"without checks the first has to run for a while": {
			machines: []machine{made("1", "started", moved(), launched(2*time.Second)), made("2", "started")},
			want:     Progress{Total: 2}, waiting: "only just started",
		},
		"then the second moves": {
			machines: []machine{made("1", "started", moved(), launched(12*time.Second)), made("2", "started")},
			next:     "2", launch: true, want: Progress{Total: 2, Updated: 1}, waiting: "next",
		},
		"a replacing one is waited for": {
			machines: []machine{made("1", "replacing", moved(), happened("update", "replacing", time.Second, nil)), made("2", "started")},
			want:     Progress{Total: 2}, waiting: "it is replacing",
		},
		"checks that newly fail halt it": {
			machines: []machine{made("1", "started", moved(), checked("critical"), launched(2*time.Minute)), made("2", "started")},
			want:     Progress{Total: 2, Failed: 1}, halted: []string{"Machine 1", "check health is critical"},
		},
		"a crash loop halts it": {
			machines: []machine{
				made("1", "started", moved(), launched(20*time.Second), happened("exit", "stopped", 5*time.Second, crash)), made("2", "started"),
			},
			want: Progress{Total: 2, Failed: 1}, halted: []string{"Machine 1", "exited with code 1"},
		},
		"a crash loop that ended in a stop halts it": {
			machines: []machine{
				made("1", "stopped", moved(), launched(time.Hour), happened("exit", "stopped", 50*time.Minute, crash)), made("2", "started"),
			},
			want: Progress{Total: 2, Failed: 1}, halted: []string{"Machine 1"},
		},
		"a loop of exits with 0 halts it": {
			machines: []machine{
				made("1", "starting", moved(), launched(20*time.Second), happened("exit", "stopped", time.Second, &exit{})), made("2", "started"),
			},
			want: Progress{Total: 2, Failed: 1}, halted: []string{"Machine 1"},
		},
		"a crash of before the update says nothing": {
			machines: []machine{made("1", "started", moved(), launched(20*time.Second), happened("exit", "stopped", time.Minute, crash))},
			want:     Progress{Total: 1, Updated: 1},
		},
		"it goes on when the Machine has healed": {
			machines: []machine{
				made("1", "started", moved(), launched(time.Hour), happened("exit", "stopped", 10*time.Minute, crash),
					happened("start", "started", 9*time.Minute, nil)),
				made("2", "started"),
			},
			next: "2", launch: true, want: Progress{Total: 2, Updated: 1}, waiting: "next",
		},
		"one that was unhealthy before does not halt it": {
			machines: []machine{
				made("1", "started", moved("unhealthy-before"), checked("critical"), launched(5*time.Minute)), made("2", "started"),
			},
			next: "2", launch: true, waiting: "next",
			want: Progress{Total: 2, Updated: 1, Warnings: []string{
				"Machine 1 was unhealthy before the update and still is: check health is critical"}},
		},
		"how it was before goes into the mark": {
			machines: []machine{made("1", "started", func(m *machine) { m.wasUnwell = true })},
			next:     "1", launch: true, mark: ";unhealthy-before", want: Progress{Total: 1}, waiting: "next",
		},
		"stopped by the proxy after it came up": {
			machines: []machine{
				made("1", "stopped", moved(), launched(time.Hour), happened("exit", "stopped", time.Minute, &exit{RequestedStop: true})),
			},
			want: Progress{Total: 1, Updated: 1},
		},
		"stuck on its way up": {
			machines: []machine{made("1", "starting", moved(), happened("update", "replacing", 6*time.Minute, nil))},
			want:     Progress{Total: 1, Failed: 1}, halted: []string{"Machine 1", "starting"},
		},
		"started by another client after the update, and it crashes": {
			machines: []machine{
				made("1", "started", moved("on-next-start"), launched(time.Hour), happened("exit", "stopped", time.Second, crash)),
			},
			want: Progress{Total: 1, Failed: 1}, halted: []string{"Machine 1"},
		},
		"a lease of another client: the others are updated meanwhile": {
			machines: []machine{made("1", "started", leased(noon.Add(time.Second))), made("2", "started")},
			next:     "2", launch: true, want: Progress{Total: 2}, waiting: "next",
		},
		"a lease of another client is waited for": {
			machines: []machine{made("1", "started", leased(noon.Add(time.Second)))},
			want:     Progress{Total: 1, Reason: reasons.LeaseHeld}, waiting: "lease of Machine 1",
		},
		"a lease that ran out is none": {
			machines: []machine{made("1", "started", leased(noon))},
			next:     "1", launch: true, want: Progress{Total: 1}, waiting: "next",
		},
		"no config": {
			machines: []machine{made("1", "started", func(m *machine) { m.configured = false })},
			want:     Progress{Total: 1, Reason: reasons.HostUnreachable}, waiting: "host of Machine 1 cannot be reached",
		},
		"host unreachable": {
			machines: []machine{made("1", "started", func(m *machine) { m.HostStatus = "unreachable" })},
			want:     Progress{Total: 1, Reason: reasons.HostUnreachable}, waiting: "host of Machine 1 cannot be reached",
		},
		"on its way down": {
			machines: []machine{made("1", "stopping")}, want: Progress{Total: 1}, waiting: "Machine 1 is stopping",
		},
		"stopped a moment ago by a crash: Fly may start it again": {
			machines: []machine{made("1", "stopped", happened("exit", "stopped", time.Second, crash))},
			want:     Progress{Total: 1}, waiting: "just exited",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, next := plan(test.machines, target, noon)
			var ids []string
			for _, move := range next {
				ids = append(ids, move.machine.ID)
			}
			require.Equal(t, test.next, strings.Join(ids, " "))
			if len(next) > 0 {
				require.Equal(t, test.launch, next[0].launch)
				require.Equal(t, fmt.Sprintf("7;secrets-version=%d;machine=%s%s", target.SecretVersion, ids[0], test.mark), next[0].mark.String())
			}
			for _, part := range test.halted {
				require.Contains(t, p.Halted, part)
			}
			require.Contains(t, p.Waiting, test.waiting)
			require.Equal(t, test.waiting == "" && test.halted == nil, p.Done())
			p.Waiting, p.Halted = "", ""
			require.Equal(t, test.want, p)
		})
	}
}
