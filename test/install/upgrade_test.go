package install

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// nextVersion builds the program of a later release, which has migrations more.
func (s *site) nextVersion(t *testing.T, version string, migrations int) string {
	t.Helper()
	folder := t.TempDir()
	replaced := map[string]string{}
	add := func(path, content string) {
		place := filepath.Join(folder, fmt.Sprintf("%d", len(replaced)))
		require.NoError(t, os.WriteFile(place, []byte(content), 0o600))
		replaced[filepath.Join(harness.Repository, path)] = place
	}
	types, err := os.ReadFile(filepath.Join(harness.Repository, "controllers", "postgres", "types.go"))
	require.NoError(t, err)
	ledger := postgres.LedgerVersion + int64(migrations)
	changed := regexp.MustCompile(`const LedgerVersion int64 = \d+`).ReplaceAllString(string(types), fmt.Sprintf("const LedgerVersion int64 = %d", ledger))
	require.NotEqual(t, string(types), changed)
	add("controllers/postgres/types.go", changed)
	for number := postgres.LedgerVersion + 1; number <= ledger; number++ {
		add(fmt.Sprintf("controllers/postgres/migrations/%05d_next.sql", number),
			fmt.Sprintf("-- +goose Up\nset local role tenant_credentials_owner;\ncreate table tenant_credentials.next_%d (id uuid primary key);\nreset role;\n", number))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600))
	program := filepath.Join(s.folder, "manager-"+version)
	build := exec.Command("go", "build", "-overlay", filepath.Join(folder, "overlay.json"), "-ldflags", "-X main.version="+version, "-o", program, "./cmd/manager") //nolint:gosec // the test's own
	build.Dir, build.Env = harness.Repository, append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	said, err := exec.Command(program, "--version").Output() //nolint:gosec // the test's own
	require.NoError(t, err)
	require.Contains(t, string(said), fmt.Sprintf("tenant-credential-operator %s, ledger version %d, ", version, ledger))
	return program
}

// committedAndProved counts the rotations that are committed and whose login has succeeded. One that ends before that is finished with another password (ADR 12).
const committedAndProved = "SELECT count(*)::text FROM tenant_credentials.rotations WHERE state = 'committed' AND login_checked_at IS NOT NULL"

// halfDone begins a rotation of acme that stands still when its Machine is to be moved, until mend is called.
func (s *site) halfDone(t *testing.T) (mend func()) {
	t.Helper()
	fault, err := s.fly.AddFault(flyemulator.Fault{Route: "POST /v1/apps/{app}/machines/{id}", App: acmeApp, Count: -1, Status: http.StatusServiceUnavailable})
	require.NoError(t, err)
	s.raise(t, "acme")
	require.Eventually(t, func() bool { return s.one(t, committedAndProved) == "1" }, wait, look, "the rotation is not committed, or its login is not proved")
	return func() { s.fly.LiftFault(fault) }
}

// raise writes a number above what a tenant's object asks for, and above what is done.
func (s *site) raise(t *testing.T, tenant string) {
	t.Helper()
	s.typed(t, `n=$(kubectl -n tenants-sandbox get tcred `+tenant+` -o jsonpath='{"0\n"}{.spec.rotationGeneration}{"\n"}{.status.rotationGeneration}{"\n"}' | sort -n | tail -1)
kubectl -n tenants-sandbox patch tcred `+tenant+` --type merge -p "{\"spec\":{\"rotationGeneration\":$((n + 1))}}"`, "")
}

// requireFinished waits for acme. The committed rotation is completed, and no password was made anew.
func (s *site) requireFinished(t *testing.T, rotations, value string) {
	t.Helper()
	s.typed(t, "kubectl -n tenants-sandbox wait tcred acme --for=condition=Ready --timeout=2m", "")
	require.Equal(t, regexp.MustCompile("committed$").ReplaceAllString(rotations, "completed"), s.rotations(t))
	require.Equal(t, value, s.flyValue(t))
	s.requireLogin(t, value)
}

// upgrade follows docs/upgrade.md while a rotation is in progress: it begins under the old manager and ends under the new one.
func (s *site) upgrade(t *testing.T) {
	p, program := readPage(t, "docs/upgrade.md", "", ""), s.nextVersion(t, "v0.2.0", 1)
	mend := s.halfDone(t)
	rotations, value := s.rotations(t), s.flyValue(t)
	s.image(t, readInstallation(t), "v0.2.0", program)
	s.build(t, program)
	s.typed(t, p.next(t, "1. The ledger"), "")
	require.Equal(t, fmt.Sprint(postgres.LedgerVersion+1), s.one(t, "SELECT max(version_id)::text FROM tenant_credentials.goose_db_version"))
	s.rotateVandelay(t) // the old manager goes on with it
	s.typed(t, p.next(t, "2. The kinds"), "")
	s.cluster.forget()
	s.typed(t, p.next(t, "3. The image"), "")
	p.requireDone(t)
	require.True(t, s.cluster.haveMet(), "an old and a new manager did not run at once")
	require.Equal(t, rotations, s.rotations(t), "the rotation has ended before the old manager")
	mend()
	s.requireFinished(t, rotations, value)
}

// upgradeImageFirst: the new manager refuses the older ledger, and says what to do. Nothing is lost.
func (s *site) upgradeImageFirst(t *testing.T) {
	p, program := readPage(t, "docs/upgrade.md", "", ""), s.nextVersion(t, "v0.3.0", 2)
	ledger := p.next(t, "1. The ledger")
	p.next(t, "2. The kinds")
	mend := s.halfDone(t)
	rotations, value := s.rotations(t), s.flyValue(t)
	s.image(t, readInstallation(t), "v0.3.0", program)
	s.typed(t, p.next(t, "3. The image"), "")
	require.Contains(t, s.shown(t, "LedgerOutdated"), fmt.Sprintf("has version %d, and this operator needs version %d. No rotation of this environment starts. 1 rotation is in progress", postgres.LedgerVersion+1, postgres.LedgerVersion+2))
	mend()
	require.Equal(t, rotations, s.rotations(t))
	s.build(t, program)
	s.typed(t, ledger, "")
	s.requireFinished(t, rotations, value)

	s.build(t, filepath.Join(harness.Repository, "bin", "manager"))
	require.Contains(t, s.refused(t, ledger), fmt.Sprintf("The ledger has version %d, and this program installs version %d", postgres.LedgerVersion+2, postgres.LedgerVersion))
	s.build(t, program)
}
