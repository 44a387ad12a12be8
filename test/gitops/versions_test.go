package gitops

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// object is what is read of a TenantCredential.
type object struct {
	Metadata struct {
		Name       string
		Generation int64
	}
	Spec struct {
		RotationGeneration int64
		RotationRequest    *struct{ ReplacesRevision int64 }
		Delivery           any
	}
	Status struct {
		Revision   int
		Conditions []platform.Condition
	}
}

// versions are all that the API server has had of some objects.
type versions struct {
	mu  sync.Mutex
	of  map[string][]object
	all map[string]bool
}

func watch(t *testing.T, tenants ...platform.Tenant) *versions {
	t.Helper()
	answer, err := harness.Read(t.Context(), harness.Resources+"/namespaces/tenants-sandbox/tenantcredentials?watch=true")
	require.NoError(t, err)
	v := &versions{of: map[string][]object{}, all: map[string]bool{}}
	for _, x := range tenants {
		v.all[x.Name] = true
	}
	go func() {
		defer answer.Close()
		for events := json.NewDecoder(answer); ; {
			var event struct{ Object object }
			if events.Decode(&event) != nil { // the test is over
				return
			}
			v.add(event.Object)
		}
	}()
	return v
}

func (v *versions) add(o object) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all[o.Metadata.Name] {
		v.of[o.Metadata.Name] = append(v.of[o.Metadata.Name], o)
	}
}

// ready is the revision with which the object is Ready for its present spec; -1 = it is not.
func (v *versions) ready(name string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.of[name]) == 0 {
		return -1
	}
	o := v.of[name][len(v.of[name])-1]
	for _, c := range o.Status.Conditions {
		if c.Type == "Ready" && c.Status == "True" && c.ObservedGeneration == o.Metadata.Generation {
			return o.Status.Revision
		}
	}
	return -1
}

// reverts are versions that lack what the one before had from people or from Git: a request, or a number.
func (v *versions) reverts() (found []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, history := range v.of {
		for i := 1; i < len(history); i++ {
			before, now := history[i-1].Spec, history[i].Spec
			lost := before.RotationRequest != nil && (now.RotationRequest == nil || now.RotationRequest.ReplacesRevision < before.RotationRequest.ReplacesRevision)
			if lost || now.RotationGeneration < before.RotationGeneration {
				found = append(found, fmt.Sprintf("%s, version %d", name, i))
			}
		}
	}
	return found
}
