package install

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

const (
	operatorNamespace = "tcred-system"
	operatorName      = "tenant-credential-operator"
)

// standIns do what a cluster has controllers and nodes for: run the Deployment's pods, here as processes, by a rolling update; empty a namespace that is
// deleted; and let the dependents of an object go that is deleted with --cascade=orphan.
type standIns struct {
	t        *testing.T
	config   *rest.Config
	client   *kubernetes.Clientset
	folder   string
	programs map[string]string // the program of an image, by its digest

	mu     sync.Mutex // guards what follows
	pods   []*pod
	count  int
	met    bool     // pods of two images ran at the same time
	errors []string // that were not expected
}

// pod is a process.
type pod struct {
	image  string
	cmd    *exec.Cmd
	ended  chan struct{}
	probes string
}

func newStandIns(t *testing.T, config *rest.Config, folder string) *standIns {
	t.Helper()
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	c := &standIns{t: t, config: config, client: client, folder: folder, programs: map[string]string{}}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, work := range []func(context.Context) error{c.runPods, c.emptyNamespaces, c.orphan} {
				if err := work(ctx); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
					c.note(err)
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond): // a controller that looks again, and watches nothing
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
		for _, p := range c.pods {
			p.stop()
		}
		if t.Failed() {
			c.showLogs()
		}
	})
	return c
}

func (c *standIns) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if text := err.Error(); !slices.Contains(c.errors, text) {
		c.errors = append(c.errors, text)
	}
}

func (c *standIns) showLogs() {
	c.t.Log("the stand-ins met:", strings.Join(c.errors, "\n"))
	logs, _ := filepath.Glob(filepath.Join(c.folder, "pod-*.log"))
	for _, log := range logs {
		content, _ := os.ReadFile(log)
		c.t.Logf("%s ends with\n%s", filepath.Base(log), content[max(0, len(content)-3000):])
	}
}

// runPods makes one step of a rolling update: one pod more than there are replicas, and one less only when all new ones are ready.
func (c *standIns) runPods(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods = slices.DeleteFunc(c.pods, (*pod).hasEnded)
	deployment, err := c.client.AppsV1().Deployments(operatorNamespace).Get(ctx, operatorName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		for _, p := range c.pods {
			p.stop()
		}
		return nil
	}
	if err != nil {
		return err
	}
	image, replicas := deployment.Spec.Template.Spec.Containers[0].Image, int(*deployment.Spec.Replicas)
	var ready, fresh int
	for _, p := range c.pods {
		if p.image == image {
			fresh++
			if p.isReady(ctx) {
				ready++
			}
		}
	}
	c.met = c.met || fresh > 0 && ready == fresh && fresh < len(c.pods)
	stale := slices.IndexFunc(c.pods, func(p *pod) bool { return p.image != image })
	switch {
	case ready < fresh: // wait
	case stale >= 0 && len(c.pods) > replicas:
		c.pods[stale].stop()
	case fresh < replicas:
		if err := c.start(ctx, deployment); err != nil {
			return err
		}
	}
	return c.report(ctx, deployment, ready)
}

// report writes the Deployment's status, for kubectl rollout status.
func (c *standIns) report(ctx context.Context, d *appsv1.Deployment, ready int) error {
	status := appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation, Replicas: int32(len(c.pods)), UpdatedReplicas: int32(ready), ReadyReplicas: int32(ready), AvailableReplicas: int32(ready),
	}
	if status.ObservedGeneration == d.Status.ObservedGeneration && status.Replicas == d.Status.Replicas && status.UpdatedReplicas == d.Status.UpdatedReplicas {
		return nil
	}
	d.Status = status
	_, err := c.client.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{})
	return err
}

// start runs a pod with its service account's token and the Deployment's arguments, on ports of its own.
func (c *standIns) start(ctx context.Context, d *appsv1.Deployment) error {
	container, account := d.Spec.Template.Spec.Containers[0], d.Spec.Template.Spec.ServiceAccountName
	_, digest, _ := strings.Cut(container.Image, "@")
	program, known := c.programs[digest]
	if !known {
		return fmt.Errorf("no such image: %s", container.Image)
	}
	granted, err := c.client.CoreV1().ServiceAccounts(d.Namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	c.count++
	name := filepath.Join(c.folder, fmt.Sprintf("pod-%d", c.count))
	if err := c.writeKubeconfig(name+".kubeconfig", granted.Status.Token); err != nil {
		return err
	}
	port, err := pgserver.FreePort()
	if err != nil {
		return err
	}
	log, err := os.Create(name + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	p := &pod{image: container.Image, probes: fmt.Sprintf("127.0.0.1:%d", port), ended: make(chan struct{})}
	p.cmd = exec.Command(program, append(container.Args, "--kubeconfig="+name+".kubeconfig", "--health-probe-bind-address="+p.probes, "--metrics-bind-address=0")...) //nolint:gosec // the test's own program
	p.cmd.Env = append(os.Environ(), "POD_NAMESPACE="+d.Namespace)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() { _ = p.cmd.Wait(); close(p.ended) }()
	c.pods = append(c.pods, p)
	return nil
}

func (c *standIns) writeKubeconfig(path, token string) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["cluster"] = &clientcmdapi.Cluster{Server: c.config.Host, CertificateAuthorityData: c.config.CAData}
	config.AuthInfos["pod"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["pod"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "pod"}
	config.CurrentContext = "pod"
	return clientcmd.WriteToFile(*config, path)
}

func (p *pod) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *pod) isReady(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.probes+"/readyz", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

// stop ends it as the kubelet does, within terminationGracePeriodSeconds.
func (p *pod) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(60 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// publish has the cluster run a program for an image.
func (c *standIns) publish(digest, program string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.programs[digest] = program
}

// forget begins to look anew for pods of two images at once, and haveMet says whether there were any since.
func (c *standIns) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.met = false
}

func (c *standIns) haveMet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.met
}

// requireNoPods waits until none is left.
func (c *standIns) requireNoPods(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return !slices.ContainsFunc(c.pods, func(p *pod) bool { return !p.hasEnded() })
	}, 2*wait, look, "pods are left")
}
