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
	harness.Long(t)
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
				requireEvent(t, x, attack.says)
			})
		}
		for _, attack := range flyAttacks {
			t.Run(attack.name, func(t *testing.T) {
				t.Parallel()
				x := platform.NewTenantIn(t, hostile.environment, "started")
				hostile.attack(x.App(), attack)
				x.Apply("rotationGeneration: 1")
				requireNotReady(t, x, attack.says)
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

// requireEvent waits for an event of the object that has these words.
func requireEvent(t *testing.T, x platform.Tenant, says string) {
	t.Helper()
	require.Eventually(t, func() bool {
		output, err := harness.Try("", "-n", "tenants-sandbox", "get", "events", "--field-selector", "involvedObject.name="+x.Name, "-o", "jsonpath={.items[*].message}")
		return err == nil && strings.Contains(output, says)
	}, 2*time.Minute, 500*time.Millisecond, "%s", x.Name)
}

// requireNotReady waits until the object is not ready for a reason with these words.
func requireNotReady(t *testing.T, x platform.Tenant, says string) {
	t.Helper()
	require.Eventually(t, func() bool {
		ready := x.Get().Condition("Ready")
		return ready.Status == "False" && strings.Contains(ready.Message, says)
	}, 2*time.Minute, 500*time.Millisecond, "%s", x.Name)
	t.Log(x.Get().Condition("Ready").Reason, x.Get().Condition("Ready").Message)
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
