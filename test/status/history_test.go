package status

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// sight is one version of an object, as pipelines read it.
type sight struct {
	row
	generation, revision int64
	// done says that the status speaks of everything that the spec asks for as done.
	done bool
}

// history has every version of an object from before it was made, in order.
type history struct {
	mu    sync.Mutex
	seen  []sight
	whole []*unstructured.Unstructured
}

// follow begins a history. The API server tells a watch of every version, and leaves out none.
func follow(t *testing.T, x platform.Tenant) *history {
	t.Helper()
	answer, err := harness.Read(t.Context(), harness.Resources+"/namespaces/tenants-sandbox/tenantcredentials?watch=true&fieldSelector=metadata.name%3D"+x.Name)
	require.NoError(t, err)
	h := &history{}
	go func() {
		defer answer.Close()
		for events := json.NewDecoder(answer); ; {
			event := struct{ Object *unstructured.Unstructured }{&unstructured.Unstructured{}}
			if events.Decode(&event) != nil { // the test is over
				return
			}
			h.add(event.Object)
		}
	}()
	return h
}

func (h *history) add(object *unstructured.Unstructured) {
	s := see(object)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen, h.whole = append(h.seen, s), append(h.whole, object)
}

// last is the newest version; the zero sight where there is none yet.
func (h *history) last() sight {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.seen) == 0 {
		return sight{}
	}
	return h.seen[len(h.seen)-1]
}

// early is a version that a pipeline takes for done while it is not: the rotation that its spec asks for, or, from a generation on, a revision, is not there.
func (h *history) early(generation, revision int64) *unstructured.Unstructured {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range h.seen {
		believed := s.Wait == returns || s.Kstatus == string(status.CurrentStatus)
		if believed && (!s.done || s.generation >= generation && s.revision < revision) {
			return h.whole[i]
		}
	}
	return nil
}

// current says whether kstatus has called the object Current since a generation.
func (h *history) current(generation int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.seen, func(s sight) bool { return s.generation >= generation && s.Kstatus == string(status.CurrentStatus) })
}

func see(object *unstructured.Unstructured) sight {
	s := sight{row: row{Wait: waits}, generation: object.GetGeneration(), revision: number(object, "status", "revision")}
	if result, err := status.Compute(object); err == nil {
		s.Kstatus = string(result.Status)
	}
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, each := range conditions {
		c := each.(map[string]any)
		switch kind, reason := c["type"].(string), c["reason"].(string); kind {
		case "Ready":
			s.Ready = c["status"].(string) + " " + reason
			if c["status"] == "True" && waitBelieves(object, c) {
				s.Wait = returns
			}
		case "Reconciling", "Stalled":
			s.Beside += kind + " " + reason
		}
	}
	s.done = s.isDone(object)
	return s
}

// waitBelieves is kubectl's rule (k8s.io/kubectl, pkg/cmd/wait/condition.go): a condition counts unless its own observedGeneration, or, where it has
// none, that of the status, is below metadata.generation.
func waitBelieves(object *unstructured.Unstructured, condition map[string]any) bool {
	observed, found, _ := unstructured.NestedInt64(condition, "observedGeneration")
	if !found {
		observed, found, _ = unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	}
	return !found || observed >= object.GetGeneration()
}

func (s sight) isDone(object *unstructured.Unstructured) bool {
	replaces, requested, _ := unstructured.NestedInt64(object.Object, "spec", "rotationRequest", "replacesRevision")
	_, rotated, _ := unstructured.NestedMap(object.Object, "status", "lastRotation")
	_, completed, _ := unstructured.NestedString(object.Object, "status", "lastRotation", "completionTime")
	return number(object, "status", "rotationGeneration") >= number(object, "spec", "rotationGeneration") &&
		!(requested && replaces >= s.revision) && (!rotated || completed)
}

func number(object *unstructured.Unstructured, path ...string) int64 {
	n, _, _ := unstructured.NestedInt64(object.Object, path...)
	return n
}
