package memory

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// memoryLimit is the data segment and the resident memory that the manager may have.
const memoryLimit = 256 << 20

// While tenants and an endpoint in the place of Fly attack it at the same time, the manager lives on under its memory limit, says what is wrong
// with each, and rotates the others.
func TestIntruderMemoryOfTheManager(t *testing.T) {
	pid := os.Getenv("MANAGER_PID")
	started := startOf(t, pid)
	output, err := exec.Command("prlimit", "--pid", pid, fmt.Sprintf("--data=%d", memoryLimit)).CombinedOutput()
	require.NoError(t, err, "%s", output)
	hostile := serveHostileFly(t)

	t.Run("attacks", func(t *testing.T) {
		for _, attack := range tenantAttacks {
			t.Run(attack.name, func(t *testing.T) {
				t.Parallel()
				x := platform.NewTenant(t, "stopped")
				attack.prepare(t, x)
				x.Apply(attack.spec()...)
				if attack.says == "" {
					x.WaitReady()
					return
				}
				requireCondition(t, x, "PostgresSynced", attack.says)
			})
		}
		for _, attack := range flyAttacks {
			t.Run(attack.name, func(t *testing.T) {
				t.Parallel()
				x := platform.NewTenant(t, "started")
				hostile.attack(x.App(), attack)
				x.Apply("rotationGeneration: 1", "environmentRef: {name: hostile-fly}")
				requireCondition(t, x, "Ready", "Fly")
			})
		}
	})

	bystander := platform.NewTenant(t, "started")
	bystander.Apply("rotationGeneration: 1")
	bystander.WaitReady()
	require.Equal(t, started, startOf(t, pid), "the manager was restarted")
	peak := peakOf(t, pid)
	t.Logf("the peak was %d MiB", peak>>20)
	require.Less(t, peak, memoryLimit)
}

// requireCondition waits until a condition is False for a reason with these words.
func requireCondition(t *testing.T, x platform.Tenant, kind, says string) {
	t.Helper()
	require.Eventually(t, func() bool {
		condition := x.Get().Condition(kind)
		return condition.Status == "False" && strings.Contains(condition.Message, says) && condition.Reason != "Progressing"
	}, 2*time.Minute, 500*time.Millisecond, "%s", kind)
	t.Logf("%s: %s", x.Get().Condition(kind).Reason, x.Get().Condition(kind).Message)
}

// startOf is when a process was started, in clock ticks since boot: field 22 of its stat, counted from the end of its name.
func startOf(t *testing.T, pid string) string {
	t.Helper()
	content, err := os.ReadFile("/proc/" + pid + "/stat")
	require.NoError(t, err, "the manager has ended; its log is %s", harness.Repository)
	return strings.Fields(string(content[strings.LastIndex(string(content), ")")+1:]))[19]
}

func peakOf(t *testing.T, pid string) int {
	t.Helper()
	content, err := os.ReadFile("/proc/" + pid + "/status")
	require.NoError(t, err)
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(content)
	require.NotNil(t, found)
	kilobytes, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return kilobytes << 10
}
