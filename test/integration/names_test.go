package integration

import (
	"encoding/base64"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// offered is a statement of SQL in a message.
var offered = regexp.MustCompile(`CREATE ROLE [^;]+|ALTER ROLE [^;.]+|SELECT tenant_credentials\.\w+\([^)]*\)`)

// runOffered runs the statement that a tenant's message has, copied into psql as it stands.
func runOffered(t *testing.T, x tenant) {
	t.Helper()
	message := x.Get().Condition("Ready").Message
	statement := offered.FindString(message)
	require.NotEmpty(t, statement, message)
	psql(t, statement)
}

// psql runs a statement as the superuser of sandbox.
func psql(t *testing.T, statement string) {
	t.Helper()
	output, err := tryPSQL(statement)
	require.NoError(t, err, "%s\n%s", statement, output)
}

func tryPSQL(statement string) (output []byte, err error) {
	return exec.Command("psql", "-X", os.Getenv("PLAYGROUND_SANDBOX_URL"), "-c", statement).CombinedOutput()
}

// override writes a name into the tenant's row.
func override(x tenant, column, name string) {
	x.SQL("UPDATE management.tenants SET " + column + " = '" + name + "' WHERE id = '" + x.ID + "'")
}

// Names that SQL wants in quotation marks have them in every statement that a message offers, so that it can be run as it is.
func TestOfferedStatementsCanBeRun(t *testing.T) {
	t.Parallel()
	for name, roleOf := range map[string]func(x tenant) string{
		"a hyphen": func(x tenant) string { return x.Role() + "-eu" },
		"capitals": func(x tenant) string { return "tenant_EU_" + x.Short },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, "stopped")
			role := roleOf(x)
			override(x, "db_role", role)
			x.Apply(overlap, "rotationGeneration: 1")
			x.WaitReason("RoleNotFound")
			runOffered(t, x) // CREATE ROLE
			x.WaitReason("RoleNotAllowed")
			runOffered(t, x) // prepare_overlap
			x.WaitReady()
			require.Equal(t, role+"_b", activeLogin(t, x))
			requireAccepted(t, x.URL())

			psql(t, `ALTER ROLE "`+role+`" LOGIN PASSWORD 'another'`)
			x.Poke()
			x.WaitReason("DriftDetected")
			runOffered(t, x) // ALTER ROLE … NOLOGIN
			x.Poke()
			x.WaitReady()

			expires(t, x, role+"_b", "5 days")
			awaitWarning(t, x, true)
			runOffered(t, x) // ALTER ROLE … VALID UNTIL
			x.Poke()
			awaitWarning(t, x, false)
			requireAccepted(t, x.URL())
		})
	}
}

// A name with a blank that cannot be seen is shown so that it can.
func TestBlankAtTheEndOfAName(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	override(x, "fly_app", x.App()+" ")
	x.Apply("rotationGeneration: 1")
	x.WaitReason("FlyAppNotFound")
	message := x.Get().Condition("Ready").Message
	require.Contains(t, message, `Fly app "`+x.App()+` " does not exist`)
	require.Contains(t, message, `fly apps create "`+x.App()+` "`)
	require.Empty(t, x.Rows())
	override(x, "fly_app", x.App())
	x.WaitReady()
	requireAccepted(t, x.URL())
}

// A URL that an editor has ended with a line break, or that has blanks around it, is the URL.
func TestBlanksAroundTheOperatorsURL(t *testing.T) {
	t.Parallel()
	for name, around := range map[string][2]string{"a line break": {"", "\n"}, "blanks": {" \t", " \r\n"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, server := platform.NewServer(t, "blanks")
			manifest := e.Manifest(t)
			e.Prepare(t, server, manifest)
			encoded := kubectl(t, "", "-n", "tcred-system", "get", "secret", e.Name, "-o", "jsonpath={.data.url}")
			url, err := base64.StdEncoding.DecodeString(encoded)
			require.NoError(t, err)
			padded := base64.StdEncoding.EncodeToString([]byte(around[0] + string(url) + around[1]))
			kubectl(t, `{"data":{"url":"`+padded+`"}}`, "-n", "tcred-system", "patch", "secret", e.Name, "--patch-file=/dev/stdin")
			e.Create(t, manifest)
			x := newTenantIn(t, e, "stopped")
			x.Apply("rotationGeneration: 1")
			x.WaitReady()
			requireAccepted(t, x.URL())
			require.Equal(t, map[string]int{"completed": 1}, x.Rows())
		})
	}
}
