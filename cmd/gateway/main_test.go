package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/internal/logging"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

// The tests have a real API server, a real PostgreSQL server and real issuers of tokens. The operator alone is a stand-in, which writes status as the
// real one does.
var (
	admin    client.WithWatch
	config   *rest.Config // the administrator's
	postgres *pgserver.Server
	fleet    *operator
	logged   = &capture{}
	secrets  = &tokens{}
)

const root = "../.."

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	log := zap.New(zap.WriteTo(logged), zap.Level(zapcore.Level(-logging.MostVerbose)))
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		_ = os.Setenv("KUBEBUILDER_ASSETS", absolute("bin/k8s"))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cluster := &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join(root, "config/crd/bases")}, ErrorIfCRDPathMissing: true}
	var err error
	if config, err = cluster.Start(); err != nil {
		return fail(err)
	}
	defer func() { _ = cluster.Stop() }()
	config.QPS = -1
	scheme := runtime.NewScheme()
	_ = clientgoscheme.AddToScheme(scheme)
	_ = v1alpha1.AddToScheme(scheme)
	if admin, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return fail(err)
	}
	if err := install(ctx); err != nil {
		return fail(err)
	}
	if postgres, err = pgserver.Start(ctx, pgserver.Options{Version: "18"}); err != nil {
		return fail(err)
	}
	defer postgres.Stop()
	fleet = startOperator(ctx)
	code := m.Run()
	return max(code, secrecy())
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func absolute(path string) string {
	whole, err := filepath.Abs(filepath.Join(root, path))
	if err != nil {
		panic(err)
	}
	return whole
}

// install applies what the repository's manifests give the gateway, and nothing else of rights.
func install(ctx context.Context) error {
	for _, file := range []string{
		"api/namespace.yaml", "gateway/service_account.yaml", "gateway/role.yaml", "gateway/role_binding.yaml", "gateway/caller_roles.yaml",
		"admission/replaces_revision.yaml", "admission/requested_by.yaml",
	} {
		content, err := os.ReadFile(filepath.Join(root, "config", file))
		if err != nil {
			return err
		}
		for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096); ; {
			object := &unstructured.Unstructured{}
			if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if err := admin.Create(ctx, object); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	for _, namespace := range []string{"tenants", "others"} {
		object := &corev1.Namespace{}
		object.Name = namespace
		if err := admin.Create(ctx, object); err != nil {
			return err
		}
	}
	staff := &rbacv1.ClusterRoleBinding{RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "tenant-credential-gateway-caller"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "tenants", Name: "staff"}}}
	staff.Name = "staff"
	if err := admin.Create(ctx, staff); err != nil {
		return err
	}
	service := &rbacv1.RoleBinding{RoleRef: staff.RoleRef, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "tenants", Name: "service"}}}
	service.Name, service.Namespace = "service", "tenants"
	return admin.Create(ctx, service)
}

// capture keeps what is logged.
type capture struct {
	mu sync.Mutex
	bytes.Buffer
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Buffer.Write(p)
}

func (c *capture) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Buffer.String()
}

// tokens are those that the tests have sent, and other secrets.
type tokens struct {
	mu  sync.Mutex
	all []string
}

func (s *tokens) add(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, token)
	return token
}

// leaked are the tokens, or signatures of them, that stand in a text.
func (s *tokens) leaked(text string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for _, token := range s.all {
		if last := token[strings.LastIndex(token, ".")+1:]; len(last) > 8 && strings.Contains(text, last) {
			found = append(found, token[:4]+"…")
		}
	}
	return found
}

// secrecy says that no token, and no password, of any test stands in the log of all of them.
func secrecy() int {
	text := logged.text()
	if path := os.Getenv("GATEWAY_TEST_LOG"); path != "" {
		_ = os.WriteFile(path, []byte(text), 0o600)
	}
	if found := secrets.leaked(text); len(found) > 0 {
		return fail(fmt.Errorf("%d tokens or passwords of the tests are in the log", len(found)))
	}
	if !strings.Contains(text, `"msg":"request"`) {
		return fail(fmt.Errorf("the log has no line of the access log, so that it proves nothing"))
	}
	return 0
}
