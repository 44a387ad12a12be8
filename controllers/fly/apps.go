package fly

import (
	"context"
	"net/http"
	"regexp"

	"github.com/superfly/fly-go/flaps"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// name is what may stand in a path: an app's name comes from a table, and must not lead a request elsewhere.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

func checkName(app string) error {
	if !name.MatchString(app) {
		return failure.New(failure.Wait, failure.FlyAppNotFound, "not a Fly app name")
	}
	return nil
}

// App reads an app. One of an organization other than Config.Organization is Retry/PermissionDenied.
func (c *Client) App(ctx context.Context, name string) (App, error) {
	if err := checkName(name); err != nil {
		return App{}, err
	}
	r := request{action: "get app", id: name, method: http.MethodGet, path: "/apps/" + name, timeout: readTimeout}
	var answer flaps.App
	if err := c.call(ctx, r, &answer); err != nil {
		return App{}, err
	}
	if c.organization != "" && answer.Organization.Slug != c.organization {
		return App{}, failure.New(failure.Retry, failure.PermissionDenied,
			"app "+name+" is not in the Fly organization "+c.organization)
	}
	return App{Name: answer.Name, Organization: answer.Organization.Slug, MachineCount: int(answer.MachineCount)}, nil
}
