package status

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// scene is a state that something brings about which all tenants of an environment, or all tenants, notice: before it, and then in it.
type scene struct {
	before func(t *testing.T, e platform.Environment) *stage
	then   func(s *stage)
}

// play plays all scenes at once: begin brings about what they have in common, and end takes it away.
func play(t *testing.T, scenes map[string]scene, e platform.Environment, begin, end func()) {
	t.Helper()
	page, stages := readPage(t), map[string]*stage{}
	for state, c := range scenes {
		stages[state] = c.before(t, e)
	}
	begin()
	for state, s := range stages {
		t.Log(state)
		scenes[state].then(s)
		s.require(page[state])
	}
	end()
	for state, s := range stages {
		t.Log(state, "is over")
		if s.heal == nil {
			s.heal = func() {}
		}
		s.requireHealed()
	}
}

func rotatedIn(t *testing.T, e platform.Environment) *stage {
	t.Helper()
	s := newStage(t, platform.NewTenantIn(t, e, "stopped"))
	s.given("rotationGeneration: 1")
	return s
}

func asksAgain(s *stage) { s.asks("rotationGeneration: 2") }

var withoutOperator = map[string]scene{
	"Just created": {
		before: func(t *testing.T, e platform.Environment) *stage {
			return newStage(t, platform.NewTenantIn(t, e, "stopped"))
		},
		then: func(s *stage) { s.asks("rotationGeneration: 1") },
	},
	"Edited": {before: rotatedIn, then: asksAgain},
}

// The operator is away.
func TestWithoutTheOperator(t *testing.T) { // not parallel: the other tests need it
	harness.Long(t)
	play(t, withoutOperator, platform.Sandbox(), control(t, "manager-down"), control(t, "manager-up"))
}

func control(t *testing.T, command string) func() {
	return func() {
		output, err := harness.Playground(command).CombinedOutput()
		require.NoError(t, err, "%s: %s", command, output)
	}
}

var withoutRight = map[string]scene{
	"The operator may not write Secrets in the namespace": {
		before: func(t *testing.T, e platform.Environment) *stage { return newStage(t, platform.NewTenantIn(t, e)) },
		then:   func(s *stage) { s.asks(s.toSecret(), "rotationGeneration: 1"); s.heal = s.Poke },
	},
}

// The owner of the namespace has withdrawn the right.
func TestWithoutTheRightToSecrets(t *testing.T) { // not parallel: other tests need it
	harness.Long(t)
	const name = "tenant-credential-operator-connection-secret"
	play(t, withoutRight, platform.Sandbox(), func() {
		harness.Kubectl(t, "", "-n", "tenants-sandbox", "delete", "rolebinding", name)
		require.Eventually(t, func() bool {
			_, err := harness.Try("", "auth", "can-i", "get", "secrets", "-n", "tenants-sandbox", "--as=system:serviceaccount:tcred-system:tenant-credential-operator")
			return err != nil
		}, patience, 50*time.Millisecond, "the right is still there")
	}, func() {
		harness.Kubectl(t, "", "-n", "tenants-sandbox", "apply", "-k", filepath.Join(harness.Repository, "config", "components", "connection-secret", "namespace"))
	})
}

var whileDown = map[string]scene{
	"PostgreSQL is down, and nothing is due": {before: rotatedIn, then: func(s *stage) {
		s.applies("rotationGeneration: 1")
		s.Poke()
	}},
	"PostgreSQL is down, and a rotation is due": {before: rotatedIn, then: asksAgain},
	"PostgreSQL is down, and the spec has changed": {before: rotatedIn, then: func(s *stage) {
		s.applies("rotationGeneration: 1", "suspend: true")
	}},
	"PostgreSQL is down, and suspend holds a rotation": {
		before: func(t *testing.T, e platform.Environment) *stage {
			s := rotatedIn(t, e)
			s.Apply("rotationGeneration: 2", "suspend: true")
			s.eventually(func() bool { return s.history.last().Ready == "False Suspended" })
			return s
		},
		then: func(s *stage) {
			s.heal = func() { s.Apply("rotationGeneration: 2") }
			s.applies("rotationGeneration: 2", "suspend: true")
			s.Poke()
		},
	},
	"PostgreSQL is down, and another client has changed the password": {
		before: func(t *testing.T, e platform.Environment) *stage {
			s := rotatedIn(t, e)
			s.SQL("ALTER ROLE " + s.Role() + " PASSWORD 'changed'")
			s.Poke()
			return s
		},
		then: func(s *stage) {
			s.heal = func() { s.Apply("rotationGeneration: 2") }
			s.applies("rotationGeneration: 1")
			s.Poke()
		},
	},
	"PostgreSQL is down, and Machines are moved": {
		before: func(t *testing.T, e platform.Environment) *stage {
			s := rotatedIn(t, e)
			s.roll()
			return s
		},
		then: func(s *stage) { s.applies("rotationGeneration: 2") },
	},
}

// The environment's server is down.
func TestWhilePostgreSQLIsDown(t *testing.T) {
	harness.Long(t)
	t.Parallel()
	e, server := platform.NewServer(t, "down")
	e.Install(t, server)
	play(t, whileDown, e, func() {
		server.Down()
		t.Cleanup(func() { _ = server.Up(context.Background()) }) // an error: it is up
		e.WaitFor(t, "Ready", "False")
	}, func() { require.NoError(t, server.Up(t.Context())) })
}

var inTurn = map[string]scene{"A turn is waited for": {before: rotatedIn, then: asksAgain}}

var terminating = map[string]scene{"The environment is being deleted": {before: rotatedIn, then: asksAgain}}

// One rotation at a time: another tenant has its turn; then the environment is deleted, and stays for that tenant's sake.
func TestWhileAnotherTenantHasItsTurn(t *testing.T) {
	harness.Long(t)
	t.Parallel()
	e, server := platform.NewServer(t, "turn")
	manifest := e.Manifest(t, "maxConcurrent: 1")
	e.Prepare(t, server, manifest)
	e.Create(t, manifest)
	e.WaitFor(t, "Ready", "True")
	other := rotatedIn(t, e)
	play(t, inTurn, e, func() { other.roll() }, func() { other.requireHealed() })

	harness.Kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", `{"spec":{"maxConcurrent":2}}`) // a turn is free now
	play(t, terminating, e, func() {
		other.roll("rotationGeneration: 3")
		harness.Kubectl(t, "", "delete", "tenv", e.Name, "--wait=false")
	}, func() {
		other.requireHealed()
		harness.Kubectl(t, "", "wait", "tenv", e.Name, "--for=delete", "--timeout=150s")
		other.eventually(func() bool { return other.history.last().Ready == "False EnvironmentNotFound" }) // though nothing is due
		harness.Kubectl(t, manifest, "apply", "-f", "-")
	})
}

var whilePaused = map[string]scene{"Rotations are paused": {before: rotatedIn, then: asksAgain}}

// PostgreSQL has lost what it knew of more tenants than a failover can have caught in progress.
func TestWhileRotationsArePaused(t *testing.T) {
	harness.Long(t)
	t.Parallel()
	e, server := platform.NewServer(t, "paused")
	e.Install(t, server, "maxConcurrent: 1")
	lost := []*stage{rotatedIn(t, e), rotatedIn(t, e)}
	play(t, whilePaused, e, func() {
		for _, s := range lost {
			s.SQL(fmt.Sprintf(`BEGIN; SET LOCAL session_replication_role = 'replica';
				DELETE FROM tenant_credentials.rotations WHERE tenant_id = '%s';
				UPDATE tenant_credentials.claims SET generation = 0 WHERE tenant_id = '%[1]s'; COMMIT`, s.ID))
		}
		server.Down()
		require.NoError(t, server.Up(t.Context()))
		e.WaitFor(t, "RotationsPaused", "True")
	}, func() {
		_, value, _ := strings.Cut(e.WaitFor(t, "RotationsPaused", "True"), "resume-rotations=")
		harness.Kubectl(t, "", "annotate", "tenv", e.Name, "credentials.systemprompt.io/resume-rotations="+strings.TrimSuffix(strings.Fields(value)[0], "."))
	})
}

// closedEnvironment is one that does not accept the tests' namespace; it has no server.
func closedEnvironment(t *testing.T) string {
	t.Helper()
	e := platform.Environment{Name: "closed-" + uuid.NewString()[:8], Port: os.Getenv("PGPORT")}
	e.Create(t, strings.Replace(e.Manifest(t), "example.com/environment: sandbox", "example.com/environment: elsewhere", 1))
	return e.Name
}
