package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// tenantIDs are those of config/samples that the demo rotates, and of the tenants that it makes itself.
var tenantIDs = map[string]string{
	"acme":    "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01",
	"globex":  "b1e0c0de-6a3d-4c55-9c4e-52d1f7f0a902",
	"initech": "4f21a7c9-0b6e-4d0b-8a77-6d5a3c2e1b03",
}

// object is what the demo reads of a TenantCredential.
type object struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Spec struct {
		RotationGeneration int64 `json:"rotationGeneration"`
	} `json:"spec"`
	Status struct {
		RotationGeneration int64 `json:"rotationGeneration"`
		Revision           int64 `json:"revision"`
	} `json:"status"`
}

func kubectl(ctx context.Context, manifest string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, "kubectl", arguments...)
	command.Stdin = strings.NewReader(manifest)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output), nil
}

func get(ctx context.Context, name string) (*object, error) {
	text, err := kubectl(ctx, "", "-n", "tenants-sandbox", "get", "tcred", name, "-o", "json")
	if err != nil {
		return nil, err
	}
	var o object
	return &o, json.Unmarshal([]byte(text), &o)
}

// applySamples uses a field manager of its own: on a second run the samples, which ask for no generation, must not take back what
// the demo has raised.
func applySamples(ctx context.Context) (string, error) {
	self, err := os.Executable() // bin/demo
	if err != nil {
		return "", err
	}
	samples := filepath.Join(filepath.Dir(filepath.Dir(self)), "config", "samples", "tenants.yaml")
	return kubectl(ctx, "", "apply", "-f", samples, "--server-side", "--field-manager=demo-samples")
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

// raise raises the generation of some tenants as a user does it.
func (d *demo) raise(names ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		var raised []string
		for _, name := range names {
			object, err := get(ctx, name)
			if err != nil {
				return "", err
			}
			if d.previous[name], err = see(ctx, name); err != nil {
				return "", err
			}
			generation := max(object.Status.RotationGeneration, object.Spec.RotationGeneration) + 1
			if err := apply(ctx, manifest(name, generation)); err != nil {
				return "", err
			}
			d.due[tenantIDs[name]]++
			raised = append(raised, fmt.Sprintf("%s from %d to %d", name, object.Status.RotationGeneration, generation))
		}
		return strings.Join(raised, ", "), nil
	}
}

// ready waits as a pipeline does, and shows meanwhile what a person would look at.
func ready(names ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		stop := showProgress(ctx, names)
		defer stop()
		return "Ready", awaitReady(ctx, names...)
	}
}

func awaitReady(ctx context.Context, names ...string) error {
	arguments := append([]string{"-n", "tenants-sandbox", "wait", "tcred", "--for=condition=Ready", "--timeout=180s"}, names...)
	_, err := kubectl(ctx, "", arguments...)
	return err
}

// manifest is the tenant's of config/samples with a generation; more are further lines of its spec.
func manifest(name string, generation int64, more ...string) string {
	text := fmt.Sprintf(`apiVersion: credentials.systemprompt.io/v1alpha1
kind: TenantCredential
metadata: {name: %s, namespace: tenants-sandbox}
spec:
  tenantID: %s
  environmentRef: {name: sandbox}
  rotationGeneration: %d
`, name, tenantIDs[name], generation)
	for _, line := range more {
		text += "  " + line + "\n"
	}
	return text
}

// apply applies a manifest as a user does.
func apply(ctx context.Context, manifest string) error {
	_, err := kubectl(ctx, manifest, "apply", "--server-side", "--field-manager=demo", "-f", "-")
	return err
}

// showProgress prints what the tenants' status says each time that it says something else, until it is stopped.
func showProgress(ctx context.Context, names []string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	command := exec.CommandContext(ctx, "kubectl", "-n", "tenants-sandbox", "get", "tcred", "--watch-only", "-o",
		`jsonpath={.metadata.name}{": "}{.status.conditions[?(@.type=="Ready")].message}{"\n"}`)
	output, err := command.StdoutPipe()
	if err != nil || command.Start() != nil {
		return cancel // it is only decoration
	}
	var shown sync.WaitGroup
	shown.Go(func() { printChanges(output, names) })
	return func() {
		cancel()
		shown.Wait()
		_ = command.Wait() // it was killed
	}
}

func printChanges(output io.Reader, names []string) {
	start, last := time.Now(), map[string]string{}
	for lines := bufio.NewScanner(output); lines.Scan(); {
		name, message, _ := strings.Cut(lines.Text(), ": ")
		if slices.Contains(names, name) && message != "" && message != last[name] {
			last[name] = message
			fmt.Printf("  %5.1f s    %s: %s\n", time.Since(start).Seconds(), name, message)
		}
	}
}

// reapply shows that the same manifest again does nothing at all.
func reapply(ctx context.Context) (string, error) {
	former, err := get(ctx, "globex")
	if err != nil {
		return "", err
	}
	writes, err := flyWrites(ctx)
	if err != nil {
		return "", err
	}
	if err := apply(ctx, manifest("globex", former.Spec.RotationGeneration)); err != nil {
		return "", err
	}
	now, err := get(ctx, "globex")
	if err != nil {
		return "", err
	}
	written, err := flyWrites(ctx)
	if err != nil {
		return "", err
	}
	if now.Metadata.ResourceVersion != former.Metadata.ResourceVersion || written != writes {
		return "", fmt.Errorf("something was written: resourceVersion %s before and %s after, %d writes to Fly",
			former.Metadata.ResourceVersion, now.Metadata.ResourceVersion, written-writes)
	}
	return "nothing was written: still resourceVersion " + now.Metadata.ResourceVersion + ", no write to Fly", nil
}

// events returns the reasons of the events of a revision.
func events(ctx context.Context, name string, revision int64) (string, error) {
	text, err := kubectl(ctx, "", "-n", "tenants-sandbox", "get", "events", "-o",
		"jsonpath={range .items[?(@.involvedObject.name==\""+name+"\")]}{.reason}{\"\\t\"}{.message}{\"\\n\"}{end}")
	if err != nil {
		return "", err
	}
	found := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		reason, message, _ := strings.Cut(line, "\t")
		if strings.Contains(strings.ToLower(message)+" ", fmt.Sprintf("revision %d ", revision)) {
			found[reason] = true
		}
	}
	if !found["RotationCommitted"] || !found["RotationCompleted"] {
		return "", fmt.Errorf("no events RotationCommitted and RotationCompleted speak of revision %d of %s", revision, name)
	}
	return strings.Join(slices.Sorted(maps.Keys(found)), ", "), nil
}
