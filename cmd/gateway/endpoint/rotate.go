package endpoint

import (
	"context"
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

// pollAgain is when a client asks again how far a rotation is, in seconds.
const pollAgain = 5

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
	a.arrived, a.known = arrived.time, arrived.known(found)
	changed, end := e.Changes.subscribe(client.ObjectKeyFromObject(found))
	defer end()
	object, t, err := e.act(ctx, refer(found), a)
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
		return nil, standingStill(p.stalled, a.caller, "The rotation stays requested, and the operator completes it once this is fixed.")
	}
	if p.proved { // committed, and the call waits for its completion
		body.Status, body.Message = openapi.Rotating, "The new credentials are in force. The app's Machines are being updated. The operator continues automatically."
	}
	again, location := pollAgain, self(c, p.revision)
	return openapi.RotateCredentials202JSONResponse{RotationInProgressJSONResponse: openapi.RotationInProgressJSONResponse{
		Body:    body,
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
		if object, _, err = e.read(ctx, refer(object)); err != nil {
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
