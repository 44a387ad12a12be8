package flyemulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// release is one deployment as Fly keeps it: of which definition and image, and how far it has come. The next deployment starts
// from the newest one.
type release struct {
	id         string
	version    int
	status     string
	strategy   string
	image      string
	definition json.RawMessage
	metadata   json.RawMessage
	createdAt  time.Time
}

// The states of a release that matter here.
const (
	releasePending  = "pending"
	releaseComplete = "complete"
)

// finished releases take no other state.
var finished = map[string]bool{releaseComplete: true, "failed": true, "interrupted": true}

// newRelease adds a release to an app. The caller holds mu.
func (e *Emulator) newRelease(a *app, image, strategy string, definition json.RawMessage) *release {
	r := &release{
		id: newULID(), version: len(a.releases) + 1, status: releasePending, strategy: strategy, image: image, definition: definition,
		metadata: json.RawMessage("null"), createdAt: e.now(),
	}
	a.releases = append(a.releases, r)
	e.announce()
	return r
}

// deployed is the app's newest release; an app that has none is deployed as the CLI does it. The caller holds mu.
func (e *Emulator) deployed(a *app) *release {
	if newest := a.newestRelease(); newest != nil {
		return newest
	}
	r := e.newRelease(a, "registry.fly.io/"+a.name+":deployment-1", "ROLLING", defaultDefinition(a.name))
	r.status = releaseComplete
	return r
}

// defaultDefinition is the fly.toml of a small app, as JSON. It has what a careless copy loses: a great number, a zero, a member that no
// client knows.
func defaultDefinition(appName string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"app":%q,"primary_region":"fra","kill_timeout":0,"env":{"PRIMARY_REGION":"fra"},`+
		`"deploy":{"strategy":"rolling","max_unavailable":0.33},"checks":{"health":{"type":"http","port":8080,"path":"/health","interval":"15s"}},`+
		`"unknown":{"big":18446744073709551617,"ratio":1.50}}`, appName))
}

func (a *app) newestRelease() *release {
	if len(a.releases) == 0 {
		return nil
	}
	return a.releases[len(a.releases)-1]
}

// newestFirst lists up to limit releases; 0 is all.
func (a *app) newestFirst(limit int) []*release {
	list := slices.Clone(a.releases)
	slices.Reverse(list)
	if limit > 0 && limit < len(list) {
		list = list[:limit]
	}
	return list
}

// node is a release in GraphQL, whose times have whole seconds.
func (r *release) node() map[string]any {
	if r == nil {
		return nil
	}
	return map[string]any{
		"id": r.id, "version": r.version, "stable": true, "inProgress": !finished[r.status], "status": r.status, "description": "Release",
		"reason": "deploy", "imageRef": r.image, "deploymentStrategy": r.strategy, "configDefinition": r.definition, "metadata": r.metadata,
		"createdAt": r.createdAt.UTC().Format(time.RFC3339), "user": map[string]string{"id": "1", "email": "emulator@example.com", "name": "emulator"},
	}
}

// graphQLReleases answers with every name under which clients ask for an app's releases.
func (e *Emulator) graphQLReleases(c *call, appName string, limit int) (answer, error) {
	a, err := e.authorize(c.Request, appName)
	if err != nil {
		return noSuchApp(appName)
	}
	nodes := []map[string]any{}
	for _, r := range a.newestFirst(limit) {
		nodes = append(nodes, r.node())
	}
	list, newest := map[string]any{"nodes": nodes}, a.newestRelease().node()
	return data("app", map[string]any{
		"releases": list, "releasesUnprocessed": list, "currentRelease": newest, "currentReleaseUnprocessed": newest,
	})
}

// createInput and updateInput are what the mutations take; a description is not among it.
type createInput struct {
	AppID           string          `json:"appId"`
	Image           string          `json:"image"`
	PlatformVersion string          `json:"platformVersion"`
	Strategy        string          `json:"strategy"`
	Definition      json.RawMessage `json:"definition"`
}

type updateInput struct {
	ReleaseID string          `json:"releaseId"`
	Status    string          `json:"status"`
	Metadata  json.RawMessage `json:"metadata"`
}

func (e *Emulator) graphQLCreateRelease(c *call, in createInput) (answer, error) {
	a, err := e.authorize(c.Request, in.AppID)
	if err != nil {
		return noSuchApp(in.AppID)
	}
	if in.PlatformVersion != "machines" {
		return graphQLRefusal(errInvalidRelease)
	}
	r, refused := e.makeRelease(c, a, in.Image, in.Strategy, in.Definition)
	if refused != nil {
		return graphQLRefusal(refused)
	}
	return data("createRelease", map[string]any{"release": r.node()})
}

func (e *Emulator) graphQLUpdateRelease(c *call, in updateInput) (answer, error) {
	r, refused := e.changeRelease(c, in)
	if refused != nil {
		return graphQLRefusal(refused)
	}
	return data("updateRelease", map[string]any{"release": r.node()})
}

// graphQLRefusal says by a code what REST says by a status.
func graphQLRefusal(r *refusal) (answer, error) {
	codes := map[int]string{http.StatusForbidden: "UNAUTHORIZED", http.StatusNotFound: "NOT_FOUND", http.StatusUnprocessableEntity: "UNPROCESSABLE"}
	return graphQLError(r.message, codes[r.status])
}

// Fly's answers where it refuses a release. The statuses are not established, but for that of a release that has finished.
var (
	errMayNotRelease   = &refusal{status: http.StatusForbidden, message: "Not authorized to deploy this app."}
	errInvalidRelease  = &refusal{status: http.StatusUnprocessableEntity, message: "the release has an invalid value"}
	errNoRelease       = &refusal{status: http.StatusNotFound, message: "Could not find Release"}
	errReleaseFinished = &refusal{status: http.StatusUnprocessableEntity, message: "the release has already finished"}
)

// makeRelease makes a release of an app that the call may see, by whichever API it was asked for. The caller holds mu.
func (e *Emulator) makeRelease(c *call, a *app, image, strategy string, definition json.RawMessage) (*release, *refusal) {
	if !e.mayRelease(c.Request) {
		return nil, errMayNotRelease
	}
	if image == "" || strategy == "" || len(definition) == 0 || string(definition) == "null" {
		return nil, errInvalidRelease
	}
	return e.newRelease(a, image, strategy, definition), nil
}

// changeRelease is makeRelease for the status and the metadata of one that there is. The caller holds mu.
func (e *Emulator) changeRelease(c *call, in updateInput) (*release, *refusal) {
	a, r := e.findRelease(in.ReleaseID)
	if r == nil {
		return nil, errNoRelease
	}
	if _, err := e.authorize(c.Request, a.name); err != nil {
		return nil, errNoRelease
	}
	switch {
	case !e.mayRelease(c.Request):
		return nil, errMayNotRelease
	case finished[r.status] && in.Status != r.status:
		return nil, errReleaseFinished
	case in.Status != "":
		r.status = in.Status
	}
	if len(in.Metadata) > 0 {
		r.metadata = in.Metadata
	}
	e.announce()
	return r, nil
}

// findRelease returns nil where there is none of that ID. The caller holds mu.
func (e *Emulator) findRelease(id string) (*app, *release) {
	for _, a := range e.apps {
		for _, r := range a.releases {
			if r.id == id {
				return a, r
			}
		}
	}
	return nil, nil
}

// NewRelease is a deployment by another client than the one under test.
type NewRelease struct {
	Image      string          `json:"image"`
	Status     string          `json:"status"`     // empty: complete
	Definition json.RawMessage `json:"definition"` // empty: that of a small app
	AgeSeconds int             `json:"age_seconds"`
}

// AddRelease adds a release and touches no Machine. It returns the release's version, 0 if there is no such app.
func (e *Emulator) AddRelease(appName string, n NewRelease) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, exists := e.apps[appName]
	if !exists {
		return 0
	}
	if len(n.Definition) == 0 {
		n.Definition = defaultDefinition(appName)
	}
	if n.Status == "" {
		n.Status = releaseComplete
	}
	r := e.newRelease(a, n.Image, "ROLLING", n.Definition)
	r.status, r.createdAt = n.Status, r.createdAt.Add(-time.Duration(n.AgeSeconds)*time.Second)
	return r.version
}

// ReleaseState is a release with what was deployed.
type ReleaseState struct {
	ID         string          `json:"id"`
	Version    int             `json:"version"`
	Status     string          `json:"status"`
	Strategy   string          `json:"strategy"`
	Image      string          `json:"image"`
	Definition json.RawMessage `json:"definition"`
	Metadata   json.RawMessage `json:"metadata"`
}

func (a *app) releaseStates() []ReleaseState {
	list := []ReleaseState{}
	for _, r := range a.releases {
		list = append(list, ReleaseState{r.id, r.version, r.status, r.strategy, r.image, r.definition, r.metadata})
	}
	return list
}
