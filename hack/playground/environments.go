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

// environment reads one environment of config/samples/environments.yaml and puts the playground's addresses into it.
func sampleEnvironment(name string, d *database, fly *flySide) ([]byte, error) {
	repo, err := repository()
	if err != nil {
		return nil, err
	}
	samples, err := os.ReadFile(filepath.Join(repo, "config", "samples", "environments.yaml"))
	if err != nil {
		return nil, err
	}
	for _, document := range bytes.Split(samples, []byte("\n---\n")) {
		var environment v1alpha1.TenantEnvironment
		if err := yaml.UnmarshalStrict(document, &environment); err != nil {
			return nil, err
		}
		if environment.Name != name {
			continue
		}
		environment.Spec.Postgres.Internal = v1alpha1.PostgresAddress{Host: "127.0.0.1", Port: int32(d.server.Port)}
		environment.Spec.Fly.APIURL = fly.API
		return yaml.Marshal(environment)
	}
	return nil, fmt.Errorf("config/samples/environments.yaml has no environment %s", name)
}

// installEnvironment does for one environment what the README tells people to do: install the ledger, create the Secrets, apply.
func (s *supervisor) installEnvironment(ctx context.Context, d *database) error {
	manifest, err := sampleEnvironment(d.environment, d, s.fly)
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
	install := exec.CommandContext(ctx, manager, "install-sql", "--environment", path, "--operator-login", operatorLogin)
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
