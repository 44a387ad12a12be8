package checker

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHealthy(t *testing.T) {
	f := newFixture(t)
	require.Empty(t, f.check(nil, nil))
	snapshot, err := Take(context.Background(), f.config)
	require.NoError(t, err)
	require.Empty(t, f.check(snapshot, nil))
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", snapshot, *snapshot, snapshot, snapshot), acmeSecond)
}

// Each way in which one part can be wrong, and the finding about it.
func TestBroken(t *testing.T) {
	ready := func(o *object, status, reason string, more ...condition) {
		o.Status.Conditions = append([]condition{{"Ready", status, reason}}, more...)
	}
	tests := []struct {
		name string
		do   func(*fixture)
		says []string
	}{
		{"stored hash", func(f *fixture) { f.sql("UPDATE management.tenants SET password_hash = 'x' WHERE id = '" + acme + "'") },
			[]string{"stored hash is not the verifier", "stored hash is not the one that the ledger's revision 2 recorded"}},
		{"role's password", func(f *fixture) { f.sql("ALTER ROLE tenant_7dd06cd6 PASSWORD 'another one'") },
			[]string{"does not satisfy the verifier", "login with the DATABASE_URL of app sp-7dd06cd6 is refused: SQLSTATE 28P01", "not the one that the ledger's revision 2 recorded"}},
		{"no password", func(f *fixture) { f.sql("ALTER ROLE tenant_7dd06cd6 PASSWORD NULL") }, []string{"role tenant_7dd06cd6 has no password"}},
		{"second login left open", func(f *fixture) { f.sql("ALTER ROLE tenant_7dd06cd6_b LOGIN") }, []string{"login tenant_7dd06cd6_b is not in use, and can log in or has a password"}},
		{"previous login left with a password", func(f *fixture) {
			f.sql("ALTER ROLE tenant_7dd06cd6_b LOGIN; ALTER ROLE tenant_7dd06cd6 NOLOGIN; UPDATE tenant_credentials.rotations SET login = 'tenant_7dd06cd6_b' WHERE revision = 2")
		}, []string{"login tenant_7dd06cd6 is not in use", "role tenant_7dd06cd6_b has no password", "names another user than role tenant_7dd06cd6_b"}},
		{"left rolled", func(f *fixture) { f.sql("UPDATE tenant_credentials.rotations SET state = 'rolled' WHERE revision = 2") }, []string{"revision 2 is left rolled"}},
		{"role gone", func(f *fixture) {
			f.sql("UPDATE management.tenants SET db_role = 'tenant_none' WHERE id = '" + acme + "'")
		},
			[]string{"role tenant_none does not exist", "claim names role tenant_7dd06cd6, and the management table tenant_none"}},
		{"may not log in", func(f *fixture) { f.sql("ALTER ROLE tenant_7dd06cd6 NOLOGIN") }, []string{"is refused: SQLSTATE 28000"}},
		{"row gone", func(f *fixture) { f.sql("DELETE FROM management.tenants WHERE id = '" + acme + "'") }, []string{"management table has no row"}},
		{"ledger's digest", func(f *fixture) {
			f.sql("UPDATE tenant_credentials.rotations SET verifier_digest = '' WHERE revision = 2")
		},
			[]string{"verifier of role tenant_7dd06cd6 is not the one that the ledger's revision 2 recorded"}},
		{"adopted digest", func(f *fixture) {
			f.sql("UPDATE tenant_credentials.claims SET hash_digest = '' WHERE tenant_id = '" + beta + "'")
		},
			[]string{"tenant " + beta + " (tenants/beta): the stored hash is not the one that the claim, which no rotation has followed, recorded"}},
		{"claim gone", func(f *fixture) { f.sql("DELETE FROM tenant_credentials.claims WHERE tenant_id = '" + acme + "'") },
			[]string{"no object holds its claim", "is Ready, and does not hold the tenant's claim"}},

		{"row left open", func(f *fixture) {
			f.sql("UPDATE tenant_credentials.rotations SET state = 'committed', completed_at = NULL WHERE revision = 2")
		},
			[]string{"revision 2 is left committed", "disagree on whether revision 2 is completed"}},
		{"rotated twice for one generation", func(f *fixture) { f.sql("UPDATE tenant_credentials.rotations SET generation = 2") },
			[]string{"revision 2 rotated for generation 2, which revision 1 had done"}},
		{"revision missing", func(f *fixture) { f.sql("DELETE FROM tenant_credentials.rotations WHERE revision = 1") },
			[]string{"revision 2 where 1 has to follow"}},
		{"unknown state", func(f *fixture) { f.sql("UPDATE tenant_credentials.rotations SET state = 'odd' WHERE revision = 1") },
			[]string{`revision 1 has the unknown state "odd"`}},
		{"completed without a time", func(f *fixture) {
			f.sql("UPDATE tenant_credentials.rotations SET completed_at = NULL WHERE revision = 1")
		}, []string{"revision 1 is completed, and its row lacks"}},

		{"Fly has an old value", func(f *fixture) { f.apps["sp-7dd06cd6"].Secrets[0].Value = f.url(acme, acmeFirst) },
			[]string{"the password in DATABASE_URL of app sp-7dd06cd6 does not satisfy", "Machine one of app sp-7dd06cd6 runs with another", "28P01"}},
		{"Fly has another's login", func(f *fixture) { f.apps["sp-7dd06cd6"].Secrets[0].Value = f.url(beta, betaFirst) },
			[]string{"names another user than role tenant_7dd06cd6", "names another database than site_7dd06cd6"}},
		{"Fly has another host", func(f *fixture) { f.port++ }, []string{"does not lead to 127.0.0.1"}},
		{"Fly has no URL", func(f *fixture) { f.apps["sp-7dd06cd6"].Secrets[0].Value = "hello" }, []string{"is not the URL of a login"}},
		{"Fly has nothing", func(f *fixture) { f.apps["sp-7dd06cd6"].Secrets = nil }, []string{"revision 2 was delivered, and app sp-7dd06cd6 has no secret"}},
		{"Fly's digest", func(f *fixture) { f.apps["sp-7dd06cd6"].Secrets[0].Digest = "d" }, []string{"has digest digest-2 of DATABASE_URL, and Fly has d"}},
		{"Fly's version", func(f *fixture) { f.apps["sp-7dd06cd6"].Secrets[0].Version = "9" }, []string{"has version 102 of DATABASE_URL, and Fly has 9"}},
		{"organization", func(f *fixture) { f.apps["sp-b1e0c0de"].Organization = "other" }, []string{"belongs to organization other"}},
		{"stale Machine", func(f *fixture) { f.apps["sp-7dd06cd6"].Machines[1].Env["DATABASE_URL"] = f.url(acme, acmeFirst) },
			[]string{"Machine two of app sp-7dd06cd6 runs with another DATABASE_URL than Fly has"}},

		{"status revision", func(f *fixture) { f.objects[0].Status.Revision = 1 }, []string{"status.revision is 1, and the ledger's is 2"}},
		{"status of an adopted one", func(f *fixture) { f.objects[1].Status.Revision = 1 }, []string{"status.revision is 1, and the ledger has none"}},
		{"status generation", func(f *fixture) { f.objects[0].Status.RotationGeneration = 1 }, []string{"status.rotationGeneration is 1, and the claim's is 2"}},
		{"status version", func(f *fixture) { f.objects[0].Status.Fly.SecretVersion = "7" }, []string{`secretVersion is "7", and the ledger's is 102`}},
		{"status digest", func(f *fixture) { f.objects[0].Status.Fly.SecretDigest = "d" }, []string{`secretDigest is "d", and the ledger's is digest-2`}},
		{"status without them", func(f *fixture) { f.objects[0].Status.Fly, f.objects[0].Status.LastRotation = nil, nil },
			[]string{"status.fly is missing", "status.lastRotation is missing"}},
		{"status of an old object", func(f *fixture) { f.objects[0].Metadata.Generation = 4 }, []string{"speaks of generation 3 of the object, which is at 4"}},
		{"Ready too early", func(f *fixture) { f.objects[0].Spec.RotationGeneration = 3 }, []string{"of generation 3 that is asked for only 2 is done"}},
		{"not Ready though done", func(f *fixture) { ready(f.objects[0], "False", "X", condition{"Reconciling", "True", "X"}) },
			[]string{"is not Ready (X), and generation 2 that is asked for is done"}},
		{"nothing at all", func(f *fixture) { ready(f.objects[0], "Unknown", "Pending") }, []string{"is neither Ready nor Reconciling nor Stalled"}},
		{"both", func(f *fixture) {
			ready(f.objects[0], "False", "X", condition{"Reconciling", "True", "X"}, condition{"Stalled", "True", "X"})
		}, []string{"is both Reconciling and Stalled"}},
		{"Ready and Stalled", func(f *fixture) { ready(f.objects[0], "True", "X", condition{"Stalled", "True", "X"}) }, []string{"is Ready, and Reconciling or Stalled too"}},
		{"another object for it", func(f *fixture) { f.objects = append(f.objects, f.object("thief", acme, "uid-of-thief", 2)) },
			[]string{"tenants/thief is Ready, and does not hold the tenant's claim"}},
		{"unknown tenant", func(f *fixture) {
			f.objects = append(f.objects, f.object("ghost", "00000000-0000-4000-8000-000000000000", "uid", 0))
		}, []string{"the server of environment sandbox knows no such tenant"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			test.do(f)
			said := strings.Join(f.check(nil, nil), "\n")
			for _, wanted := range test.says {
				require.Contains(t, said, wanted)
			}
		})
	}
}

func TestReadoptedMayRepeatAGeneration(t *testing.T) {
	f := newFixture(t)
	f.sql("UPDATE tenant_credentials.rotations SET generation = 2; INSERT INTO tenant_credentials.adoptions VALUES ('" + acme + "', '2026-01-03 12:00Z')")
	require.Empty(t, f.check(nil, nil))
}

// The fly command does not tell the version of what it set.
func TestRotatedByHand(t *testing.T) {
	f := newFixture(t)
	f.sql("UPDATE tenant_credentials.rotations SET fly_secret_version = NULL WHERE revision = 2")
	require.Len(t, f.check(nil, nil), 1)
	f.objects[0].Status.Fly.SecretVersion = "0"
	require.Empty(t, f.check(nil, nil))
}

// Two environments may lead to one server.
func TestAnotherEnvironmentOfTheServer(t *testing.T) {
	f := newFixture(t)
	f.objects[0].Spec.EnvironmentRef.Name = "sandbox-again"
	require.Empty(t, f.check(nil, nil))
	f.objects[0].Status.Revision = 1
	require.Len(t, f.check(nil, nil), 1)
	f.objects[0].Spec.EnvironmentRef.Name = "unknown"
	require.Contains(t, strings.Join(f.check(nil, nil), ""), "the server of environment unknown knows no such tenant")
}

// One that waits for its app, or for a person, or is not asked for anything, is as it should be.
func TestNotReadyForAReason(t *testing.T) {
	f := newFixture(t)
	f.objects[1].Status.Conditions = []condition{{"Ready", "False", "FlyAppNotFound"}, {"Reconciling", "True", "X"}}
	delete(f.apps, "sp-b1e0c0de")
	f.objects[0].Status.Conditions = []condition{{"Ready", "False", "TenantNotBound"}, {"Stalled", "True", "X"}}
	require.Empty(t, f.check(nil, nil))
}

// A place that cannot be searched is not passed over.
func TestCannotLook(t *testing.T) {
	tests := map[string]struct {
		do   func(*fixture)
		says string
	}{
		"log":     {func(f *fixture) { f.config.LogFiles[0] += "-missing" }, "cannot be searched for passwords"},
		"manager": {func(f *fixture) { f.config.ManagerLog += "-missing" }, "cannot be searched for passwords"},
		"folder":  {func(f *fixture) { f.config.ManagerDir += "-missing" }, "cannot be searched for passwords"},
		"data":    {func(f *fixture) { f.config.Environments[0].DataDir += "-missing" }, "cannot be searched for passwords"},
		"etcd":    {func(f *fixture) { f.config.EtcdDir = f.t.TempDir() }, "has no file"},
		"metrics": {func(f *fixture) { f.config.MetricsURL += "-missing" }, "the metrics cannot be searched"},
		"Fly":     {func(f *fixture) { f.config.FlyAdminURL += "/x" }, "the Fly emulator cannot be read"},
		"kubectl": {func(f *fixture) { f.config.Kubectl = "/bin/false" }, "the cluster cannot be read"},
		"ledger": {func(f *fixture) {
			f.config.Environments[0].SuperuserURL = server.URL("tenant_7dd06cd6", acmeSecond, "site_7dd06cd6")
		}, "PostgreSQL of sandbox cannot be read"},
		"environment": {func(f *fixture) { f.config.Environments = nil }, "no environment"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			test.do(f)
			require.Contains(t, strings.Join(f.check(nil, nil), "\n"), test.says)
		})
	}
}

// third is a rotation of acme to a new password, as it should be.
func third(f *fixture) {
	const password = "tHirdOneOfAcmeDDDDDDDDDDDDDDDDDDD"
	f.sql("ALTER ROLE tenant_7dd06cd6 PASSWORD '" + password + "'; UPDATE management.tenants SET password_hash = rolpassword FROM pg_authid WHERE rolname = 'tenant_7dd06cd6' AND id = '" + acme + "';" +
		`INSERT INTO tenant_credentials.rotations SELECT tenant_id, 3, state, 3, cause, field_manager, role, sha256(convert_to(password_hash, 'UTF8')), sha256(convert_to(password_hash, 'UTF8')),
		NULL, r.fly_app, 103, 'digest-3', '2026-02-01', '2026-02-01', '2026-02-01' FROM tenant_credentials.rotations r JOIN management.tenants ON id = tenant_id WHERE revision = 2;
		UPDATE tenant_credentials.claims SET generation = 3 WHERE tenant_id = '` + acme + "'")
	f.apps["sp-7dd06cd6"] = f.app(acme, acmeFound, acmeFirst, acmeSecond, password)
	f.objects[0] = f.object("acme", acme, acmeUID, 3)
}

// The rotations due since a snapshot, and those done.
func TestDue(t *testing.T) {
	tests := []struct {
		name string
		do   func(*fixture)
		due  map[string]int
		says []string
	}{
		{"due and done", third, map[string]int{acme: 1}, nil},
		{"done and not due", third, nil, []string{"0 rotations were due, and 1 were completed", "its role's password was changed", "its stored hash was changed", "its value at Fly was changed"}},
		{"due and not done", func(*fixture) {}, map[string]int{acme: 1},
			[]string{"1 rotations were due, and 0 were completed", "the password from before the rotation is still accepted"}},
		{"due for another", third, map[string]int{acme: 1, beta: 1}, []string{beta + " (tenants/beta): 1 rotations were due, and 0 were completed"}},
		{"due for no tenant", third, map[string]int{acme: 1, "unknown": 1}, []string{"unknown: 1 rotations were due, and no server knows the tenant"}},
		{"old password still good", func(f *fixture) {
			third(f)
			f.sql("ALTER ROLE tenant_7dd06cd6 PASSWORD '" + acmeSecond + "'")
		}, map[string]int{acme: 1}, []string{"the password from before the rotation is still accepted"}},
		{"tenant gone", func(f *fixture) {
			f.sql("DELETE FROM management.tenants WHERE id = '" + beta + "'; DELETE FROM tenant_credentials.claims WHERE tenant_id = '" + beta + "'; DELETE FROM tenant_credentials.adoptions WHERE tenant_id = '" + beta + "'")
		}, nil, []string{"it is gone from the management table and from the ledger"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			snapshot, err := Take(context.Background(), f.config)
			require.NoError(t, err)
			test.do(f)
			said := f.check(snapshot, test.due)
			if test.says == nil {
				require.Empty(t, said)
			}
			for _, wanted := range test.says {
				require.Contains(t, strings.Join(said, "\n"), wanted)
			}
		})
	}
}

func TestServed(t *testing.T) {
	cause := func(cause string) func(*fixture) {
		return func(f *fixture) {
			third(f)
			f.sql("UPDATE tenant_credentials.rotations SET cause = '" + cause + "' WHERE revision = 3")
		}
	}
	tests := []struct {
		name   string
		do     func(*fixture)
		raised map[string]int
		says   []string
	}{
		{"raised and done", third, map[string]int{acme: 1}, nil},
		{"requested and done", cause("Requested"), map[string]int{acme: 1}, nil},
		{"two raises done by one", third, map[string]int{acme: 2}, nil},
		{"nothing raised", func(*fixture) {}, nil, nil},
		{"raised and not done", func(*fixture) {}, map[string]int{acme: 1},
			[]string{"its generation was raised 1 times, and 0 rotations were completed", "the password from before the rotation is still accepted"}},
		{"not raised and done", third, nil, []string{"its generation was raised 0 times, and 1 rotations were completed", "its role's password was changed"}},
		{"another generation is asked for", func(f *fixture) {
			third(f)
			f.objects[0].Spec.RotationGeneration = 4
		}, map[string]int{acme: 2}, []string{"generation 4 is asked for, and 3 is done"}},
		{"for no reason", cause("FlySuperseded"), map[string]int{acme: 1}, []string{"revision 3 was made for FlySuperseded, and nothing before it had to be made good"}},
		{"made good", func(f *fixture) {
			cause("FlySuperseded")(f)
			f.sql("UPDATE tenant_credentials.rotations SET state = 'completed' WHERE revision = 3")
		}, map[string]int{acme: 1}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if test.name == "made good" {
				f.sql("UPDATE tenant_credentials.rotations SET state = 'superseded' WHERE revision = 2")
			}
			snapshot, err := Take(context.Background(), f.config)
			require.NoError(t, err)
			test.do(f)
			var said []string
			for _, v := range CheckServed(context.Background(), f.config, snapshot, test.raised) {
				said = append(said, v.String())
			}
			if test.says == nil {
				require.Empty(t, said)
			}
			for _, wanted := range test.says {
				require.Contains(t, strings.Join(said, "\n"), wanted)
			}
		})
	}
}
