package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// columns are those of the playground's management table.
var columns = v1alpha1.ManagementColumns{Role: "db_role", Database: "db_name", FlyApp: "fly_app", Owner: "owner"}

// sampleEnvironment is config/samples/environment.yaml under another name, with the playground's addresses and columns.
func sampleEnvironment(d *database, fly *flySide) ([]byte, error) {
	repo, err := repository()
	if err != nil {
		return nil, err
	}
	sample, err := os.ReadFile(filepath.Join(repo, "config", "samples", "environment.yaml"))
	if err != nil {
		return nil, err
	}
	var environment v1alpha1.TenantEnvironment
	if err := yaml.UnmarshalStrict(bytes.ReplaceAll(sample, []byte("sandbox"), []byte(d.environment)), &environment); err != nil {
		return nil, err
	}
	environment.Spec.Postgres.Internal = v1alpha1.PostgresAddress{Host: "127.0.0.1", Port: int32(d.server.Port)}
	environment.Spec.Postgres.External = &v1alpha1.PostgresAddress{Host: "127.0.0.1", Port: int32(d.server.Port),
		URLForm: v1alpha1.URLForm{Parameters: map[string]v1alpha1.URLParameter{"sslmode": "require"}}} // the certificate's authority is not kept
	environment.Spec.Management.Columns = columns
	environment.Spec.Fly.APIURL = fly.API
	return yaml.Marshal(environment)
}

// installEnvironment does for one environment what the README tells people to do: install the ledger, create the Secrets, apply.
func (s *supervisor) installEnvironment(ctx context.Context, d *database) error {
	manifest, err := sampleEnvironment(d, s.fly)
	if err != nil {
		return err
	}
	path := s.files.path("environment-" + d.environment + ".yaml")
	if err := os.WriteFile(path, manifest, 0o600); err != nil {
		return err
	}
	manager, err := program("manager")
	if err != nil {
		return err
	}
	install := exec.CommandContext(ctx, manager, "install-sql", "--environment", path, "--operator-login", operatorLogin, "--gateway-login", gatewayLogin)
	install.Env = append(os.Environ(), "DATABASE_URL="+d.superuser)
	if output, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("manager install-sql: %w\n%s", err, output)
	}
	for name, data := range map[string]map[string]string{
		"postgres-" + d.environment: {"url": d.operator},
		"fly-" + d.environment:      {"token": s.fly.token[d.environment]},
	} {
		secret, err := yaml.Marshal(corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: name},
			StringData: data,
		})
		if err != nil {
			return err
		}
		if err := s.cluster.run(ctx, secret, "create", "-f", "-"); err != nil {
			return err
		}
	}
	return s.cluster.run(ctx, nil, "apply", "-f", path)
}
