package endpoint

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

// describe is a rotation as an answer has it.
func describe(c *v1alpha1.TenantCredential, p progress, caller identity.Caller) openapi.Rotation {
	internal, external := urls(c)
	answer := openapi.Rotation{Revision: p.revision, InternalDatabaseUrl: internal, ExternalDatabaseUrl: external}
	answer.Links.Self = self(c, p.revision)
	answer.Status, answer.Message = verdict(c, p)
	if answer.Status == openapi.Failed {
		answer.Reason = &p.stalled.Reason
		answer.Message = standingStill(p.stalled, caller, "").Detail
	}
	if r := p.rotation; r != nil {
		answer.RequestedBy = asker(r.RequestedBy, caller)
		answer.CommitTime = &r.CommitTime.Time
		if r.CompletionTime != nil {
			answer.CompletionTime = &r.CompletionTime.Time
		}
	} else if request := c.Spec.RotationRequest; request != nil {
		answer.RequestedBy = asker(request.RequestedBy, caller)
	}
	if fly := c.Status.Fly; fly != nil && p.revision >= c.Status.Revision {
		answer.Fly = &openapi.Fly{App: fly.AppName, Variable: variable(c)}
		if p.rotation != nil && fly.Machines != nil { // the numbers are of the last rotation
			answer.Machines = &openapi.Machines{Total: fly.Machines.Total, Updated: fly.Machines.Updated}
		}
	}
	return answer
}

// asker is the requester. The names of the platform's staff and services are not for customers.
func asker(name string, caller identity.Caller) *string {
	if caller.Kind == identity.Customer && name != caller.Name() {
		return nil
	}
	return optional(name)
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func variable(c *v1alpha1.TenantCredential) string {
	if delivery := c.FlyDelivery(); delivery != nil {
		return delivery.Variable
	}
	return ""
}

func self(c *v1alpha1.TenantCredential, revision int64) string {
	return fmt.Sprintf("/api/v1/tenants/%s/rotations/%d", c.Spec.TenantID, revision)
}

// etag is the revision that is in force.
func etag(c *v1alpha1.TenantCredential) *string {
	tag := `"` + strconv.FormatInt(c.Status.Revision, 10) + `"`
	return &tag
}

func verdict(c *v1alpha1.TenantCredential, p progress) (openapi.RotationStatus, string) {
	switch {
	case p.superseded:
		return openapi.Superseded, fmt.Sprintf("A newer rotation came before this one was completed. Revision %d is in force.", c.Status.Revision)
	case p.completed:
		return openapi.Rotated, retrieval(c)
	case p.stalled != nil:
		return openapi.Failed, ""
	case p.proved:
		return openapi.Rotated, retrieval(c)
	case p.rotation != nil:
		return openapi.Rotating, "The new credentials are in force, and no login with them has succeeded yet. The operator continues automatically."
	default:
		return openapi.Rotating, "The rotation is requested. The operator continues automatically."
	}
}

// retrieval is the sentence that the endpoint's callers know.
func retrieval(c *v1alpha1.TenantCredential) string {
	if c.Status.Fly != nil {
		return "Credentials rotated. Retrieve via: fly secrets list -a " + c.Status.Fly.AppName
	}
	if secret := c.Spec.Delivery.ConnectionSecret; secret != nil {
		return "Credentials rotated. Retrieve via: Secret " + secret.Name
	}
	return "Credentials rotated."
}

// urls are the tenant's, with a masked password as the endpoint's callers know it.
func urls(c *v1alpha1.TenantCredential) (internal, external string) {
	if c.Status.Postgres == nil {
		return "", ""
	}
	return mask(c.Status.Postgres.InternalURL), mask(c.Status.Postgres.ExternalURL)
}

// mask puts a masked password after the user of a URL that has none.
func mask(url string) string {
	scheme, rest, is := strings.Cut(url, "://")
	if !is {
		return url
	}
	authority, _, _ := strings.Cut(rest, "/")
	user, _, named := strings.Cut(authority, "@")
	if !named {
		return url
	}
	return scheme + "://" + user + ":********" + rest[len(user):]
}

// standingStill says at what an object stands still. A message of the operator names hosts, roles and sometimes other tenants, so that customers are told
// the reason alone.
func standingStill(stalled *metav1.Condition, caller identity.Caller, consequence string) *problem.Problem {
	detail := fmt.Sprintf("The tenant's rotation is stalled (%s).", stalled.Reason)
	if consequence != "" {
		detail += " " + consequence
	}
	if caller.Kind == identity.Customer {
		return problem.New(http.StatusConflict, openapi.Stalled, "%s Ask the platform's operators.", detail)
	}
	return problem.New(http.StatusConflict, openapi.Stalled, "%s %s", detail, v1alpha1.BoundNote(stalled.Message))
}
