package status

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

const (
	oneLogin  = "rotation: {strategy: InPlace}"
	twoLogins = "rotation: {strategy: Overlap}"
)

// states bring a tenant of sandbox into each state of docs/status.md that neither needs an environment of its own nor takes anything from the others.
var states = map[string]func(t *testing.T) *stage{
	// At rest.
	"Adopted": func(t *testing.T) *stage {
		s := newTenant(t, "stopped")
		s.applies()
		return s
	},
	"Adopted, and the app has no such variable": func(t *testing.T) *stage {
		s := newTenant(t, "stopped")
		platform.Admin(t, http.MethodDelete, "/admin/apps/"+s.App()+"/secrets/DATABASE_URL", "", nil)
		s.applies()
		return s
	},
	"Rotated": func(t *testing.T) *stage {
		s := newTenant(t, "stopped")
		s.asks("rotationGeneration: 1")
		return s
	},
	"Rotated, because of a rotationRequest": func(t *testing.T) *stage {
		s := rotated(t)
		s.asks("rotationGeneration: 1", "rotationRequest: {replacesRevision: 1, reason: laptop lost}")
		return s
	},
	"Rotated, because of another delivery": func(t *testing.T) *stage {
		s := rotated(t)
		s.asks("rotationGeneration: 1", s.toSecret())
		return s
	},
	"The same manifest applied again": func(t *testing.T) *stage {
		s := rotated(t)
		s.applies("rotationGeneration: 1")
		s.Poke()
		return s
	},
	"A number that is done, or none": func(t *testing.T) *stage {
		s := rotated(t)
		s.applies()
		s.Poke()
		return s
	},
	"suspend, and nothing is due": func(t *testing.T) *stage {
		s := rotated(t)
		s.applies("rotationGeneration: 1", "suspend: true")
		s.Poke()
		return s
	},
	"Fly does not answer, and nothing is due": func(t *testing.T) *stage {
		s := rotated(t)
		s.Fault(`{"route":"*","status":503,"count":-1}`)
		s.applies("rotationGeneration: 1")
		s.Poke()
		return s
	},

	"Let in from outside": func(t *testing.T) *stage {
		s := rotated(t)
		s.applies("rotationGeneration: 1", "externalAccess: {}")
		return s
	},

	// In progress.
	"An attempt is being made": func(t *testing.T) *stage {
		s := rotated(t)
		s.heal = s.Fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"hang","count":1}`)
		s.asks("rotationGeneration: 2")
		s.eventually(func() bool { return s.Rows()["open"] == 1 })
		return s
	},
	"Machines are moved": rollingOut,
	"Raised again while Machines are moved": func(t *testing.T) *stage {
		s := rollingOut(t)
		s.asks("rotationGeneration: 3")
		s.Poke()
		return s
	},
	"suspend, and Machines are moved": func(t *testing.T) *stage {
		s := rollingOut(t)
		s.applies("rotationGeneration: 2", "suspend: true")
		s.Poke()
		return s
	},
	"rolloutPolicy: Staged waits for your deploy": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		s.SQL("SELECT tenant_credentials.prepare_overlap('" + s.Role() + "')")
		s.asks("rotationGeneration: 1", twoLogins, "delivery: {fly: {rolloutPolicy: Staged}}")
		return s
	},
	"The previous login is being closed": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		s.SQL("SELECT tenant_credentials.prepare_overlap('" + s.Role() + "')")
		session, err := pgx.Connect(t.Context(), s.InitialURL())
		require.NoError(t, err)
		s.heal = func() { require.NoError(t, session.Close(context.Background())) }
		s.asks("rotationGeneration: 1", twoLogins)
		return s
	},

	"External access is being ended": func(t *testing.T) *stage {
		s := newTenant(t, "stopped")
		s.given("rotationGeneration: 1", "externalAccess: {}")
		s.applies("rotationGeneration: 1")
		s.heal = func() {}
		return s
	},

	// Tried again.
	"Fly does not answer": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		s.heal = s.Fault(`{"route":"*","status":503,"count":-1}`)
		s.asks("rotationGeneration: 1")
		return s
	},
	"Fly refuses the token": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		s.heal = s.Fault(`{"route":"*","status":401,"count":-1}`)
		s.asks("rotationGeneration: 1")
		return s
	},
	"Fly's answer was lost": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		s.heal = s.Fault(`{"route":"POST /v1/apps/{app}/secrets","mode":"drop-response","count":-1}`)
		s.asks("rotationGeneration: 1")
		return s
	},
	"The new password cannot log in": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		s.SQL("ALTER ROLE " + s.Role() + " SET local_preload_libraries = 'nope'")
		s.asks("rotationGeneration: 1", oneLogin)
		return s
	},
	"A Machine's config hides the value from the app": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		platform.Admin(t, http.MethodPost, "/admin/apps/"+s.App()+"/machines", `{"state":"stopped","config":{"image":"app","env":{"DATABASE_URL":"postgres://kept"}}}`, nil)
		s.asks("rotationGeneration: 1")
		return s
	},
	"A Machine is leased": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		s.lease(3600)
		s.heal = func() { s.lease(1) }
		s.asks("rotationGeneration: 1")
		return s
	},
	"The app, role or row is missing": func(t *testing.T) *stage {
		s := newTenant(t)
		s.heal = func() { s.MakeApp(s.InitialURL(), "stopped") }
		s.asks("rotationGeneration: 1")
		return s
	},
	"The environment does not exist, whether anything is due or not": func(t *testing.T) *stage {
		s := newTenant(t, "stopped")
		s.asks("rotationGeneration: 1", "environmentRef: {name: nowhere}")
		return s
	},

	// Held.
	"suspend, and a rotation is due": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		s.heal = func() { s.Apply("rotationGeneration: 1") }
		s.asks("rotationGeneration: 1", "suspend: true")
		return s
	},

	// Stalled.
	"External access is asked for, and the environment has no address for it": func(t *testing.T) *stage {
		e := platform.NewEnvironment(t, "inside")
		harness.Kubectl(t, "", "patch", "tenv", e.Name, "--type=merge", "-p", `{"spec":{"postgres":{"external":null}}}`)
		return asksForAccess(t, e)
	},
	"External access is asked for, and pg_hba.conf does not require the group": func(t *testing.T) *stage {
		return asksForAccess(t, platform.NewEnvironment(t, "ruleless")) // a server without TLS
	},
	"The app, role or row is missing for more than ten minutes": func(t *testing.T) *stage {
		s := newTenant(t)
		s.heal = func() { s.MakeApp(s.InitialURL(), "stopped") }
		s.asks("rotationGeneration: 1")
		s.WaitReason("FlyAppNotFound")
		harness.Kubectl(t, "", "-n", "tenants-sandbox", "patch", "tcred", s.Name, "--subresource=status", "--type=json",
			"-p", fmt.Sprintf(`[{"op":"replace","path":"/status/conditions/0/lastTransitionTime","value":"%s"}]`, time.Now().Add(-11*time.Minute).UTC().Format(time.RFC3339)))
		s.Poke()
		return s
	},
	"The spec contradicts itself": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		s.asks("rotationGeneration: 1", "delivery: {fly: {rolloutPolicy: Staged}}")
		return s
	},
	"The environment does not accept the namespace": func(t *testing.T) *stage {
		s := newTenant(t, "stopped")
		s.asks("rotationGeneration: 1", "environmentRef: {name: "+closedEnvironment(t)+"}")
		return s
	},
	"The namespace is not bound to the tenant": func(t *testing.T) *stage {
		s := newTenant(t, "stopped")
		harness.Kubectl(t, "", "label", "namespace", "tenants-sandbox", "tenant.credentials.systemprompt.io/"+s.ID+"-")
		s.heal = s.Bind
		s.asks("rotationGeneration: 1")
		return s
	},
	"Another object holds the tenant": func(t *testing.T) *stage {
		first := adopted(t, "stopped")
		twin := first.Tenant
		twin.Name += "-twin"
		s := newStage(t, twin)
		s.heal = first.Delete
		s.asks("rotationGeneration: 1")
		return s
	},
	"Another tenant has the role or the app": func(t *testing.T) *stage {
		first := adopted(t, "stopped")
		s := newStage(t, platform.NewNamedRow(t, first.Short+uuid.NewString()[8:], first.Name+"-alike"))
		s.Bind()
		s.asks("rotationGeneration: 1")
		return s
	},
	"The role can do more than a tenant's may": func(t *testing.T) *stage {
		s := adopted(t, "stopped")
		s.SQL("ALTER ROLE " + s.Role() + " CREATEDB")
		s.heal = func() { s.SQL("ALTER ROLE " + s.Role() + " NOCREATEDB"); s.Poke() }
		s.asks("rotationGeneration: 1")
		return s
	},
	"Another client has changed the password, the hash or the value": func(t *testing.T) *stage {
		s := rotated(t)
		s.SQL("ALTER ROLE " + s.Role() + " PASSWORD 'changed'")
		s.Poke() // unprompted the operator looks twice an hour
		s.applies("rotationGeneration: 1")
		return s
	},
	"A Machine did not come up": func(t *testing.T) *stage {
		s := adopted(t, "started")
		s.patchMachines(`{"boot":"crash"}`)
		s.asks("rotationGeneration: 1")
		return s
	},
	"Adopted, and the connection Secret does not exist": func(t *testing.T) *stage {
		s := newTenant(t)
		s.applies(s.toSecret())
		return s
	},
	"The connection Secret is another client's": func(t *testing.T) *stage {
		s := newTenant(t)
		harness.Kubectl(t, "", "-n", "tenants-sandbox", "create", "secret", "generic", s.Name+"-db", "--from-literal=url=mine")
		s.heal = func() { s.DeleteSecret(s.Name + "-db"); s.Poke() }
		s.asks(s.toSecret(), "rotationGeneration: 1")
		return s
	},

	// Deleted.
	"Deleted while Machines are moved": func(t *testing.T) *stage {
		s := rollingOut(t)
		harness.Kubectl(t, "", "-n", "tenants-sandbox", "delete", "tcred", s.Name, "--wait=false")
		s.Poke()
		s.heal = nil // kubectl wait waits for an object that has gone, too
		return s
	},
}

// rollingOut is a rotated tenant whose second rotation rolls.
func rollingOut(t *testing.T) *stage {
	t.Helper()
	s := rotated(t)
	s.roll()
	return s
}

// roll has the tenant's next rotation committed, and another client keep its Machines from being moved.
func (s *stage) roll(spec ...string) {
	s.t.Helper()
	if len(spec) == 0 {
		spec = []string{"rotationGeneration: 2"}
	}
	mend := s.Fault(`{"route":"POST /v1/apps/{app}/machines/{id}","status":503,"count":-1}`)
	s.asks(spec...)
	s.eventually(func() bool { return s.Rows()["committed"] == 1 })
	s.lease(3600)
	mend()
	s.heal = func() { s.lease(1) }
	s.t.Cleanup(s.heal)
	s.eventually(func() bool { return s.history.last().Beside == "Reconciling RollingOut" })
}

// toSecret is the line of a spec that delivers to a Secret alone.
func (s *stage) toSecret() string { return "delivery: {connectionSecret: {name: " + s.Name + "-db}}" }

// lease has another client hold the lease of each Machine.
func (s *stage) lease(seconds int) {
	s.t.Helper()
	for _, machine := range s.Look().Machines {
		platform.Admin(s.t, http.MethodPost, "/admin/apps/"+s.App()+"/machines/"+machine.ID+"/lease", fmt.Sprintf(`{"owner":"a deployment","ttl":%d}`, seconds), nil)
	}
}

func (s *stage) patchMachines(body string) {
	s.t.Helper()
	for _, machine := range s.Look().Machines {
		platform.Admin(s.t, http.MethodPatch, "/admin/apps/"+s.App()+"/machines/"+machine.ID, body, nil)
	}
}

// eventually waits for what has no command of its own that waits.
func (s *stage) eventually(is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // between two looks
		if is() {
			return
		}
	}
	require.Fail(s.t, "it has not come about", s.Describe())
}

// asksForAccess is a tenant that asks in vain to be let in from outside, until it takes that back.
func asksForAccess(t *testing.T, e platform.Environment) *stage {
	t.Helper()
	s := newStage(t, platform.NewTenantIn(t, e, "stopped"))
	s.given()
	s.applies("externalAccess: {}")
	s.heal = func() { s.Apply() }
	return s
}
