package sql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

const (
	// memoryLimit is the data segment and the resident memory that a process under attack may have.
	memoryLimit = 256 << 20
	// atOnce is how many sessions are attacked at the same time: as many as a pool has by default.
	atOnce = 16
	// victimURLs names the servers that the process is to log in to.
	victimURLs = "INTRUDER_VICTIM_URLS"
	// victimRole is the role that its sessions are to act as.
	victimRole = "INTRUDER_VICTIM_ROLE"
)

// A process that is killed by its memory limit rotates nothing for any tenant. The limit is a real one, and every attack is carried out against
// sixteen sessions at the same time.
func TestIntruderMemoryUnderAHostileServer(t *testing.T) {
	var urls []string
	for _, attack := range append(beforeLogin, afterReady(afterLogin)...) {
		urls = append(urls, fmt.Sprintf("postgres://tenant_b:%s@%s/site?sslmode=disable&connect_timeout=1", wirePassword, listen(t, attack.script)))
	}
	requireSurvival(t, "tenant", urls, "failed")
}

func TestIntruderMemoryUnderAHostileTenant(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		_, role := f.adoptedTenant()
		session := f.asTenant(role)
		for _, sql := range []string{
			createEvil,
			"create function evil.pg_is_in_recovery() returns setof text language sql as $$ select repeat('x', 1000000) from generate_series(1, 1000) $$",
			"alter role <role> set search_path = evil, pg_catalog",
		} {
			_, err := session.Exec(t.Context(), f.named(sql, role))
			require.NoError(t, err)
		}
		url := f.pg.URL(role, f.passwords[role], f.databaseOf(role))
		requireSurvival(t, role, []string{url}, "ok")
	})
}

// requireSurvival asserts that a process with a memory limit logs in to each of the URLs, with the result that is given for all, and lives on.
func requireSurvival(t *testing.T, role string, urls []string, result string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run", "^TestVictim$", "-test.v")
	child.Env = append(os.Environ(), victimURLs+"="+strings.Join(urls, " "), victimRole+"="+role)
	output, err := child.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Equal(t, len(urls)*atOnce, strings.Count(string(output), "login: "+result+"\n"), "%s", output)
	peak := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(output))
	require.NotNil(t, peak, "%s", output)
	kilobytes, err := strconv.Atoi(peak[1])
	require.NoError(t, err)
	t.Logf("the peak was %d MiB", kilobytes>>10)
	require.Less(t, kilobytes<<10, memoryLimit)
}

// TestVictim is what requireSurvival runs in a process of its own.
func TestVictim(t *testing.T) {
	urls, role := strings.Fields(os.Getenv(victimURLs)), os.Getenv(victimRole)
	if len(urls) == 0 {
		return
	}
	limit := syscall.Rlimit{Cur: memoryLimit, Max: memoryLimit}
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_DATA, &limit))
	var attacked sync.WaitGroup
	for _, url := range urls {
		server, err := postgres.Connect(t.Context(), postgres.Config{URL: credential.SecretOf(url), MaxConnections: atOnce})
		require.NoError(t, err)
		defer server.Close()
		for range atOnce {
			attacked.Go(func() { beAttacked(t, server, url, role) })
		}
		attacked.Wait()
	}
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	fmt.Println(string(status))
}

// beAttacked logs in as the tenant, and makes a call with the operator's login.
func beAttacked(t *testing.T, server *postgres.Server, url, role string) {
	login, database := regexp.MustCompile(`//(\w+):`).FindStringSubmatch(url)[1], regexp.MustCompile(`/(\w+)\?`).FindStringSubmatch(url)[1]
	password := regexp.MustCompile(`:(\S+)@`).FindStringSubmatch(strings.TrimPrefix(url, "postgres:"))[1]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := server.VerifyLogin(ctx, postgres.Login{Name: login, Role: role, Database: database, Password: credential.SecretOf(password)})
	if err != nil && failure.As(err) == nil {
		err = errors.Join(err, errors.New("not a classed failure"))
	}
	_, surveyed := server.Survey(ctx)
	if surveyed == nil {
		t.Error("a server that is not the platform's has answered a survey")
	}
	result := "ok"
	if err != nil {
		result = "failed"
	}
	fmt.Println("login: " + result)
}
