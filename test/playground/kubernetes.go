package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

const (
	operatorNamespace = "tcred-system"
	operatorAccount   = "tenant-credential-operator"
	metricsAccount    = "metrics-reader"
	year              = int64(365 * 24 * 3600)
)

// auditPolicy has the API server write down every request and every answer, whole.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
rules: [{level: RequestResponse}]
`

// cluster is a kube-apiserver with etcd.
type cluster struct {
	plane   *envtest.ControlPlane
	config  *rest.Config
	files   files
	kubectl string
}

// startCluster tries anew where another process took a port between its choice and its use.
func startCluster(f files, quiet bool) (*cluster, error) {
	for try := 1; ; try++ {
		c, err := tryCluster(f, quiet)
		if err == nil || try == 3 {
			return c, err
		}
	}
}

func tryCluster(f files, quiet bool) (*cluster, error) {
	repo, err := repository()
	if err != nil {
		return nil, err
	}
	etcdLog, err := os.Create(f.log("etcd"))
	if err != nil {
		return nil, err
	}
	serverLog, err := os.Create(f.log("kube-apiserver"))
	if err != nil {
		return nil, err
	}
	for _, folder := range []string{"etcd", "certificates"} {
		if err := os.RemoveAll(f.path(folder)); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(f.path(folder), 0o700); err != nil {
			return nil, err
		}
	}
	etcdPort, err := pgserver.FreePort()
	if err != nil {
		return nil, err
	}
	serverPort, err := pgserver.FreePort()
	if err != nil {
		return nil, err
	}
	binaries := filepath.Join(repo, "bin", "k8s")
	plane := &envtest.ControlPlane{
		Etcd: &envtest.Etcd{
			Path: filepath.Join(binaries, "etcd"), DataDir: f.path("etcd"), Out: etcdLog, Err: etcdLog,
			URL: &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(etcdPort))},
		},
		APIServer: &envtest.APIServer{
			Path: filepath.Join(binaries, "kube-apiserver"), CertDir: f.path("certificates"), Out: serverLog, Err: serverLog,
		},
	}
	if !quiet {
		if err := os.WriteFile(f.path("audit-policy.yaml"), []byte(auditPolicy), 0o600); err != nil {
			return nil, err
		}
		plane.APIServer.Configure().Set("audit-policy-file", f.path("audit-policy.yaml")).Set("audit-log-path", f.log("audit"))
	}
	for _, timeout := range []*time.Duration{&plane.Etcd.StartTimeout, &plane.Etcd.StopTimeout, &plane.APIServer.StartTimeout, &plane.APIServer.StopTimeout} {
		*timeout = 2 * time.Minute // also on a machine that is busy
	}
	plane.APIServer.SecureServing.Address, plane.APIServer.SecureServing.Port = "127.0.0.1", strconv.Itoa(serverPort)
	if err := plane.Start(); err != nil {
		_ = plane.Stop()
		return nil, fmt.Errorf("start kube-apiserver and etcd; see %s: %w", f.path("log"), err)
	}
	admin, err := plane.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := admin.KubeConfig()
	if err != nil {
		return nil, err
	}
	return &cluster{plane: plane, config: admin.Config(), files: f, kubectl: filepath.Join(binaries, "kubectl")}, os.WriteFile(f.kubeconfig(), kubeconfig, 0o600)
}

// down stops kube-apiserver and etcd, and keeps data, ports and certificates.
func (c *cluster) down() error { return c.plane.Stop() }

// up starts them again, so that every kubeconfig stays good.
func (c *cluster) up() error { return c.plane.Start() }

// killServer kills kube-apiserver, and starts it again; etcd runs on.
func (c *cluster) killServer() error {
	for _, child := range children() {
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", child.PID))
		if err == nil && filepath.Base(program) == "kube-apiserver" {
			child.signal(syscall.SIGKILL)
		}
	}
	return errors.Join(c.plane.APIServer.Stop(), c.plane.APIServer.Start()) // Stop waits for the end of what was killed
}

// run runs kubectl as the administrator, with a manifest as its standard input.
func (c *cluster) run(ctx context.Context, manifest []byte, arguments ...string) error {
	command := exec.CommandContext(ctx, c.kubectl, arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.files.kubeconfig())
	command.Stdin = bytes.NewReader(manifest)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", arguments[0], err, output)
	}
	return nil
}

// install applies config/api and config/admission, of config/default and config/gateway all but the Deployments, as here manager and gateway are
// processes, and the component for connection Secrets, with the right to them in the tenants' namespaces.
func (c *cluster) install(ctx context.Context) error {
	repo, err := repository()
	if err != nil {
		return err
	}
	config := filepath.Join(repo, "config")
	for _, part := range []string{"api", "admission", "rbac", "network-policy", filepath.Join("components", "connection-secret")} {
		if err := c.run(ctx, nil, "apply", "-k", filepath.Join(config, part)); err != nil {
			return err
		}
	}
	for _, part := range []string{"service_account", "role", "role_binding", "caller_roles", "writes"} {
		if err := c.run(ctx, nil, "apply", "-f", filepath.Join(config, "gateway", part+".yaml")); err != nil {
			return err
		}
	}
	if err := c.run(ctx, nil, "wait", "--for=condition=Established", "--timeout=30s", "crd",
		"tenantcredentials.credentials.systemprompt.io", "tenantenvironments.credentials.systemprompt.io"); err != nil {
		return err
	}
	if err := c.run(ctx, namespaces(), "apply", "-f", "-"); err != nil {
		return err
	}
	for _, environment := range environments {
		if err := c.run(ctx, nil, "-n", "tenants-"+environment, "apply", "-k", filepath.Join(config, "components", "connection-secret", "namespace")); err != nil {
			return err
		}
	}
	return nil
}

// namespaces are the tenants' ones, bound to their tenants, the account that reads the metrics, and that of the platform's staff.
func namespaces() []byte {
	var manifest bytes.Buffer
	for _, environment := range environments {
		fmt.Fprintf(&manifest, "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: tenants-%s\n  labels:\n    example.com/environment: %s\n", environment, environment)
		for _, t := range in(environment) {
			fmt.Fprintf(&manifest, "    tenant.credentials.systemprompt.io/%s: allowed\n", t.id)
		}
	}
	fmt.Fprintf(&manifest, `---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s, namespace: %[2]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tenant-credential-operator-metrics-reader}
subjects: [{kind: ServiceAccount, name: %[1]s, namespace: %[2]s}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[3]s, namespace: %[2]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[3]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tenant-credential-gateway-caller}
subjects: [{kind: ServiceAccount, name: %[3]s, namespace: %[2]s}]
`, metricsAccount, operatorNamespace, staffAccount)
	return manifest.Bytes()
}

// token returns a token of a service account, for the API server or for another audience.
func (c *cluster) token(ctx context.Context, account string, audiences ...string) (string, error) {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return "", err
	}
	expiry := year
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &expiry, Audiences: audiences}}
	granted, err := client.CoreV1().ServiceAccounts(operatorNamespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("a token for service account %s: %w", account, err)
	}
	return granted.Status.Token, nil
}

// accountKubeconfig writes a kubeconfig of a program's own service account: it may do what config says, and no more.
func (c *cluster) accountKubeconfig(ctx context.Context, account, program string) (string, error) {
	token, err := c.token(ctx, account)
	if err != nil {
		return "", err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["playground"] = &clientcmdapi.Cluster{Server: c.config.Host, CertificateAuthorityData: c.config.CAData}
	config.AuthInfos[program] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["playground"] = &clientcmdapi.Context{Cluster: "playground", AuthInfo: program}
	config.CurrentContext = "playground"
	path := c.files.path(program + ".kubeconfig")
	return path, clientcmd.WriteToFile(*config, path)
}
