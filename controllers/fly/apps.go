package fly

import (
	"context"
	"net/http"
	"strings"

	"github.com/superfly/fly-go/flaps"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// checkName: an app's name comes from a table, and stands in a path.
func checkName(app string) error {
	if !name.MatchString(app) {
		return failure.New(failure.Wait, reasons.FlyAppNotFound, "not a Fly app name")
	}
	return nil
}

// App reads an app. One of an organization other than Config.Organization is Retry/PermissionDenied.
func (c *Client) App(ctx context.Context, app string) (App, error) {
	if err := checkName(app); err != nil {
		return App{}, err
	}
	r := request{action: "get app", id: app, method: http.MethodGet, path: "/apps/" + app, timeout: readTimeout}
	var answer flaps.App
	if err := c.call(ctx, r, &answer); err != nil {
		return App{}, err
	}
	slug := answer.Organization.Slug
	if !strings.EqualFold(answer.Name, app) || (slug != "" && !name.MatchString(slug)) || answer.MachineCount < 0 {
		return App{}, answerFailure(r)
	}
	if answer.MachineCount > maxMachines {
		return App{}, boundFailure(r, errManyMachines)
	}
	if c.organization != "" && slug != c.organization {
		return App{}, failure.New(failure.Retry, reasons.PermissionDenied,
			"app "+app+" is not in the Fly organization "+c.organization)
	}
	return App{Name: app, Organization: slug, MachineCount: int(answer.MachineCount)}, nil
}
