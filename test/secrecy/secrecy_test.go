// Package secrecy drives rotations that succeed and rotations that fail in every way, with every part writing down all that it can, and
// then has the independent checker search all of it for every password.
package secrecy

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

func TestMain(m *testing.M) {
	// Processes that are started from here may write core files of any size.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &limit)
	}
	os.Exit(harness.RunUnjudged(m))
}

type tenant = platform.Tenant

func TestSecrecy(t *testing.T) {
	platform.Admin(t, http.MethodPost, "/admin/clock", `{"advance_ms":-20000}`, nil) // every Machine looks older than a rollout watches it
	t.Run("rotations", func(t *testing.T) {
		for name, provoke := range failures {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				rotate(t, provoke)
			})
		}
		t.Run("by the endpoint", func(t *testing.T) {
			t.Parallel()
			rotateByEndpoint(t)
		})
		for name, provoke := range secretFailures {
			t.Run("a Secret: "+name, func(t *testing.T) {
				t.Parallel()
				rotateIntoSecret(t, provoke)
			})
		}
	})
	for name, provoke := range disasters {
		t.Run(name, func(t *testing.T) { rotate(t, provoke) })
	}
	t.Run("everything was written down", everythingWasWrittenDown)
	t.Run("no password was", func(t *testing.T) { require.Empty(t, search(t)) })
	t.Run("a password would have been found", aPasswordWouldHaveBeenFound)
}

// rotate rotates a tenant, with what provokes a failure in between.
func rotate(t *testing.T, provoke func(t *testing.T, x tenant)) {
	t.Helper()
	x := platform.NewTenant(t, "started", "stopped")
	x.Apply()
	x.WaitReady()
	old := x.URL()
	provoke(t, x)
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	require.Equal(t, 1, x.Rows()["completed"])
	platform.RequireAccepted(t, x.URL())
	platform.RequireRefused(t, old)
}

// failures are the ways in which a rotation fails and is then made again, by its cause. Each returns when it was seen and fixed.
var failures = map[string]func(t *testing.T, x tenant){
	"none": func(*testing.T, tenant) {},
	"Fly refuses and repeats what it was sent": func(t *testing.T, x tenant) {
		seen(x, "Rejected", x.Fault(`{"route":"POST /v1/apps/{app}/secrets","status":422,"body":"{\"error\":{request}}","count":-1}`))
	},
	"Fly answers nonsense that repeats what it was sent": func(t *testing.T, x tenant) {
		x.Fault(`{"route":"POST /v1/apps/{app}/secrets","status":200,"body":"<html>{request}"}`)
	},
	"Fly redirects": func(t *testing.T, x tenant) {
		seen(x, "Unexpected", x.Fault(`{"route":"POST /v1/apps/{app}/secrets","status":307,"body":"{request}","headers":{"Location":"/v1/apps/elsewhere/secrets"},"count":-1}`))
	},
	"Fly's answer is lost": func(t *testing.T, x tenant) {
		seen(x, "OutcomeUnknown", x.Fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"drop-response","count":-1}`))
	},
	"Fly hangs": func(t *testing.T, x tenant) {
		seen(x, "OutcomeUnknown", x.Fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"hang","count":-1}`))
	},
	"Fly's answer comes too late": func(t *testing.T, x tenant) {
		x.Fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"hang-after"}`)
	},
	"Fly refuses a release and repeats what it was sent": func(t *testing.T, x tenant) {
		x.Fault(`{"route":"POST /graphql","status":200,"body":"{\"errors\":[{\"message\":{request},\"extensions\":{\"code\":{request},\"variables\":{request}}}]}","count":-1}`)
	},
	"Fly refuses a release by REST and repeats what it was sent": func(t *testing.T, x tenant) {
		x.Fault(`{"route":"POST /api/v1/releases","status":422,"body":"{\"error\":{request}}","count":-1}`)
	},
	"Fly loses a release": func(t *testing.T, x tenant) {
		x.Fault(`{"route":"POST /graphql","mode":"drop-response","count":-1}`)
	},
	"the token is wrong": func(t *testing.T, x tenant) {
		e, mend := platform.NewEnvironmentWithoutToken(t, "fly")
		twin := platform.NewTenantIn(t, e, "stopped")
		twin.Apply("rotationGeneration: 1")
		twin.WaitReason("AuthenticationFailed")
		mend()
		twin.WaitReady()
	},
	"a trigger raises, and says what it was given": func(t *testing.T, x tenant) {
		x.SQL("CREATE FUNCTION management.refuse_" + x.Short + "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " +
			"RAISE EXCEPTION 'refused: %', new USING DETAIL = new.password_hash, HINT = new.password_hash; END $$")
		x.SQL("CREATE TRIGGER refuse_" + x.Short + " BEFORE UPDATE ON management.tenants FOR EACH ROW WHEN (old.id = '" + x.ID + "') " +
			"EXECUTE FUNCTION management.refuse_" + x.Short + "()")
		seen(x, "Rejected", func() { x.SQL("DROP FUNCTION management.refuse_" + x.Short + " CASCADE") })
	},
	"a CHECK is violated": func(t *testing.T, x tenant) {
		x.SQL("ALTER TABLE management.tenants ADD CONSTRAINT short_" + x.Short + " CHECK (id <> '" + x.ID + "' OR length(password_hash) < 5) NOT VALID")
		seen(x, "Rejected", func() { x.SQL("ALTER TABLE management.tenants DROP CONSTRAINT short_" + x.Short) })
	},
	"another client holds the claim": func(t *testing.T, x tenant) {
		seen(x, "Busy", platform.Sandbox().Hold(t, "SELECT FROM tenant_credentials.claims WHERE tenant_id = '"+x.ID+"' FOR UPDATE"))
	},
	"another client holds the role": func(t *testing.T, x tenant) {
		seen(x, "Busy", platform.Sandbox().Hold(t, "ALTER ROLE "+x.Role()+" CONNECTION LIMIT 5"))
	},
	"the tenant's own session holds the role": func(t *testing.T, x tenant) {
		own, err := pgx.Connect(t.Context(), x.URL())
		require.NoError(t, err)
		_, err = own.Exec(t.Context(), "BEGIN; ALTER ROLE "+x.Role()+" PASSWORD NULL")
		require.NoError(t, err)
	},
	"PostgreSQL refuses the login": func(t *testing.T, x tenant) {
		line := "host all " + x.Role() + " all reject"
		x.SQL(`COPY (SELECT 1) TO PROGRAM 'sed -i "1i ` + line + `" pg_hba.conf'`)
		x.SQL("SELECT pg_reload_conf()")
		seen(x, "VerificationFailed", func() {
			x.SQL(`COPY (SELECT 1) TO PROGRAM 'sed -i "/ ` + x.Role() + ` /d" pg_hba.conf'`)
			x.SQL("SELECT pg_reload_conf()")
		})
	},
}

// seen asks for the rotation, waits until the failure shows, and fixes its cause.
func seen(x tenant, reason string, mend func()) {
	x.Apply("rotationGeneration: 1")
	x.WaitReason(reason)
	mend()
}

// disasters are failures that no other rotation should meet.
var disasters = map[string]func(t *testing.T, x tenant){
	"another client holds the management table": func(t *testing.T, x tenant) { // the role is altered by then
		seen(x, "Busy", platform.Sandbox().Hold(t, "LOCK TABLE management.tenants IN SHARE MODE"))
	},
	"PostgreSQL is shut down immediately": inTheMiddle(func(t *testing.T) {
		pid, _, _ := strings.Cut(read(t, filepath.Join(os.Getenv("PLAYGROUND_SANDBOX_POSTGRES_DATA"), "postmaster.pid")), "\n")
		kill(t, pid, syscall.SIGQUIT)
		require.NoError(t, harness.Playground("postgres-down", "sandbox").Run())
		require.NoError(t, harness.Playground("postgres-up", "sandbox").Run())
	}),
	"the manager gets SIGQUIT": inTheMiddle(func(t *testing.T) { crashManager(t, syscall.SIGQUIT) }),
	"the manager gets SIGABRT": inTheMiddle(func(t *testing.T) { crashManager(t, syscall.SIGABRT) }),
}

// inTheMiddle has a process die between the write to Fly, which took effect, and the commit.
func inTheMiddle(crash func(t *testing.T)) func(t *testing.T, x tenant) {
	return func(t *testing.T, x tenant) {
		old := x.URL()
		mend := x.Fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"hang-after","count":-1}`)
		x.Apply("rotationGeneration: 1")
		require.Eventually(t, func() bool { return x.URL() != old }, time.Minute, 20*time.Millisecond, "nothing was written to Fly")
		crash(t)
		mend()
	}
}

// crashManager kills the manager in a way that has it print everything that it knows of itself, and starts it again.
func crashManager(t *testing.T, signal syscall.Signal) {
	t.Helper()
	printed := strings.Count(read(t, os.Getenv("MANAGER_LOG")), "\nPC=")
	kill(t, managerPID(t), signal)
	require.Eventually(t, func() bool {
		return strings.Count(read(t, os.Getenv("MANAGER_LOG")), "\nPC=") > printed
	}, 30*time.Second, 50*time.Millisecond, "the manager printed nothing when it crashed")
	harness.Kubectl(t, "", "-n", "tcred-system", "delete", "lease", "tenant-credential-operator") // a dead process has no use for it
	require.NoError(t, harness.Playground("manager-up").Run())
}

func kill(t *testing.T, pid string, signal syscall.Signal) {
	t.Helper()
	number, err := strconv.Atoi(pid)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(number, signal))
}

// managerPID is that of the manager that runs now: the file env is written anew with each.
func managerPID(t *testing.T) string {
	t.Helper()
	_, after, found := strings.Cut(read(t, filepath.Join(os.Getenv("PLAYGROUND_DIR"), "env")), "export MANAGER_PID='")
	require.True(t, found)
	pid, _, _ := strings.Cut(after, "'")
	return pid
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

// everythingWasWrittenDown makes sure that the logs were at their highest, and that there was something to find.
func everythingWasWrittenDown(t *testing.T) {
	for path, needles := range map[string][]string{
		os.Getenv("MANAGER_LOG"):                                    {`"level":"Level(-5)"`, "SIGQUIT: quit", "SIGABRT: abort", "goroutine 1 "},
		os.Getenv("PLAYGROUND_SANDBOX_POSTGRES_LOG"):                {"tenant_credentials.stage(", "parameters: $1 = ", "plan:", "still waiting for", "immediate shutdown", "connection authenticated"},
		filepath.Join(os.Getenv("PLAYGROUND_LOG_DIR"), "audit.log"): {`"level":"RequestResponse"`, `"requestObject":{`, "tenantcredentials"},
	} {
		text := read(t, path)
		for _, needle := range needles {
			require.True(t, strings.Contains(text, needle), "%s is not as talkative as it should be: it has no %q", path, needle) // without printing it
		}
	}
	require.Contains(t, one(t, "SELECT string_agg(query, ' ') FROM pg_stat_statements"), "tenant_credentials.stage(")
	require.GreaterOrEqual(t, len(sent(t)), len(failures)+len(disasters), "passwords that were sent to Fly")
}

// sent are the passwords that ever arrived at Fly, and for which app.
func sent(t *testing.T) map[string]string {
	t.Helper()
	var arrivals []struct{ App, Value string }
	platform.Admin(t, http.MethodGet, "/admin/arrivals", "", &arrivals)
	passwords := map[string]string{}
	for _, arrival := range arrivals {
		if config, err := pgx.ParseConfig(arrival.Value); err == nil && config.Password != "" {
			passwords[config.Password] = arrival.App
		}
	}
	return passwords
}

func one(t *testing.T, query string) (text string) {
	t.Helper()
	connection := platform.Sandbox().Connect(t)
	defer connection.Close(context.Background())
	require.NoError(t, connection.QueryRow(t.Context(), query).Scan(&text))
	return text
}

// search is what the checker says about everything.
func search(t *testing.T) []string {
	t.Helper()
	config, err := checker.FromEnvironment()
	require.NoError(t, err)
	var said []string
	for _, violation := range checker.Check(t.Context(), config, nil, nil) {
		said = append(said, violation.String())
	}
	return said
}

// aPasswordWouldHaveBeenFound writes one down wherever a test can, and has each place reported.
func aPasswordWouldHaveBeenFound(t *testing.T) {
	var password, app string
	for password, app = range sent(t) {
		if _, is := secretApps.Load(app); !is {
			break
		}
	}
	escaped, err := json.Marshal(password)
	require.NoError(t, err)
	appendTo(t, os.Getenv("MANAGER_LOG"), `{"error":`+string(escaped)+"}\n")
	appendTo(t, os.Getenv("GATEWAY_LOG"), `{"caller":`+string(escaped)+`,"token":"`+os.Getenv("GATEWAY_OWNER_TOKEN")+"\"}\n")
	appendTo(t, filepath.Join(os.Getenv("PLAYGROUND_LOG_DIR"), "processes.log"), password+"\n")
	appendTo(t, filepath.Join(os.Getenv("PLAYGROUND_MANAGER_DIR"), "core"), "\x00"+password)
	harness.Kubectl(t, "", "-n", "default", "create", "configmap", "careless", "--from-literal=password="+password)
	connection := platform.Sandbox().Connect(t)
	defer connection.Close(context.Background())
	_, err = connection.Exec(t.Context(), `CREATE TABLE public.careless AS SELECT '`+password+`' AS "p`+password+`"`)
	require.NoError(t, err)
	_, err = connection.Exec(t.Context(), "CHECKPOINT")
	require.NoError(t, err)
	response, err := http.Get(os.Getenv("FLY_API_BASE_URL") + "/v1/apps/x?password=" + password)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	said := strings.Join(search(t), "\n")
	require.NotContains(t, said, password, "the checker itself shows it")
	for _, place := range []string{
		"log " + os.Getenv("MANAGER_LOG"),
		"log " + os.Getenv("GATEWAY_LOG"),
		"a token of the endpoint's callers stands in log " + os.Getenv("GATEWAY_LOG"),
		"log " + filepath.Join(os.Getenv("PLAYGROUND_LOG_DIR"), "processes.log"),
		"file " + os.Getenv("PLAYGROUND_MANAGER_DIR"),
		"ConfigMap default/careless",
		"audit.log",
		"etcd's file ",
		"log " + os.Getenv("PLAYGROUND_SANDBOX_POSTGRES_LOG"),
		"pg_stat_statements of sandbox",
		"PostgreSQL's file " + os.Getenv("PLAYGROUND_SANDBOX_POSTGRES_DATA") + "/pg_wal/",
		"PostgreSQL's file " + os.Getenv("PLAYGROUND_SANDBOX_POSTGRES_DATA") + "/base/",
		"the Fly emulator's list of requests",
	} {
		require.Contains(t, said, place)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = file.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}
