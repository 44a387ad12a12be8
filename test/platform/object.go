package platform

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// Manifest is the tenant's object; more are further lines of its spec.
func (x Tenant) Manifest(more ...string) string {
	text := fmt.Sprintf(`apiVersion: credentials.systemprompt.io/v1alpha1
kind: TenantCredential
metadata: {name: %s, namespace: tenants-sandbox}
spec:
  tenantID: %s
`, x.Name, x.ID)
	if !strings.Contains(strings.Join(more, ""), "environmentRef") {
		more = append(more, "environmentRef: {name: "+x.environment.Name+"}")
	}
	for _, line := range more {
		text += "  " + line + "\n"
	}
	return text
}

// Apply applies the object as a user does.
func (x Tenant) Apply(more ...string) {
	x.t.Helper()
	harness.Kubectl(x.t, x.Manifest(more...), "apply", "-f", "-")
}

// Delete deletes the object and waits until it is gone.
func (x Tenant) Delete() {
	x.t.Helper()
	harness.Kubectl(x.t, "", "-n", "tenants-sandbox", "delete", "tcred", x.Name, "--ignore-not-found", "--timeout=300s")
}

// WaitReady waits as a pipeline does.
func (x Tenant) WaitReady() {
	x.t.Helper()
	output, err := harness.Try("", "-n", "tenants-sandbox", "wait", "tcred", x.Name, "--for=condition=Ready", "--timeout=300s")
	require.NoError(x.t, err, "%s\n%s", output, x.Describe())
}

// WaitReason waits until Ready shows a reason.
func (x Tenant) WaitReason(reason string) {
	x.t.Helper()
	output, err := harness.Try("", "-n", "tenants-sandbox", "wait", "tcred", x.Name, "--timeout=300s",
		"--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}="+reason)
	require.NoError(x.t, err, "%s\n%s", output, x.Describe())
}

// Describe is the object as YAML, for the message of a failed test.
func (x Tenant) Describe() string {
	output, _ := harness.Try("", "-n", "tenants-sandbox", "get", "tcred", x.Name, "-o", "yaml")
	return output
}

// Object is what the tests read of a TenantCredential.
type Object struct {
	Metadata struct {
		Generation      int64
		ResourceVersion string
		Finalizers      []string
	}
	Status struct {
		ObservedGeneration, RotationGeneration, Revision int64
		Conditions                                       []Condition
		LastRotation                                     *struct{ Cause, Reason, RequestedBy string }
		Postgres                                         struct{ InternalURL, ExternalURL string }
		Fly                                              struct {
			Machines struct{ Total, Updated, OnNextStart, Failed int }
		}
	}
}

// Condition is one of an Object's status.
type Condition struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}

// Condition is the one of that type; the zero Condition where there is none.
func (o Object) Condition(kind string) Condition {
	for _, c := range o.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return Condition{}
}

// Get reads the object.
func (x Tenant) Get() Object {
	x.t.Helper()
	answer, err := harness.Read(context.Background(), harness.Resources+"/namespaces/tenants-sandbox/tenantcredentials/"+x.Name)
	require.NoError(x.t, err)
	defer answer.Close()
	var o Object
	require.NoError(x.t, json.NewDecoder(answer).Decode(&o))
	return o
}

// Poke has the operator look at the object, and returns when it has: it looks at every changed annotation.
func (x Tenant) Poke() {
	x.t.Helper()
	log, err := os.Open(os.Getenv("MANAGER_LOG"))
	require.NoError(x.t, err)
	defer log.Close()
	_, err = log.Seek(0, io.SeekEnd)
	require.NoError(x.t, err)
	harness.Kubectl(x.t, "", "-n", "tenants-sandbox", "annotate", "--overwrite", "tcred", x.Name, "test.example.com/poke="+uuid.NewString())
	var since strings.Builder
	require.Eventually(x.t, func() bool {
		_, err := io.Copy(&since, log)
		require.NoError(x.t, err)
		return x.looked(since.String())
	}, 3*time.Minute, 100*time.Millisecond, "the operator did not look")
}

// looked says whether the manager's debug log has a pass over the object.
func (x Tenant) looked(log string) bool {
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"msg":"Looked"`) && strings.Contains(line, `"name":"`+x.Name+`"`) {
			return true
		}
	}
	return false
}
