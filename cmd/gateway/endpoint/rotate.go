package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

const (
	// apiTimeout bounds one call of the API server.
	apiTimeout = 5 * time.Second
	// mostAttempts is how often a call decides anew because the object has changed meanwhile. A hundred calls that arrive together need a few.
	mostAttempts = 20
	// pollAgain is when a client asks again how far a rotation is.
	pollAgain = 5
)

// RotateCredentials implements the endpoint's POST rotate-credentials.
func (e *Endpoint) RotateCredentials(ctx context.Context, request openapi.RotateCredentialsRequestObject) (openapi.RotateCredentialsResponseObject, error) {
	wait, applied := parsePrefer(value(request.Params.Prefer))
	a, err := newAsk(callerFrom(ctx), request)
	if err != nil {
		return nil, err
	}
	found, err := e.find(ctx, request.TenantId.String(), verbRotate)
	if err != nil {
		return nil, err
	}
	arrived := arrivalFrom(ctx)
	a.known = arrived.known(found)
	changed, end := e.Changes.subscribe(client.ObjectKeyFromObject(found))
	defer end()
	object, t, err := e.act(ctx, client.ObjectKeyFromObject(found), a)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithDeadline(ctx, arrived.time.Add(wait))
	defer cancel()
	object = e.wait(ctx, changed, object, func(c *v1alpha1.TenantCredential) bool {
		p := measure(c, t)
		return p.done(a.completed) || p.stalled != nil
	})
	return conclude(object, t, a, applied)
}

// act decides on what the API server has now, and does it. Where the object has changed meanwhile, it decides anew.
func (e *Endpoint) act(ctx context.Context, key client.ObjectKey, a ask) (*v1alpha1.TenantCredential, target, error) {
	for range mostAttempts {
		object, ready, err := e.read(ctx, key)
		if err != nil {
			return nil, target{}, err
		}
		d := decide(object, ready, a, e.MinInterval, e.Clock.Now())
		switch d.step {
		case refuse:
			return nil, target{}, d.problem
		case join:
			err = e.join(ctx, object, a, d.target)
		case write:
			err = e.write(ctx, object, d.request)
		}
		switch {
		case err == nil:
			return object, d.target, nil
		case errors.As(err, new(*problem.Problem)):
			return nil, target{}, err
		case apierrors.IsConflict(err), apierrors.IsInvalid(err):
			ctrllog.FromContext(ctx).V(1).Info("the object has changed meanwhile", "step", d.step, "error", err.Error())
		case apierrors.IsNotFound(err):
			return nil, target{}, errNotFound
		default:
			return nil, target{}, unavailable(ctx, err)
		}
	}
	return nil, target{}, problem.Unavailable("The tenant's object changes too often now. Nothing was done.")
}

// read is the object as the API server has it, and whether its environment can be used.
func (e *Endpoint) read(ctx context.Context, key client.ObjectKey) (*v1alpha1.TenantCredential, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var object v1alpha1.TenantCredential
	if err := e.Live.Get(ctx, key, &object); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, false, errNotFound
		}
		return nil, false, unavailable(ctx, err)
	}
	var environment v1alpha1.TenantEnvironment
	err := e.Cached.Get(ctx, client.ObjectKey{Name: object.Spec.EnvironmentRef.Name}, &environment)
	if client.IgnoreNotFound(err) != nil {
		return nil, false, unavailable(ctx, err)
	}
	return &object, err == nil && meta.IsStatusConditionTrue(environment.Status.Conditions, v1alpha1.ReadyCondition), nil
}

// write puts a request where object was read from; it lands on nothing else.
func (e *Endpoint) write(ctx context.Context, object *v1alpha1.TenantCredential, request v1alpha1.RotationRequest) error {
	fields := map[string]any{
		"replacesRevision": request.ReplacesRevision, "requestedBy": request.RequestedBy, "id": request.ID,
		"joinedIDs": append([]string{}, request.JoinedIDs...), // there even where it is empty, so that an id can be appended
		"reason":    nil, "compromised": nil,                  // what an earlier request had
	}
	if request.Reason != "" {
		fields["reason"] = request.Reason
	}
	if request.Compromised {
		fields["compromised"] = true
	}
	err := e.patch(ctx, object, types.MergePatchType, map[string]any{
		"metadata": map[string]any{"uid": object.UID, "resourceVersion": object.ResourceVersion},
		"spec":     map[string]any{"rotationRequest": fields},
	})
	if apierrors.IsInvalid(err) { // the object is the one that was read, so that it is the request that is refused
		ctrllog.FromContext(ctx).Info("the API server refused a request", "error", err.Error())
		return problem.New(http.StatusBadRequest, openapi.InvalidRequest, "The reason is not one line of plain text. Nothing was done.")
	}
	return err
}

// join adds the call's id to the request, whatever else has changed in the object, as long as the rotation is the same.
func (e *Endpoint) join(ctx context.Context, object *v1alpha1.TenantCredential, a ask, t target) error {
	operations := []operation{{"test", "/spec/rotationRequest/replacesRevision", t.replaces}}
	if a.compromised {
		operations = append(operations, operation{"test", "/spec/rotationRequest/compromised", true})
	}
	if object.Spec.RotationRequest.JoinedIDs == nil {
		operations = append(operations, operation{"test", "/metadata/resourceVersion", object.ResourceVersion}, operation{"add", "/spec/rotationRequest/joinedIDs", []string{a.id}})
	} else {
		operations = append(operations, operation{"add", "/spec/rotationRequest/joinedIDs/-", a.id})
	}
	return e.patch(ctx, object, types.JSONPatchType, operations)
}

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patch sends a patch, and has in object what the API server made of it.
func (e *Endpoint) patch(ctx context.Context, object *v1alpha1.TenantCredential, kind types.PatchType, patch any) error {
	content, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	return e.Writer.Patch(ctx, object, client.RawPatch(kind, content), client.FieldOwner(FieldManager))
}

// wait returns the object as it is when enough says so, or ctx or the process ends.
func (e *Endpoint) wait(ctx context.Context, changed <-chan struct{}, object *v1alpha1.TenantCredential, enough func(*v1alpha1.TenantCredential) bool) *v1alpha1.TenantCredential {
	for !enough(object) {
		select {
		case <-ctx.Done():
			return object
		case <-e.Stopping:
			return object
		case <-changed:
		}
		var newer v1alpha1.TenantCredential
		if err := e.Cached.Get(context.WithoutCancel(ctx), client.ObjectKeyFromObject(object), &newer); err != nil || newer.UID != object.UID {
			return object // deleted meanwhile
		}
		if newer.Generation >= object.Generation && newer.Status.Revision >= object.Status.Revision { // the cache may be behind what was read live
			object = &newer
		}
	}
	return object
}

// conclude is the answer to a call, as far as its rotation is.
func conclude(c *v1alpha1.TenantCredential, t target, a ask, applied string) (openapi.RotateCredentialsResponseObject, error) {
	p := measure(c, t)
	body := describe(c, p, a.caller)
	preference := optional(applied)
	switch {
	case p.done(a.completed):
		return openapi.RotateCredentials200JSONResponse{RotationJSONResponse: openapi.RotationJSONResponse{
			Body: body, Headers: openapi.RotationResponseHeaders{ETag: etag(c), PreferenceApplied: preference}}}, nil
	case p.stalled != nil:
		return nil, standingStill(p.stalled, a.caller, "The rotation stays asked for, and is done once that is mended.")
	}
	if p.proved { // committed, and the call waits for its completion
		body.Status, body.Message = openapi.Rotating, "The new credentials are in force. The app's Machines are being moved, which goes on by itself."
	}
	again, location := pollAgain, self(c, p.revision)
	return openapi.RotateCredentials202JSONResponse{RotationInProgressJSONResponse: openapi.RotationInProgressJSONResponse{
		Body:    openapi.RotationInProgress(body),
		Headers: openapi.RotationInProgressResponseHeaders{ETag: etag(c), Location: &location, RetryAfter: &again, PreferenceApplied: preference}}}, nil
}

// ListRotations implements the endpoint's GET rotations.
func (e *Endpoint) ListRotations(ctx context.Context, request openapi.ListRotationsRequestObject) (openapi.ListRotationsResponseObject, error) {
	object, err := e.find(ctx, request.TenantId.String(), verbRead)
	if err != nil {
		return nil, err
	}
	answer := openapi.ListRotations200JSONResponse{Rotations: []openapi.Rotation{}}
	if next, is := upcoming(object); is {
		answer.Rotations = append(answer.Rotations, describe(object, next, callerFrom(ctx)))
	}
	for _, rotation := range rotations(object) {
		answer.Rotations = append(answer.Rotations, describe(object, measure(object, target{revision: rotation.Revision}), callerFrom(ctx)))
	}
	return answer, nil
}

// GetRotation implements the endpoint's GET rotations/{revision}.
func (e *Endpoint) GetRotation(ctx context.Context, request openapi.GetRotationRequestObject) (openapi.GetRotationResponseObject, error) {
	object, err := e.find(ctx, request.TenantId.String(), verbRead)
	if err != nil {
		return nil, err
	}
	p := measure(object, target{revision: request.Revision})
	if p.rotation == nil { // or the cache does not know of it yet
		if object, _, err = e.read(ctx, client.ObjectKeyFromObject(object)); err != nil {
			return nil, err
		}
		p = measure(object, target{revision: request.Revision})
	}
	if p.rotation == nil {
		next, is := upcoming(object)
		if !is || next.revision != request.Revision {
			return nil, problem.New(http.StatusNotFound, openapi.RotationNotFound, "There is no rotation to revision %d, or it is older than the last ten.", request.Revision)
		}
		p = next
	}
	return openapi.GetRotation200JSONResponse{RotationJSONResponse: openapi.RotationJSONResponse{
		Body: describe(object, p, callerFrom(ctx)), Headers: openapi.RotationResponseHeaders{ETag: etag(object)}}}, nil
}

// upcoming is the rotation that is asked for or in progress, and not committed.
func upcoming(c *v1alpha1.TenantCredential) (progress, bool) {
	if pending(c) != nil {
		return measure(c, requested(c)), true
	}
	reconciling := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ReconcilingCondition)
	committed := c.Status.LastRotation == nil || c.Status.LastRotation.CompletionTime != nil
	if reconciling == nil || !committed {
		return progress{}, false
	}
	return progress{revision: c.Status.Revision + 1}, true
}
