package soak

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

const restingOutageLasts = time.Minute

// restingFigures are what the run prints and leaves in bin/outage-at-rest.json.
type restingFigures struct {
	Tenants          int     `json:"tenants"`
	Rotated          int     `json:"tenantsThatWereRotated"`
	DownSeconds      float64 `json:"secondsDown"`
	Starts           int     `json:"managerStarts"`
	LookedWhileDown  int     `json:"looksAtTenantsWhileDown"`
	LookedAfterwards int     `json:"looksAtTenantsAfterwards"`
	Writes           int     `json:"tenantsWritten"`
}

// TestOutageAtRest takes PostgreSQL away from a thousand tenants to whom nothing is due, four in five of them adopted and the others rotated, and
// restarts the operator in the outage and after it. None of the objects is written.
func TestOutageAtRest(t *testing.T) {
	if os.Getenv("OUTAGE") == "" {
		t.Skip("make outage runs it")
	}
	tenants := outageTenants()
	s := startFleet(t, tenants, maxConcurrent, func(*v1alpha1.TenantCredential, bool) {})
	f := &restingFigures{Tenants: len(tenants), Rotated: len(tenants) / 5}
	s.raiseAll(t, tenants[:f.Rotated])
	s.all.awaitSettled(t, len(tenants), outageBound)
	s.rest()
	fmt.Printf("outage at rest: %d tenants are adopted, %d of them rotated\n", f.Tenants, f.Rotated)
	starts, before := s.managers.starts, s.resourceVersions(t)

	require.NoError(t, playground("postgres-down", environment))
	down := time.Now()
	s.awaitEnvironment(t, false)
	s.managers.terminate()
	f.LookedWhileDown = followLooks(t, `"obstacle":"EnvironmentNotReady"`).await(t, len(tenants))
	time.Sleep(restingOutageLasts - time.Since(down)) // this is the fault
	require.Empty(t, changed(before, s.resourceVersions(t)), "written while PostgreSQL was down")

	require.NoError(t, playground("postgres-up", environment))
	f.DownSeconds = time.Since(down).Round(100 * time.Millisecond).Seconds()
	s.awaitEnvironment(t, true)
	require.NoError(t, s.managers.kill(t.Context(), true))
	f.LookedAfterwards = followLooks(t, `"phase":"Resting"`).await(t, len(tenants))

	written := changed(before, s.resourceVersions(t))
	f.Starts, f.Writes = s.managers.starts-starts, len(written)
	leave(t, "outage-at-rest.json", f)
	require.Empty(t, written)
	require.Equal(t, 2, f.Starts)
}

// resourceVersions are those of all tenants' objects: each write, of spec, status or metadata, gives an object another one.
func (s *system) resourceVersions(t *testing.T) map[string]string {
	t.Helper()
	var list v1alpha1.TenantCredentialList
	require.NoError(t, s.client.List(t.Context(), &list, client.InNamespace(namespace)))
	versions := map[string]string{}
	for i := range list.Items {
		versions[list.Items[i].Name] = list.Items[i].ResourceVersion
	}
	return versions
}

func changed(before, after map[string]string) (names []string) {
	for name, version := range before {
		if after[name] != version {
			names = append(names, name)
		}
	}
	return names
}

// awaitEnvironment waits until the environment is Ready, or says that it is not.
func (s *system) awaitEnvironment(t *testing.T, ready bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		var e v1alpha1.TenantEnvironment
		require.NoError(t, s.client.Get(t.Context(), types.NamespacedName{Name: environment}, &e))
		c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ReadyCondition)
		return c != nil && c.Status != "Unknown" && (c.Status == "True") == ready
	}, time.Minute, 100*time.Millisecond, "environment Ready: %v", ready)
}

// looks are the passes over tenants in the operator's log from some moment on, of those that ended so.
type looks struct {
	log     *os.File
	ended   []byte
	count   int
	tenants map[string]bool
	rest    []byte
}

func followLooks(t *testing.T, ended string) *looks {
	t.Helper()
	log, err := os.Open(filepath.Join(os.Getenv("PLAYGROUND_LOG_DIR"), "manager-soak.log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	_, err = log.Seek(0, io.SeekEnd)
	require.NoError(t, err)
	return &looks{log: log, ended: []byte(ended), tenants: map[string]bool{}}
}

var lookedAt = regexp.MustCompile(`"msg":"Looked".*"name":"(soak-[0-9]+)"`)

// await waits until so many tenants have been looked at, and returns how many looks that took.
func (l *looks) await(t *testing.T, tenants int) int {
	t.Helper()
	for deadline := time.Now().Add(patience); len(l.tenants) < tenants; time.Sleep(200 * time.Millisecond) { // between two looks
		more, err := io.ReadAll(l.log)
		require.NoError(t, err)
		l.add(more)
		require.True(t, time.Now().Before(deadline), "%d of %d tenants have been looked at", len(l.tenants), tenants)
	}
	return l.count
}

func (l *looks) add(more []byte) {
	l.rest = append(l.rest, more...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return
		}
		l.rest = rest
		if found := lookedAt.FindSubmatch(line); found != nil && bytes.Contains(line, l.ended) {
			l.count++
			l.tenants[string(found[1])] = true
		}
	}
}
