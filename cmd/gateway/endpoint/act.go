package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

const (
	// apiTimeout bounds one call of the API server.
	apiTimeout = 5 * time.Second
	// mostAttempts is how often calls decide anew because the object has changed meanwhile: by the operator, or by another process of this program.
	mostAttempts = 10
)

// queues has, for every object that calls want to write to, those that wait for it. Waiting calls are decided in one go, on one read and with one write: a
// hundred calls that arrive together would else fight over the object, and make the API server retry each of them.
type queues struct {
	mu      sync.Mutex
	waiting map[reference][]*call
}

// reference is an object to which a caller was found to have a right. Another object may have its name by the time that it is written to.
type reference struct {
	client.ObjectKey
	uid types.UID
}

func refer(c *v1alpha1.TenantCredential) reference {
	return reference{client.ObjectKeyFromObject(c), c.UID}
}

// call is one that waits.
type call struct {
	ask ask
	// decided is closed once the rest is set.
	decided chan struct{}
	object  *v1alpha1.TenantCredential
	target  target
	err     error
}

// act has a call decided on what the API server has now, and done. It is done even where the caller has gone meanwhile.
func (e *Endpoint) act(ctx context.Context, key reference, a ask) (*v1alpha1.TenantCredential, target, error) {
	c := &call{ask: a, decided: make(chan struct{})}
	if e.queues.add(key, c) {
		go e.work(context.WithoutCancel(ctx), key)
	}
	select {
	case <-c.decided:
		return c.object, c.target, c.err
	case <-ctx.Done():
		return nil, target{}, problem.Unavailable("The call has ended.")
	}
}

// add appends a call, and says whether it is the first one, so that the work has to begin.
func (q *queues) add(key reference, c *call) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == nil {
		q.waiting = map[reference][]*call{}
	}
	waiting, working := q.waiting[key]
	q.waiting[key] = append(waiting, c)
	return !working
}

// take is what waits now; nil = nothing does, and the work has ended.
func (q *queues) take(key reference) []*call {
	q.mu.Lock()
	defer q.mu.Unlock()
	calls := q.waiting[key]
	if len(calls) == 0 {
		delete(q.waiting, key)
		return nil
	}
	q.waiting[key] = []*call{} // there, and empty: the work goes on
	return calls
}

func (e *Endpoint) work(ctx context.Context, key reference) {
	for calls := e.queues.take(key); calls != nil; calls = e.queues.take(key) {
		e.decideAll(ctx, key, calls)
	}
}

// decideAll decides calls and wakes them, also after a panic, which ends no more than these calls.
func (e *Endpoint) decideAll(ctx context.Context, key reference, calls []*call) {
	defer func() {
		cause := recover()
		if cause != nil {
			ctrllog.FromContext(ctx).Error(fmt.Errorf("%v", cause), "a decision panicked", "stack", string(debug.Stack()))
		}
		for _, c := range calls {
			if cause != nil {
				c.err = errors.New("a decision panicked")
			}
			close(c.decided)
		}
	}()
	e.decide(ctx, key, calls)
}

// decide decides calls, each on what those before it have made of the object, and writes the outcome. Where the object has changed meanwhile, it decides
// all of them anew.
func (e *Endpoint) decide(ctx context.Context, key reference, calls []*call) {
	err := error(problem.Unavailable("The tenant's object changes too often now. Nothing was done."))
	for range mostAttempts {
		object, environment, readErr := e.read(ctx, key)
		if readErr != nil {
			err = readErr
			break
		}
		changed := false
		for _, c := range calls {
			d := decide(object, usable(environment), c.ask, e.MinInterval, e.Clock.Now())
			c.target, c.err = d.target, nil
			if d.step == refuse {
				c.err = d.problem
			}
			changed = d.apply(object, c.ask) || changed
		}
		var writeErr error
		if changed {
			writeErr = e.patch(ctx, object, "rotationRequest", fields(object.Spec.RotationRequest))
		}
		if writeErr == nil {
			for _, c := range calls {
				c.object, c.target.generation = object, object.Generation
			}
			return
		}
		if !apierrors.IsConflict(writeErr) {
			err = refusedWrite(ctx, writeErr)
			break
		}
	}
	for _, c := range calls {
		if c.err == nil {
			c.err = err
		}
	}
}

// apply makes of the object what the call asks for, and says whether that changes it.
func (d decision) apply(c *v1alpha1.TenantCredential, a ask) bool {
	switch d.step {
	case write:
		c.Spec.RotationRequest = &d.request
	case join:
		c.Spec.RotationRequest.JoinedIDs = append(c.Spec.RotationRequest.JoinedIDs, a.id)
	case refuse, await:
		return false
	}
	return true
}

// refusedWrite is the answer where a write failed, and not because the object had changed.
func refusedWrite(ctx context.Context, err error) error {
	if apierrors.IsNotFound(err) {
		return errNotFound
	}
	return unavailable(ctx, err)
}

// read is the object as the API server has it, and its environment as the cache has it: empty where there is none.
func (e *Endpoint) read(ctx context.Context, key reference) (*v1alpha1.TenantCredential, *v1alpha1.TenantEnvironment, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var object v1alpha1.TenantCredential
	if err := e.Live.Get(ctx, key.ObjectKey, &object); err != nil {
		return nil, nil, refusedWrite(ctx, err)
	}
	if object.UID != key.uid || !accepted(&object) { // it was deleted and made again, or the operator has refused it meanwhile
		return nil, nil, errNotFound
	}
	var environment v1alpha1.TenantEnvironment
	err := e.Cached.Get(ctx, client.ObjectKey{Name: object.Spec.EnvironmentRef.Name}, &environment)
	if client.IgnoreNotFound(err) != nil {
		return nil, nil, unavailable(ctx, err)
	}
	return &object, &environment, nil
}

// usable says that the operator can use the environment.
func usable(environment *v1alpha1.TenantEnvironment) bool {
	return meta.IsStatusConditionTrue(environment.Status.Conditions, v1alpha1.ReadyCondition)
}

// fields are those of a request in a merge patch, which keeps what it does not name.
func fields(request *v1alpha1.RotationRequest) map[string]any {
	all := map[string]any{
		"replacesRevision": request.ReplacesRevision, "requestedBy": nil, "id": nil, "reason": nil, "compromised": nil, "joinedIDs": nil,
	}
	for name, text := range map[string]string{"requestedBy": request.RequestedBy, "id": request.ID, "reason": request.Reason} {
		if text != "" {
			all[name] = text
		}
	}
	if request.Compromised {
		all["compromised"] = true
	}
	if len(request.JoinedIDs) > 0 {
		all["joinedIDs"] = request.JoinedIDs
	}
	return all
}

// patch writes one field of the spec; value nil leaves it out. It lands on the object as it was read, and on nothing else. Afterwards object is what the
// API server made of it.
func (e *Endpoint) patch(ctx context.Context, object *v1alpha1.TenantCredential, field string, value map[string]any) error {
	content, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": object.UID, "resourceVersion": object.ResourceVersion},
		"spec":     map[string]any{field: value},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	err = e.Writer.Patch(ctx, object, client.RawPatch(types.MergePatchType, content), client.FieldOwner(FieldManager))
	if err != nil && !apierrors.IsConflict(err) {
		ctrllog.FromContext(ctx).V(1).Info("a write was refused", "field", field, "error", err.Error())
	}
	return err
}
