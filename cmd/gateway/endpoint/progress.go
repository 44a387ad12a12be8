package endpoint

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// target is the rotation that answers a call.
type target struct {
	// revision of it, where it is known already; 0 = the one that fulfils the request.
	revision int64
	// replaces is the revision that the request replaces.
	replaces int64
	// compromised: only a rotation that ended the earlier sessions fulfils it, and requestID tells that.
	compromised bool
	requestID   string
	// generation of the object that has the request: an older status says nothing of it.
	generation int64
}

// progress is how far a target is.
type progress struct {
	// revision of the rotation, or the one that it will have.
	revision int64
	// rotation as the status has it; nil = it is not committed.
	rotation *v1alpha1.RotationStatus
	// proved: a login with the password has succeeded.
	proved bool
	// completed: every Machine runs with it.
	completed bool
	// superseded: a newer one came before it was completed.
	superseded bool
	// stalled is what it stands still at; nil = it does not.
	stalled *metav1.Condition
}

// done says that the wait is over.
func (p progress) done(completed bool) bool {
	return p.superseded || p.completed || !completed && p.proved
}

// measure says how far a target is.
func measure(c *v1alpha1.TenantCredential, t target) progress {
	rotation := t.find(c)
	if rotation == nil {
		return progress{revision: max(c.Status.Revision, t.replaces) + 1, stalled: stalled(c, t.generation)}
	}
	p := progress{revision: rotation.Revision, rotation: rotation, completed: rotation.CompletionTime != nil}
	if rotation.Revision < c.Status.Revision { // nothing more becomes of it
		p.proved = p.completed
		p.superseded = !p.completed
		return p
	}
	p.proved = p.completed || meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.PostgresSyncedCondition)
	if !p.completed {
		p.stalled = stalled(c, t.generation)
	}
	return p
}

// find is the rotation that fulfils the target, nil where there is none yet.
func (t target) find(c *v1alpha1.TenantCredential) *v1alpha1.RotationStatus {
	var first *v1alpha1.RotationStatus
	for _, rotation := range rotations(c) { // the newest first
		switch {
		case t.revision != 0 && rotation.Revision == t.revision:
			return rotation
		case t.revision != 0 || rotation.Revision <= t.replaces:
		case t.compromised && t.requestID != "" && rotation.RequestID == t.requestID:
			return rotation
		case !t.compromised:
			first = rotation
		}
	}
	// Status does not say which rotation ended sessions. Where nothing is due any more, one of those after replaces did.
	if t.compromised && t.revision == 0 && c.Status.Revision > t.replaces && settled(c, t.generation) {
		return c.Status.LastRotation
	}
	return first
}

// settled says that nothing is due on the object.
func settled(c *v1alpha1.TenantCredential, generation int64) bool {
	return c.Status.ObservedGeneration >= generation && meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ReadyCondition)
}

// rotations are those that the status has, the newest first.
func rotations(c *v1alpha1.TenantCredential) []*v1alpha1.RotationStatus {
	var all []*v1alpha1.RotationStatus
	if c.Status.LastRotation != nil {
		all = append(all, c.Status.LastRotation)
	}
	for i := range c.Status.History {
		all = append(all, &c.Status.History[i])
	}
	return all
}

// stalled is the condition at which the object stands still, nil where it does not, or where the operator has not seen that generation yet. It can
// be one that a rotation heals: see healed.
func stalled(c *v1alpha1.TenantCredential, generation int64) *metav1.Condition {
	condition := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.StalledCondition)
	if condition == nil || condition.Status != metav1.ConditionTrue || c.Status.ObservedGeneration < generation {
		return nil
	}
	return condition
}

// healed says that a new rotation is what ends the standstill.
func healed(stalled *metav1.Condition) bool {
	switch stalled.Reason {
	case reasons.DriftDetected, reasons.SecretNotDelivered, reasons.RolloutHalted:
		return true
	default:
		return false
	}
}

// pending is the request that is not fulfilled, nil where there is none.
func pending(c *v1alpha1.TenantCredential) *v1alpha1.RotationRequest {
	request := c.Spec.RotationRequest
	if request == nil || requested(c).find(c) != nil {
		return nil
	}
	return request
}

// requested is the target of the object's request.
func requested(c *v1alpha1.TenantCredential) target {
	r := c.Spec.RotationRequest
	return target{replaces: r.ReplacesRevision, compromised: r.Compromised, requestID: r.ID, generation: c.Generation}
}

// remembered is the target of a call with this key, where the object knows the key, and the id that it has there.
func remembered(c *v1alpha1.TenantCredential, a ask) (found target, id string) {
	if a.key == "" {
		return target{}, ""
	}
	mine := func(id string) bool { return strings.HasPrefix(id, a.key+".") }
	for _, rotation := range rotations(c) {
		if mine(rotation.RequestID) {
			return target{revision: rotation.Revision, generation: c.Generation}, rotation.RequestID
		}
	}
	request := c.Spec.RotationRequest
	if request == nil {
		return target{}, ""
	}
	found = requested(c)
	if mine(request.ID) {
		return found, request.ID
	}
	for _, id := range request.JoinedIDs {
		if mine(id) {
			found.compromised = a.compromised
			return found, id
		}
	}
	return target{}, ""
}
