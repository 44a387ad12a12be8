package fly

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// preflightTimeout bounds Preflight: an environment's look does not wait longer for Fly.
const preflightTimeout = 5 * time.Second

// personal is the slug of every user's own organization, beside another one by which Fly's APIs call it, too.
const personal = "personal"

// Preflight asks Fly what the token is good for (GET /v1/tokens/current). nil: Fly accepts it, and does not say that it is of another organization than
// Config.Organization. Retry/AuthenticationFailed: it is refused. Retry/PermissionDenied: it is of other organizations. Every other failure
// proves nothing of the token.
func (c *Client) Preflight(ctx context.Context) error {
	r := request{action: "get", id: "tokens/current", method: http.MethodGet, path: "/tokens/current", timeout: preflightTimeout}
	var answer struct {
		Tokens []struct {
			Organization string `json:"org_slug"`
		} `json:"tokens"`
	}
	if err := c.call(ctx, r, &answer); err != nil {
		return withoutApp(err)
	}
	var organizations []string
	for _, token := range answer.Tokens {
		if !name.MatchString(token.Organization) {
			return nil // an answer without an organization proves nothing
		}
		organizations = append(organizations, token.Organization)
	}
	wanted := c.organization
	if wanted == "" || len(organizations) == 0 || wanted == personal || slices.Contains(organizations, personal) || slices.Contains(organizations, wanted) {
		return nil
	}
	return failure.New(failure.Retry, reasons.PermissionDenied, "The Fly token is of organization "+organizations[0]+", not of "+wanted)
}

// withoutApp is a failure of a call that is about no app: a 404 says that the API has no such call.
func withoutApp(err error) error {
	if failure.ReasonOf(err) == reasons.FlyAppNotFound {
		return errNoSuchCall
	}
	return err
}
