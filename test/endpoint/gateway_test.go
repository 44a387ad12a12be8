package endpoint

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// startGateway runs another gateway with the flags of the playground's, and with some more. It ends with the test.
func startGateway(t *testing.T, more ...string) (url string, process *os.Process) {
	t.Helper()
	line, err := os.ReadFile("/proc/" + os.Getenv("GATEWAY_PID") + "/cmdline")
	require.NoError(t, err)
	flags := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")[1:]
	var ports [3]int
	for i := range ports {
		ports[i], err = pgserver.FreePort()
		require.NoError(t, err)
	}
	flags = append(flags, "--bind-address", address(ports[0]), "--health-probe-bind-address", address(ports[1]), "--metrics-bind-address", address(ports[2]))
	command := exec.Command(filepath.Join(harness.Repository, "bin", "gateway"), append(flags, more...)...)
	log, err := os.OpenFile(os.Getenv("GATEWAY_LOG"), os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill() // one that has ended is not killed
		_ = command.Wait()
	})
	require.Eventually(t, func() bool {
		answer, err := http.Get("http://" + address(ports[1]) + "/readyz")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond)
	return "https://" + address(ports[0]), command.Process
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Two gateways stand behind one address. One is killed in the middle of a wait; the caller's repeat, at the other, is answered by the same rotation.
func TestTheOtherGatewayAnswersTheRepeat(t *testing.T) {
	t.Parallel()
	x := newOwned(t, "started")
	first, process := startGateway(t)
	failed := make(chan error, 1)
	go func() {
		_, err := newCaller(t, first, os.Getenv("GATEWAY_OWNER_TOKEN")).ask(t.Context(), http.MethodPost, rotatePath(x.ID), `{"until":"completed"}`,
			"Idempotency-Key: "+x.Short, "Prefer: wait=25")
		failed <- err
	}()
	require.Eventually(t, func() bool { return x.Get().Status.Revision == 1 }, patience, 10*time.Millisecond)
	require.NoError(t, process.Kill())
	require.Error(t, <-failed, "the call was answered before its gateway was killed")
	a := owner(t).rotate(t, x.ID, `{"until":"completed"}`, "Idempotency-Key: "+x.Short, "Prefer: wait=25")
	require.Contains(t, []int{http.StatusOK, http.StatusAccepted}, a.Code, a.Body)
	require.EqualValues(t, 1, a.rotation(t).Revision)
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
}
