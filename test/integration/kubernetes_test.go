package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// manifest is the tenant's object; more are further lines of its spec.
func (x tenant) manifest(more ...string) string {
	text := fmt.Sprintf(`apiVersion: credentials.systemprompt.io/v1alpha1
kind: TenantCredential
metadata: {name: %s, namespace: tenants-sandbox}
spec:
  tenantID: %s
`, x.name, x.id)
	if !strings.Contains(strings.Join(more, ""), "environmentRef") {
		more = append(more, "environmentRef: {name: sandbox}")
	}
	for _, line := range more {
		text += "  " + line + "\n"
	}
	return text
}

// apply applies the object as a user does.
func (x tenant) apply(more ...string) {
	x.t.Helper()
	kubectl(x.t, x.manifest(more...), "apply", "-f", "-")
}

func (x tenant) delete() {
	x.t.Helper()
	kubectl(x.t, "", "-n", "tenants-sandbox", "delete", "tcred", x.name, "--timeout=120s")
}

// waitReady waits as a pipeline does.
func (x tenant) waitReady() {
	x.t.Helper()
	output, err := try("", "-n", "tenants-sandbox", "wait", "tcred", x.name, "--for=condition=Ready", "--timeout=150s")
	require.NoError(x.t, err, "%s\n%s", output, x.describe())
}

// waitReason waits until Ready shows a reason.
func (x tenant) waitReason(reason string) {
	x.t.Helper()
	output, err := try("", "-n", "tenants-sandbox", "wait", "tcred", x.name, "--timeout=120s",
		"--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}="+reason)
	require.NoError(x.t, err, "%s\n%s", output, x.describe())
}

func (x tenant) describe() string {
	output, _ := try("", "-n", "tenants-sandbox", "get", "tcred", x.name, "-o", "yaml")
	return output
}

// object is what the tests read of a TenantCredential.
type object struct {
	Metadata struct {
		Generation      int64
		ResourceVersion string
		Finalizers      []string
	}
	Status struct {
		ObservedGeneration, RotationGeneration, Revision int64
		Conditions                                       []condition
		LastRotation                                     *struct{ Reason string }
		Fly                                              struct {
			Machines struct{ Total, Updated, OnNextStart, Failed int }
		}
	}
}

type condition struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}

func (o object) condition(kind string) condition {
	for _, c := range o.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return condition{}
}

func (x tenant) get() object {
	x.t.Helper()
	var o object
	require.NoError(x.t, json.Unmarshal([]byte(kubectl(x.t, "", "-n", "tenants-sandbox", "get", "tcred", x.name, "-o", "json")), &o))
	return o
}

// poke has the operator look at the object, and returns when it has: it looks at every changed annotation.
func (x tenant) poke() {
	x.t.Helper()
	before := x.looks()
	kubectl(x.t, "", "-n", "tenants-sandbox", "annotate", "--overwrite", "tcred", x.name, "test.example.com/poke="+uuid.NewString())
	require.Eventually(x.t, func() bool { return x.looks() > before }, time.Minute, 100*time.Millisecond, "the operator did not look")
}

// looks counts the passes over the object in the manager's debug log.
func (x tenant) looks() int {
	x.t.Helper()
	log, err := os.ReadFile(os.Getenv("MANAGER_LOG"))
	require.NoError(x.t, err)
	count := 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, `"msg":"Looked"`) && strings.Contains(line, `"name":"`+x.name+`"`) {
			count++
		}
	}
	return count
}
