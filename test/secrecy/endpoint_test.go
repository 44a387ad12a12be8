package secrecy

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// rotateByEndpoint rotates as the platform's callers do, by curl, which shows whatever is sent, and by tcred, which fetches the password and saves it.
// What both print goes into a file beside the logs, where the checker looks for passwords; no token stands in what tcred prints.
func rotateByEndpoint(t *testing.T) {
	t.Helper()
	x := platform.NewTenant(t, "started")
	x.GiveTo(os.Getenv("GATEWAY_OWNER"))
	x.Apply()
	x.WaitReady()
	home, token := t.TempDir(), os.Getenv("GATEWAY_OWNER_TOKEN")
	curl := exec.Command("curl", "-sS", "--trace-ascii", "-", "--cacert", os.Getenv("GATEWAY_CA"), "-H", "Authorization: Bearer "+token, "-X", "POST",
		os.Getenv("GATEWAY_URL")+"/api/v1/tenants/"+x.ID+"/rotate-credentials", "--json", `{"reason":"laptop lost"}`)
	said, err := curl.CombinedOutput()
	require.NoError(t, err, string(said))
	x.WaitReady()

	tcred := exec.Command("tcred", "rotate-credentials", x.ID, "--server", os.Getenv("GATEWAY_URL"), "--ca-file", os.Getenv("GATEWAY_CA"), "--save=acme")
	tcred.Env = append(os.Environ(), "TCRED_TOKEN="+token, "HOME="+home, "PGSERVICEFILE="+filepath.Join(home, "services"), "PGPASSFILE="+filepath.Join(home, "passwords"))
	printed, err := tcred.CombinedOutput()
	require.NoError(t, err, string(printed))
	require.NotContains(t, string(printed), token)
	require.Equal(t, 2, x.Rows()["completed"])
	require.NoError(t, os.WriteFile(filepath.Join(os.Getenv("PLAYGROUND_LOG_DIR"), "callers.log"), append(said, printed...), 0o600))

	saved, err := os.ReadFile(filepath.Join(home, "passwords"))
	require.NoError(t, err)
	require.NotEmpty(t, saved)
}
