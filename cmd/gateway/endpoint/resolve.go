package endpoint

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

// The verbs that a subject of the cluster needs on a TenantCredential.
const (
	verbRotate = "rotate"
	verbRead   = "get"
	verbExpose = "expose"
)

var (
	errForbidden = problem.New(http.StatusForbidden, openapi.Forbidden, "You may not do this to this tenant, or there is no such tenant.")
	errNotFound  = problem.New(http.StatusNotFound, openapi.TenantNotFound, "The endpoint manages no such tenant.")
	errAmbiguous = problem.New(http.StatusConflict, openapi.AmbiguousTenant,
		"The tenant is in several environments, and you have a right to more than one of them. Nothing was done. Ask the platform's operators.")
)

// find is the tenant's object, where the caller has the right. To a caller whose right depends on the tenant, an unknown tenant and another's are the same.
func (e *Endpoint) find(ctx context.Context, tenantID, verb string) (*v1alpha1.TenantCredential, error) {
	candidates, err := e.candidates(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	caller := callerFrom(ctx)
	var allowed []v1alpha1.TenantCredential
	if caller.Kind == identity.Customer {
		allowed, err = e.owned(ctx, candidates, tenantID, caller.Name())
	} else {
		allowed, err = e.permitted(ctx, candidates, caller.User, verb)
	}
	switch {
	case err != nil:
		return nil, err
	case len(allowed) > 1:
		return nil, errAmbiguous
	default:
		return allowed[0].DeepCopy(), nil
	}
}

// candidates are the tenant's objects that the operator has accepted. An editor of a namespace can name a stranger's tenant there: an object that
// the operator has not looked at, or has refused, proves nothing. The operator alone writes status.
func (e *Endpoint) candidates(ctx context.Context, tenantID string) ([]v1alpha1.TenantCredential, error) {
	var list v1alpha1.TenantCredentialList
	if err := e.Cached.List(ctx, &list, client.MatchingFields{TenantIndex: tenantID}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, unavailable(ctx, err)
	}
	return slices.DeleteFunc(slices.Clone(list.Items), func(c v1alpha1.TenantCredential) bool { return !accepted(&c) }), nil
}

// accepted says that the operator holds the tenant for this object.
func accepted(c *v1alpha1.TenantCredential) bool {
	if c.Status.Postgres == nil || c.Status.ObservedGeneration < 0 {
		return false
	}
	stalled := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.StalledCondition)
	if stalled == nil {
		return true
	}
	switch stalled.Reason {
	case reasons.OwnershipConflict, reasons.NamespaceNotAllowed, reasons.TenantNotBound, reasons.NameConflict,
		reasons.RoleNotAllowed, reasons.InvalidSpec, reasons.EnvironmentNotFound:
		return false
	default:
		return true
	}
}

// owned are the candidates in whose environment the customer owns the tenant. Every environment is asked, regardless of the candidates.
func (e *Endpoint) owned(ctx context.Context, candidates []v1alpha1.TenantCredential, tenantID, subject string) ([]v1alpha1.TenantCredential, error) {
	answer := e.Owners.Ask(ctx, tenantID, subject)
	owns := slices.Contains(slices.Collect(maps.Values(answer.Owned)), true)
	allowed := slices.DeleteFunc(candidates, func(c v1alpha1.TenantCredential) bool { return !answer.Owned[c.Spec.EnvironmentRef.Name] })
	switch {
	case len(allowed) > 0:
		return allowed, nil
	case answer.Silent:
		return nil, problem.Unavailable("The endpoint cannot check the owner of the tenant now. Nothing was done.")
	case owns: // it is the caller's, and only not managed here
		return nil, errNotFound
	default:
		return nil, errForbidden
	}
}

// permitted are the candidates on which the subject has the verb.
func (e *Endpoint) permitted(ctx context.Context, candidates []v1alpha1.TenantCredential, subject user.Info, verb string) ([]v1alpha1.TenantCredential, error) {
	all, err := e.may(ctx, subject, verb, client.ObjectKey{})
	switch {
	case err != nil:
		return nil, err
	case all && len(candidates) == 0:
		return nil, errNotFound
	case all:
		return candidates, nil
	}
	var allowed []v1alpha1.TenantCredential
	for i := range candidates {
		may, err := e.may(ctx, subject, verb, client.ObjectKeyFromObject(&candidates[i]))
		if err != nil {
			return nil, err
		}
		if may {
			allowed = append(allowed, candidates[i])
		}
	}
	if len(allowed) == 0 {
		return nil, errForbidden
	}
	return allowed, nil
}

// may asks the API server; an empty key stands for every TenantCredential.
func (e *Endpoint) may(ctx context.Context, subject user.Info, verb string, key client.ObjectKey) (bool, error) {
	decision, _, err := e.Authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: subject, Verb: verb, Namespace: key.Namespace, Name: key.Name, ResourceRequest: true,
		APIGroup: v1alpha1.GroupVersion.Group, APIVersion: v1alpha1.GroupVersion.Version, Resource: "tenantcredentials",
	})
	if err != nil {
		return false, unavailable(ctx, err)
	}
	return decision == authorizer.DecisionAllow, nil
}

// unavailable is the answer to a failure of the API server. The cause is for the platform's log and not for callers.
func unavailable(ctx context.Context, err error) error {
	ctrllog.FromContext(ctx).Error(err, "the API server refused a request of the endpoint")
	return problem.Unavailable("The platform's API server does not answer now. Nothing was done.")
}
