package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/test/checker"
)

func (t tenant) role() string     { return "tenant_" + t.id[:8] }
func (t tenant) app() string      { return "sp-" + t.id[:8] }
func (t tenant) password() string { return "initial" + t.id[:8] }

// sharedDatabases serve all tenants: a database for each of a thousand would take minutes to make, and the protocol does not look at it.
const sharedDatabases = 20

func database(i int) string { return fmt.Sprintf("shared_%02d", i%sharedDatabases) }

func initialURL(i int, t tenant) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%s/%s", t.role(), t.password(), os.Getenv("PGPORT"), database(i))
}

func objectName(i int) string { return fmt.Sprintf("soak-%03d", i) }

// maxConnections is what the environment's server has for the operator.
const maxConnections = 16

// fleet is a system whose tenants are adopted, with what the checker needs to judge what becomes of them.
type fleet struct {
	*system
	managers *managers
	all      *view
	config   checker.Config
	before   *checker.Snapshot

	ctx    context.Context // until rest
	stop   context.CancelFunc
	beside sync.WaitGroup
}

// startFleet makes the tenants, has them adopted, and allows so many rotations at once. see is told of every version of every object.
func startFleet(t *testing.T, tenants []tenant, concurrent int, see func(*v1alpha1.TenantCredential, bool)) *fleet {
	t.Helper()
	f := &fleet{system: newSystem(t), all: &view{}}
	f.hastenClock(t)
	f.provision(t, tenants)
	f.resize(t, concurrent, maxConnections)
	f.managers = newManagers(t, f.system)
	f.ctx, f.stop = context.WithCancel(t.Context())
	t.Cleanup(f.stop)
	f.meanwhile(func(ctx context.Context) { f.follow(ctx, f.all, namespace, see) })
	f.adopt(t, f.all, tenants)
	config, err := checker.FromEnvironment()
	require.NoError(t, err)
	f.config = withoutLogs(config)
	f.before, err = checker.Take(t.Context(), f.config)
	require.NoError(t, err)
	return f
}

// meanwhile does something until rest.
func (f *fleet) meanwhile(do func(context.Context)) { f.beside.Go(func() { do(f.ctx) }) }

func (f *fleet) rest() {
	f.stop()
	f.beside.Wait()
}

// withoutLogs leaves the search for passwords, which takes minutes, to the checker that comes after all tests.
func withoutLogs(c checker.Config) checker.Config {
	c.LogFiles, c.ManagerLog, c.GatewayLog, c.ManagerDir, c.EtcdDir, c.MetricsURL, c.GatewayMetricsURL = nil, "", "", "", "", "", ""
	c.Environments = slices.Clone(c.Environments)
	for i := range c.Environments {
		c.Environments[i].LogFile, c.Environments[i].DataDir = "", ""
	}
	return c
}

// resize sets how many rotations at once, and how many connections, the environment allows.
func (s *system) resize(t *testing.T, concurrent, connections int) {
	t.Helper()
	e := &v1alpha1.TenantEnvironment{}
	e.Name = environment
	patch := fmt.Sprintf(`{"spec":{"maxConcurrent":%d,"postgres":{"maxConnections":%d}}}`, concurrent, connections)
	require.NoError(t, s.client.Patch(t.Context(), e, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// hastenClock has each Machine that is made from now on look as if it had run for 20 s longer: a rollout watches each for 10 s, and
// waiting for that proves nothing here.
func (s *system) hastenClock(t *testing.T) {
	t.Helper()
	require.NoError(t, s.adminCall(t.Context(), http.MethodPost, "/admin/clock", map[string]int{"advance_ms": -20_000}, nil))
}

// shortenLogins bounds how long a login may last: a rotation after a compromise is completed that much later.
func (s *system) shortenLogins(t *testing.T) {
	t.Helper()
	connection, err := s.connect(t.Context())
	require.NoError(t, err)
	defer connection.Close(t.Context())
	for _, statement := range []string{"ALTER SYSTEM SET authentication_timeout = '10s'", "SELECT pg_reload_conf()"} {
		_, err := connection.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
}

// provision makes the tenants as the platform would: rows, roles, databases, apps and Machines.
func (s *system) provision(t *testing.T, tenants []tenant) {
	t.Helper()
	require.NoError(t, s.provisionServer(t.Context(), tenants))
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for i, x := range tenants {
		group.Go(func() error { return s.provisionApp(ctx, i, x) })
	}
	require.NoError(t, group.Wait())
}

func (s *system) provisionServer(ctx context.Context, tenants []tenant) error {
	connection, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	for i := range sharedDatabases {
		if _, err := connection.Exec(ctx, "CREATE DATABASE "+database(i)); err != nil {
			return err
		}
	}
	batch := &pgx.Batch{}
	for i, x := range tenants {
		batch.Queue("CREATE ROLE " + x.role() + " LOGIN PASSWORD '" + x.password() + "'")
		if strategy(x.id) == v1alpha1.RotationStrategyOverlap {
			batch.Queue("SELECT tenant_credentials.prepare_overlap($1)", x.role())
		}
		batch.Queue("INSERT INTO management.tenants (id, name, password_hash, db_name) SELECT $1, $2, rolpassword, $3 FROM pg_authid WHERE rolname = $4",
			x.id, objectName(i), database(i), x.role())
	}
	return connection.SendBatch(ctx, batch).Close()
}

func (s *system) provisionApp(ctx context.Context, i int, x tenant) error {
	if err := s.adminCall(ctx, http.MethodPut, "/admin/apps/"+x.app(), map[string]string{"organization": "example-" + environment, "variable": variable}, nil); err != nil {
		return err
	}
	if err := s.adminCall(ctx, http.MethodPut, "/admin/apps/"+x.app()+"/secrets/"+variable, map[string]string{"value": initialURL(i, x)}, nil); err != nil {
		return err
	}
	deployed := map[string]any{"image": "registry.fly.io/soak:deployment-1", "age_seconds": 3600}
	if err := s.adminCall(ctx, http.MethodPost, "/admin/apps/"+x.app()+"/releases", deployed, nil); err != nil {
		return err
	}
	for _, state := range x.machines {
		if err := s.addMachine(ctx, x, state); err != nil {
			return err
		}
	}
	return nil
}

// machineConfig is a small app's, which logs in at its start and then at this interval.
const machineConfig = `{"image":"registry.fly.io/soak:deployment-1","env":{"PRIMARY_REGION":"fra","LOGIN_INTERVAL":%q},
	"metadata":{"fly_platform_version":"v2","fly_process_group":"app"},"restart":{"policy":"on-failure","max_retries":3},
	"checks":{"health":{"type":"http","port":8080,"method":"get","path":"/health","interval":"15s","timeout":"2s","grace_period":"5s"}}}`

func (s *system) addMachine(ctx context.Context, x tenant, state string) error {
	return s.adminCall(ctx, http.MethodPost, "/admin/apps/"+x.app()+"/machines", map[string]any{"state": state, "config": json.RawMessage(fmt.Sprintf(machineConfig, x.logsInEvery.String()))}, nil)
}

// adopt binds the namespace to the tenants, makes their objects, and waits until each is adopted as it was found.
func (s *system) adopt(t *testing.T, v *view, tenants []tenant) {
	t.Helper()
	var labels strings.Builder
	for _, x := range tenants {
		fmt.Fprintf(&labels, `,"tenant.credentials.systemprompt.io/%s":"allowed"`, x.id)
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{`+labels.String()[1:]+`}}}`))
	ns := &corev1.Namespace{}
	ns.Name = namespace
	require.NoError(t, s.client.Patch(t.Context(), ns, patch))
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for i, x := range tenants {
		group.Go(func() error { return s.client.Create(ctx, object(objectName(i), x.id, 0)) })
	}
	require.NoError(t, group.Wait())
	v.awaitSettled(t, len(tenants), outageBound)
}

func describe(o *v1alpha1.TenantCredential) string {
	text := fmt.Sprintf("%s (tenant %s): generation %d of %d, observed %d of %d, suspend %v", o.Name, o.Spec.TenantID, o.Status.RotationGeneration, o.AskedGeneration(),
		o.Status.ObservedGeneration, o.Generation, o.Spec.Suspend)
	for _, c := range o.Status.Conditions {
		if c.Type == v1alpha1.ReadyCondition {
			text += fmt.Sprintf("; %s: %s", c.Reason, c.Message)
		}
	}
	if f := o.Status.Failure; f != nil {
		text += fmt.Sprintf(" (%d attempts, again at %s)", f.Attempts, f.RetryTime.Format(time.TimeOnly))
	}
	return text
}
