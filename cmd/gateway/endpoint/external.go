package endpoint

import (
	"context"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

// GetExternalAccess implements the endpoint's GET external-db-access.
func (e *Endpoint) GetExternalAccess(ctx context.Context, request openapi.GetExternalAccessRequestObject) (openapi.GetExternalAccessResponseObject, error) {
	object, err := e.find(ctx, request.TenantId.String(), verbRead)
	if err != nil {
		return nil, err
	}
	return openapi.GetExternalAccess200JSONResponse{ExternalAccessJSONResponse: openapi.ExternalAccessJSONResponse(access(object, 0))}, nil
}

// SetExternalAccess implements the endpoint's POST external-db-access.
func (e *Endpoint) SetExternalAccess(ctx context.Context, request openapi.SetExternalAccessRequestObject) (openapi.SetExternalAccessResponseObject, error) {
	body, done, err := e.setAccess(ctx, request.TenantId.String(), request.Body.Enabled)
	switch {
	case err != nil:
		return nil, err
	case done:
		return openapi.SetExternalAccess200JSONResponse{ExternalAccessJSONResponse: openapi.ExternalAccessJSONResponse(body)}, nil
	default:
		return openapi.SetExternalAccess202JSONResponse{ExternalAccessInProgressJSONResponse: later(request.TenantId, body)}, nil
	}
}

// PutExternalAccess implements the endpoint's PUT external-db-access, which is older than POST and means the same.
func (e *Endpoint) PutExternalAccess(ctx context.Context, request openapi.PutExternalAccessRequestObject) (openapi.PutExternalAccessResponseObject, error) {
	body, done, err := e.setAccess(ctx, request.TenantId.String(), request.Body.Enabled)
	switch {
	case err != nil:
		return nil, err
	case done:
		return openapi.PutExternalAccess200JSONResponse{ExternalAccessJSONResponse: openapi.ExternalAccessJSONResponse(body)}, nil
	default:
		return openapi.PutExternalAccess202JSONResponse{ExternalAccessInProgressJSONResponse: later(request.TenantId, body)}, nil
	}
}

func later(tenantID openapi.TenantID, body openapi.ExternalAccess) openapi.ExternalAccessInProgressJSONResponse {
	again, location := pollAgain, "/api/v1/tenants/"+tenantID.String()+"/external-db-access"
	return openapi.ExternalAccessInProgressJSONResponse{Body: body, Headers: openapi.ExternalAccessInProgressResponseHeaders{Location: &location, RetryAfter: &again}}
}

// setAccess asks for it and waits. done says that the operator has done it.
func (e *Endpoint) setAccess(ctx context.Context, tenantID string, enabled bool) (answer openapi.ExternalAccess, done bool, err error) {
	found, err := e.find(ctx, tenantID, verbExpose)
	if err != nil {
		return answer, false, err
	}
	changed, end := e.Changes.subscribe(client.ObjectKeyFromObject(found))
	defer end()
	object, err := e.writeAccess(ctx, refer(found), enabled)
	if err != nil {
		return answer, false, err
	}
	generation := object.Generation
	ctx, cancel := context.WithDeadline(ctx, arrivalFrom(ctx).time.Add(usualWait))
	defer cancel()
	object = e.wait(ctx, changed, object, func(c *v1alpha1.TenantCredential) bool {
		return accessDone(c, enabled, generation) || accessRefused(c, enabled, generation) != nil || stalled(c, generation) != nil
	})
	caller := callerFrom(ctx)
	switch {
	case accessDone(object, enabled, generation):
		return access(object, generation), true, nil
	case accessRefused(object, enabled, generation) != nil:
		return answer, false, notOffered(accessRefused(object, enabled, generation), caller)
	case stalled(object, generation) != nil:
		return answer, false, standingStill(stalled(object, generation), caller, "The change stays requested, and the operator makes it once this is fixed.")
	default:
		return access(object, generation), false, nil
	}
}

// writeAccess has the object ask for it. Where it does so already, nothing is written.
func (e *Endpoint) writeAccess(ctx context.Context, key reference, enabled bool) (*v1alpha1.TenantCredential, error) {
	for range mostAttempts {
		object, environment, err := e.read(ctx, key)
		if err != nil {
			return nil, err
		}
		if p := accessPrecluded(object, environment, enabled); p != nil {
			return nil, p
		}
		if (object.Spec.ExternalAccess != nil) == enabled {
			return object, nil
		}
		var wanted map[string]any // null leaves it out
		if enabled {
			wanted = map[string]any{}
		}
		err = e.patch(ctx, object, "externalAccess", wanted)
		switch {
		case err == nil:
			return object, nil
		case !apierrors.IsConflict(err):
			return nil, refusedWrite(ctx, err)
		}
	}
	return nil, problem.Unavailable("The tenant's object changes too often now. Nothing was done.")
}

func accessPrecluded(c *v1alpha1.TenantCredential, environment *v1alpha1.TenantEnvironment, enabled bool) *problem.Problem {
	switch {
	case !c.DeletionTimestamp.IsZero():
		return problem.New(http.StatusConflict, openapi.Deleting, "The tenant's credentials are being removed from management. Nothing was done.")
	case enabled && environment.Spec.Postgres.External == nil && environment.UID != "": // asked for now, it would come as a surprise once there is an address
		return problem.New(http.StatusConflict, openapi.NotOffered, "The tenant's environment offers no external access. Nothing was done.")
	case !usable(environment):
		return problem.Unavailable("The tenant's environment is not ready now. Nothing was done.").After(10 * time.Second)
	default:
		return nil
	}
}

// accessCondition is what the operator says of that generation, or of a later one; nil = nothing yet.
func accessCondition(c *v1alpha1.TenantCredential, generation int64) *metav1.Condition {
	condition := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ExternalAccessCondition)
	if condition == nil || condition.ObservedGeneration < generation {
		return nil
	}
	return condition
}

func accessDone(c *v1alpha1.TenantCredential, enabled bool, generation int64) bool {
	condition := accessCondition(c, generation)
	switch {
	case enabled:
		return condition != nil && condition.Status == metav1.ConditionTrue
	case condition == nil: // the tenant never had it
		return c.Status.ObservedGeneration >= generation && meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ExternalAccessCondition) == nil
	default:
		return condition.Status == metav1.ConditionFalse && condition.Reason != reasons.Disabling
	}
}

// accessRefused is the condition that says why access cannot be enabled.
func accessRefused(c *v1alpha1.TenantCredential, enabled bool, generation int64) *metav1.Condition {
	condition := accessCondition(c, generation)
	if condition == nil || !enabled || condition.Reason != reasons.NotOffered && condition.Reason != reasons.NotEnforced {
		return nil
	}
	return condition
}

func notOffered(condition *metav1.Condition, caller identity.Caller) *problem.Problem {
	const fact = "External access cannot be enabled in the tenant's environment (%s). The access stays requested."
	if caller.Kind == identity.Customer {
		return problem.New(http.StatusConflict, openapi.NotOffered, fact+" Ask the platform's operators.", condition.Reason)
	}
	return problem.New(http.StatusConflict, openapi.NotOffered, fact+" %s", condition.Reason, v1alpha1.BoundNote(condition.Message))
}

// access is how far external access is, by what the operator says of that generation or a later one; 0 = by what it says.
func access(c *v1alpha1.TenantCredential, generation int64) openapi.ExternalAccess {
	internal, external := urls(c)
	asked := c.Spec.ExternalAccess != nil
	answer := openapi.ExternalAccess{Enabled: asked, InternalDatabaseUrl: internal, ExternalDatabaseUrl: external}
	refused := accessRefused(c, asked, generation)
	switch {
	case accessDone(c, asked, generation) && asked:
		answer.Status, answer.Message = openapi.Enabled, "The tenant's logins are accepted from outside."
	case accessDone(c, asked, generation):
		answer.Status, answer.Message = openapi.Disabled, "The tenant's logins are not accepted from outside."
	case refused != nil:
		answer.Status, answer.Message = openapi.Disabled, "External access is requested, and cannot be enabled in the tenant's environment ("+refused.Reason+")."
	case asked:
		answer.Status, answer.Message = openapi.Enabling, "External access is requested. The operator continues automatically."
	default:
		answer.Status, answer.Message = openapi.Disabling, "The end of the external access is requested. The operator continues automatically."
	}
	return answer
}
