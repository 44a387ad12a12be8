// Command demo does the main job on a running playground and proves what happened: it adopts the sample tenants, rotates some of them
// with kubectl apply, and looks at Postgres, at Fly and into the Machines whether it is so.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Printf("\ndemo: failed: %v\nThe manager's log: %s\n", err, os.Getenv("MANAGER_LOG"))
		os.Exit(1)
	}
	fmt.Println("demo: ok")
}

func run(ctx context.Context) error {
	if os.Getenv("PLAYGROUND_DIR") == "" {
		return fmt.Errorf("no playground: run make demo, or source bin/playground/env first")
	}
	began := time.Now()
	before := map[string]*view{}
	steps := []struct {
		says string
		do   func(context.Context) (string, error)
	}{
		{"kubectl apply -f config/samples/tenants.yaml", applySamples},
		{"kubectl wait: the tenants are Ready", waitForAll},
		{"umbrella has no Fly app, and its status says so", missingApp},
		{"the present credentials, before anything is rotated", func(ctx context.Context) (string, error) { return look(ctx, before) }},
		{"globex (2 Machines): raise rotationGeneration, kubectl wait", rotate("globex")},
		{"globex: what is so now", prove(before, "globex")},
		{"acme, and initech with a stopped Machine: the same, at once", rotate("acme", "initech")},
		{"acme: what is so now", prove(before, "acme")},
		{"initech: what is so now", prove(before, "initech")},
		{"globex applied again unchanged", reapply},
		{"the independent checker looks at every tenant", check},
	}
	for _, step := range steps {
		fmt.Printf("• %s\n", step.says)
		start := time.Now()
		found, err := step.do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", step.says, err)
		}
		for _, line := range strings.Split(strings.TrimSpace(found), "\n") {
			if line != "" {
				fmt.Printf("    %s\n", line)
			}
		}
		fmt.Printf("    %5.1f s\n", time.Since(start).Seconds())
	}
	fmt.Printf("all of it in %.1f s\n", time.Since(began).Seconds())
	return nil
}

func kubectl(ctx context.Context, manifest string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, "kubectl", arguments...) //nolint:gosec // the demo's own arguments
	command.Stdin = strings.NewReader(manifest)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output), nil
}

func applySamples(ctx context.Context) (string, error) {
	_, err := kubectl(ctx, "", "apply", "-f", "config/samples/tenants.yaml", "--server-side", "--field-manager=demo-samples")
	return "", err
}

func waitForAll(ctx context.Context) (string, error) {
	for namespace, names := range map[string][]string{"tenants-sandbox": {"acme", "globex", "initech"}, "tenants-prod": {"hooli", "soylent"}} {
		arguments := append([]string{"-n", namespace, "wait", "tcred", "--for=condition=Ready", "--timeout=120s"}, names...)
		if _, err := kubectl(ctx, "", arguments...); err != nil {
			return "", err
		}
	}
	return kubectl(ctx, "", "get", "tcred", "-A")
}

func missingApp(ctx context.Context) (string, error) {
	if _, err := kubectl(ctx, "", "-n", "tenants-sandbox", "wait", "tcred", "umbrella", "--timeout=60s",
		"--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=FlyAppNotFound"); err != nil {
		return "", err
	}
	return kubectl(ctx, "", "-n", "tenants-sandbox", "get", "tcred", "umbrella", "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}")
}

// rotate raises the generation of some tenants as a user does it, and waits until they are Ready again.
func rotate(names ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		for _, name := range names {
			object, err := get(ctx, name)
			if err != nil {
				return "", err
			}
			if _, err := kubectl(ctx, manifest(name, object.Status.RotationGeneration+1), "apply", "--server-side", "--field-manager=demo", "-f", "-"); err != nil {
				return "", err
			}
		}
		arguments := append([]string{"-n", "tenants-sandbox", "wait", "tcred", "--for=condition=Ready", "--timeout=180s"}, names...)
		if _, err := kubectl(ctx, "", arguments...); err != nil {
			return "", err
		}
		return "", nil
	}
}

// manifest is the tenant's of config/samples with a generation.
func manifest(name string, generation int64) string {
	return fmt.Sprintf(`apiVersion: credentials.systemprompt.io/v1alpha1
kind: TenantCredential
metadata: {name: %s, namespace: tenants-sandbox}
spec:
  tenantID: %s
  environmentRef: {name: sandbox}
  rotationGeneration: %d
`, name, tenantIDs[name], generation)
}

// reapply shows that the same manifest again does nothing at all.
func reapply(ctx context.Context) (string, error) {
	former, err := get(ctx, "globex")
	if err != nil {
		return "", err
	}
	if _, err := kubectl(ctx, manifest("globex", former.Status.RotationGeneration), "apply", "--server-side", "--field-manager=demo", "-f", "-"); err != nil {
		return "", err
	}
	now, err := get(ctx, "globex")
	if err != nil {
		return "", err
	}
	if now.Metadata.ResourceVersion != former.Metadata.ResourceVersion {
		return "", fmt.Errorf("the object was written")
	}
	return "nothing was written: still resourceVersion " + now.Metadata.ResourceVersion, nil
}

func check(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "checker").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, output)
	}
	return string(output), nil
}
