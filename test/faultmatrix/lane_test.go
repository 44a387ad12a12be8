package faultmatrix

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

const operatorNamespace = "tcred-system"

var credentials = schema.GroupVersionResource{Group: "credentials.systemprompt.io", Version: "v1alpha1", Resource: "tenantcredentials"}

// lane is a playground whose manager is replaced by two that stand behind proxies: one leads, the other stands by where a cell wants it.
type lane struct {
	rules    *faultproxy.Rules
	postgres *faultproxy.Postgres
	fly      *faultproxy.HTTP
	leader   *seat
	standby  *seat

	cluster   kubernetes.Interface
	objects   dynamic.ResourceInterface
	superuser *pgx.Conn
	config    checker.Config // without the search for passwords, which the end of the lane makes
	restore   []func()

	tenants map[bool]platform.Tenant // by whether they have two logins; the next cell makes one that is not there
}

func newLane(t *testing.T) *lane {
	t.Helper()
	require.NoError(t, harness.Playground("manager-down").Run())
	l := &lane{tenants: map[bool]platform.Tenant{}, rules: faultproxy.NewRules()}
	admin, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	require.NoError(t, err)
	l.cluster, err = kubernetes.NewForConfig(admin)
	require.NoError(t, err)
	objects, err := dynamic.NewForConfig(admin)
	require.NoError(t, err)
	l.objects = objects.Resource(credentials).Namespace("tenants-sandbox")
	l.superuser = platform.Sandbox().Connect(t)
	l.config, err = checker.FromEnvironment()
	require.NoError(t, err)
	l.config.LogFiles, l.config.EtcdDir, l.config.MetricsURL = nil, "", ""

	// Every Machine looks as if it had run for 20 s longer than it has: that it is watched for 10 s is tested elsewhere.
	platform.Admin(t, http.MethodPost, "/admin/clock", `{"advance_ms":-20000}`, nil)
	// The shorter a login may last, the sooner a rotation that ends sessions is completed.
	_, err = l.superuser.Exec(t.Context(), "ALTER SYSTEM SET authentication_timeout = '5s'")
	require.NoError(t, err)
	_, err = l.superuser.Exec(t.Context(), "SELECT pg_reload_conf()")
	require.NoError(t, err)
	var playground []string
	platform.Admin(t, http.MethodGet, "/admin/apps", "", &playground)
	for _, name := range playground {
		destroyMachines(t, name)
	}
	l.layGates(t)
	l.putProxies(t)
	l.leader, l.standby = l.newSeat(t, "a"), l.newSeat(t, "b")
	l.leader.start(t)
	t.Cleanup(func() { l.close(t) })
	return l
}

// destroyMachines destroys those of an app that no cell is about now: each logs in every second.
func destroyMachines(t *testing.T, name string) {
	t.Helper()
	var app struct{ Machines []struct{ ID string } }
	platform.Admin(t, http.MethodGet, "/admin/apps/"+name, "", &app)
	for _, m := range app.Machines {
		platform.Admin(t, http.MethodDelete, "/admin/apps/"+name+"/machines/"+m.ID, "", nil)
	}
}

// putProxies has the environment's login and Fly's address lead to the proxies.
func (l *lane) putProxies(t *testing.T) {
	t.Helper()
	var err error
	l.postgres, err = faultproxy.NewPostgres(net.JoinHostPort("127.0.0.1", os.Getenv("PGPORT")), l.rules)
	require.NoError(t, err)
	target, err := url.Parse(os.Getenv("FLY_API_BASE_URL"))
	require.NoError(t, err)
	l.fly = faultproxy.NewFly(target, l.rules)

	setURL := func(text string) {
		harness.Kubectl(t, `{"stringData":{"url":"`+text+`"}}`, "-n", operatorNamespace, "patch", "secret", "postgres-sandbox", "--patch-file=/dev/stdin")
	}
	setFly := func(text string) {
		harness.Kubectl(t, "", "patch", "tenv", "sandbox", "--type=merge", "-p", `{"spec":{"fly":{"apiURL":"`+text+`"}}}`)
	}
	encoded := harness.Kubectl(t, "", "-n", operatorNamespace, "get", "secret", "postgres-sandbox", "-o", "jsonpath={.data.url}")
	direct, err := base64.StdEncoding.DecodeString(encoded)
	require.NoError(t, err)
	login, err := url.Parse(string(direct))
	require.NoError(t, err)
	login.Host = l.postgres.Address
	setURL(login.String())
	setFly(l.fly.URL)
	l.restore = append(l.restore, func() { setURL(string(direct)); setFly(target.String()) })
}

// close leaves the playground as it was found, so that its own manager, and the checker after the last test, look at everything.
func (l *lane) close(t *testing.T) {
	l.rules.Set(nil)
	l.leader.kill()
	l.standby.kill()
	for _, f := range l.restore {
		f()
	}
	l.deleteLease(t)
	l.postgres.Close()
	l.fly.Close()
	l.leader.network.Close()
	l.standby.network.Close()
	require.NoError(t, l.superuser.Close(context.Background()))
	require.NoError(t, harness.Playground("manager-up").Run())
	harness.Kubectl(t, "", "wait", "tenv", "--all", "--for=condition=Ready", "--timeout=60s")
}

// use returns the tenant of this lane that has one login, or the one that has two, and makes it with two Machines where there is none. The
// other one is done with.
func (l *lane) use(t *testing.T, overlap bool) platform.Tenant {
	t.Helper()
	if other, is := l.tenants[!overlap]; is {
		destroyMachines(t, other.App())
		delete(l.tenants, !overlap)
	}
	if _, is := l.tenants[overlap]; !is {
		x := platform.NewTenant(t, "started", "started")
		strategy := "InPlace"
		if overlap {
			strategy = "Overlap"
			x.SQL("SELECT tenant_credentials.prepare_overlap('" + x.Role() + "')")
		}
		x.Apply("rotationGeneration: 1", "rotation: {strategy: "+strategy+"}")
		x.WaitReady()
		l.tenants[overlap] = x
	}
	return l.tenants[overlap].For(t)
}

// abandon forgets a tenant that a failed cell has left in an unknown state, with its object.
func (l *lane) abandon(t *testing.T, overlap bool) {
	name := l.tenants[overlap].Name
	destroyMachines(t, l.tenants[overlap].App())
	delete(l.tenants, overlap)
	_, _ = harness.Try("", "-n", "tenants-sandbox", "patch", "tcred", name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	output, err := harness.Try("", "-n", "tenants-sandbox", "delete", "tcred", name, "--wait=false")
	if err != nil {
		t.Log(output)
	}
}

const leaseName = "tenant-credential-operator"

// lease returns the leader; "" = none.
func (l *lane) lease(ctx context.Context) (holder string, err error) {
	lease, err := l.cluster.CoordinationV1().Leases(operatorNamespace).Get(ctx, leaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", err
	case lease.Spec.HolderIdentity == nil:
		return "", nil
	}
	return *lease.Spec.HolderIdentity, nil
}

func (l *lane) holder(t *testing.T) string {
	t.Helper()
	holder, err := l.lease(context.Background())
	require.NoError(t, err)
	return holder
}

// deleteLease spares the wait for the end of a lease whose holder is known to be dead, or cut off.
func (l *lane) deleteLease(t *testing.T) {
	t.Helper()
	err := l.cluster.CoordinationV1().Leases(operatorNamespace).Delete(context.Background(), leaseName, metav1.DeleteOptions{})
	if !apierrors.IsNotFound(err) {
		require.NoError(t, err)
	}
}

// newSeat is a place for a manager, with a network of its own to the API server.
func (l *lane) newSeat(t *testing.T, name string) *seat {
	t.Helper()
	config, err := clientcmd.LoadFromFile(filepath.Join(os.Getenv("PLAYGROUND_DIR"), "manager.kubeconfig"))
	require.NoError(t, err)
	cluster := config.Clusters[config.Contexts[config.CurrentContext].Cluster]
	target, err := url.Parse(cluster.Server)
	require.NoError(t, err)
	trust, err := rest.TLSConfigFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CAData: cluster.CertificateAuthorityData}})
	require.NoError(t, err)
	s := &seat{
		lane: l, name: name, network: faultproxy.NewKubernetes(target, trust, l.rules),
		kubeconfig: filepath.Join(os.Getenv("PLAYGROUND_DIR"), "manager-"+name+".kubeconfig"),
		log:        filepath.Join(os.Getenv("PLAYGROUND_LOG_DIR"), "manager-"+name+".log"),
	}
	cluster.Server, cluster.CertificateAuthorityData = s.network.URL, s.network.Certificate()
	require.NoError(t, clientcmd.WriteToFile(*config, s.kubeconfig))
	return s
}

// within asks until it is so.
func within(t *testing.T, patience time.Duration, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(100 * time.Millisecond) { // no event tells
		require.True(t, time.Now().Before(deadline), "%s: not within %s", what, patience)
	}
}

// tail is the end of a file, for the message of a failed cell.
func tail(path string, lines int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(content)), "\n")
	return fmt.Sprintf("%s:\n%s", path, strings.Join(all[max(0, len(all)-lines):], "\n"))
}

func contains(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
