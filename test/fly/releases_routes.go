package flyemulator

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// The calls with which the public CLI of August 2026 makes and finishes a release. Earlier ones do it by GraphQL.
const (
	createReleaseRoute = "POST /api/v1/releases"
	updateReleaseRoute = "PATCH /api/v1/releases/{id}"
)

// ifRESTReleases answers as Fly's releases API does where it has no such path, unless the switch is on.
func (e *Emulator) ifRESTReleases(find func(*call) error) func(*call) error {
	return func(c *call) error {
		if !e.switches.RESTReleases {
			return &refusal{status: http.StatusNotFound, message: "no such path", body: map[string]any{"errors": map[string]string{"detail": "not found"}}}
		}
		return find(c)
	}
}

// listReleases is what `fly secrets list` and `fly releases` ask for.
func (e *Emulator) listReleases(c *call) (answer, error) {
	limit, _ := strconv.Atoi(c.URL.Query().Get("limit")) // none is all
	list := []map[string]any{}
	for _, r := range c.app.newestFirst(limit) {
		list = append(list, r.view())
	}
	return ok(map[string]any{"releases": list})
}

// currentRelease is the newest one that is complete.
func (e *Emulator) currentRelease(c *call) (answer, error) {
	for _, r := range c.app.newestFirst(0) {
		if r.status == releaseComplete {
			return ok(r.view())
		}
	}
	return answer{}, fail(http.StatusNotFound, "release not found")
}

func (r *release) view() map[string]any {
	return map[string]any{
		"id": r.id, "version": r.version, "stable": true, "in_progress": !finished[r.status], "status": r.status, "strategy": r.strategy,
		"user": "emulator", "created_at": r.createdAt.UTC().Format(time.RFC3339Nano), "image_ref": r.image,
	}
}

// createRelease is graphQLCreateRelease by REST. There is a build_id, too, which means nothing here.
func (e *Emulator) createRelease(c *call) (answer, error) {
	var in struct {
		AppName    string          `json:"app_name"`
		Image      string          `json:"image"`
		Strategy   string          `json:"strategy"`
		Definition json.RawMessage `json:"definition"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	a, err := e.authorize(c.Request, in.AppName)
	if err != nil {
		return answer{}, err
	}
	r, refused := e.makeRelease(c, a, in.Image, in.Strategy, in.Definition)
	if refused != nil {
		return answer{}, refused
	}
	return created(map[string]any{"release": r.view()})
}

// updateRelease is graphQLUpdateRelease by REST.
func (e *Emulator) updateRelease(c *call) (answer, error) {
	var in updateInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	in.ReleaseID = c.PathValue("id")
	r, refused := e.changeRelease(c, in)
	if refused != nil {
		return answer{}, refused
	}
	return ok(r.view())
}

// appOfRelease is the app that a release is of, for faults and the request log; empty: there is no such release.
func (e *Emulator) appOfRelease(id string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a, r := e.findRelease(id); r != nil {
		return a.name
	}
	return ""
}

// appInRelease is the app of which a body asks for a release.
func appInRelease(body []byte) string {
	var in struct {
		AppName string `json:"app_name"`
	}
	_ = json.Unmarshal(body, &in) // a body that cannot be read names none
	return in.AppName
}
