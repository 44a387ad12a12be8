package fly

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	flyapi "github.com/superfly/fly-go"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Releases are made and finished by REST, as the public CLI of August 2026 does it, or by GraphQL, as earlier ones did, where the API has
// no such path. They are listed by GraphQL alone: by REST a release has no definition.

// releasesQuery is for the newest releases.
const releasesQuery = `query($appName: String!, $limit: Int!) {
	app(name: $appName) {
		releasesUnprocessed(first: $limit) {
			nodes { id version status imageRef deploymentStrategy configDefinition createdAt }
		}
	}
}`

func (c *Client) releases(ctx context.Context, app string) ([]release, error) {
	q := query{
		action: "list releases", app: app, text: releasesQuery, variables: map[string]any{"appName": app, "limit": maxReleases}, reads: true,
	}
	var data struct {
		App struct {
			Releases struct {
				Nodes releases `json:"nodes"`
			} `json:"releasesUnprocessed"`
		} `json:"app"`
	}
	err := c.ask(ctx, q, &data)
	return data.App.Releases.Nodes, err
}

// createRelease makes one that differs from base in nothing but its number and time. The definition goes out as raw JSON, whatever is in it.
func (c *Client) createRelease(ctx context.Context, app string, base release) (*release, error) {
	made, err := c.createByREST(ctx, app, base)
	if errors.Is(err, errNoSuchCall) {
		made, err = c.createByGraphQL(ctx, app, base)
	}
	if err != nil {
		return nil, err
	}
	if made.ID == "" { // there is none
		return nil, answerFailure(request{action: createAction, id: app, method: http.MethodPost})
	}
	return &made, nil
}

const createAction, updateAction = "create release", "update release"

func (c *Client) createByREST(ctx context.Context, app string, base release) (release, error) {
	var answer struct {
		Release release `json:"release"`
	}
	err := c.askREST(ctx, request{action: createAction, id: app, method: http.MethodPost, path: releasesPath}, map[string]any{
		"app_name": app, "definition": base.Definition, "image": base.Image, "strategy": base.Strategy,
		"build_id": 0, // the public CLI always sends one; that 0 stands for no build follows from its type alone [?]
	}, &answer)
	return answer.Release, err
}

func (c *Client) createByGraphQL(ctx context.Context, app string, base release) (release, error) {
	q := query{action: createAction, app: app, text: flyapi.CreateRelease_Operation, variables: map[string]any{"input": map[string]any{
		"appId": app, "definition": base.Definition, "image": base.Image, "platformVersion": "machines", "strategy": base.Strategy,
	}}}
	var data struct {
		Create struct {
			Release release `json:"release"`
		} `json:"createRelease"`
	}
	err := c.ask(ctx, q, &data)
	return data.Create.Release, err
}

// completeRelease says that the release has been carried out, for which rotation, and why. GraphQL is asked also where REST does not know the
// release: a release that was found has the ID that GraphQL gives it, and whether REST knows it by that one is not established [?].
func (c *Client) completeRelease(ctx context.Context, r Rollout, made release, cause string) error {
	metadata := map[string]string{metadataKey: strconv.FormatInt(r.Revision, 10), "tenant_credential_cause": cause}
	err := c.completeByREST(ctx, r.App.Name, made.ID, metadata)
	if errors.Is(err, errNoSuchCall) || failure.ReasonOf(err) == reasons.FlyAppNotFound {
		err = c.completeByGraphQL(ctx, r.App.Name, made.ID, metadata)
	}
	return err
}

// completeByREST goes by the status of the answer alone.
func (c *Client) completeByREST(ctx context.Context, app, id string, metadata map[string]string) error {
	if !name.MatchString(id) { // it would lead the request elsewhere
		return errNoSuchCall
	}
	r := request{action: updateAction, id: app, method: http.MethodPatch, path: releasesPath + "/" + id}
	return c.askREST(ctx, r, map[string]any{"status": complete, "metadata": metadata}, nil)
}

func (c *Client) completeByGraphQL(ctx context.Context, app, id string, metadata map[string]string) error {
	q := query{action: updateAction, app: app, text: flyapi.UpdateRelease_Operation, variables: map[string]any{
		"input": map[string]any{"releaseId": id, "status": complete, "metadata": metadata},
	}}
	var data json.RawMessage
	return c.ask(ctx, q, &data)
}

const releasesPath = "/api/v1/releases"

// askREST sends a call of releases once, with a body, and decodes the answer into out, unless that is nil.
func (c *Client) askREST(ctx context.Context, r request, body map[string]any, out any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return failure.New(failure.Retry, reasons.Unexpected, "the request "+r.call()+" cannot be built")
	}
	r.rest, r.body, r.timeout = true, content, platformTimeout
	return c.call(ctx, r, out)
}
