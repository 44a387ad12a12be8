package flyemulator_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	flygo "github.com/superfly/fly-go"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

// secretsList is the status that `fly secrets list` prints for a secret: it makes the requests of the public CLI and goes by its rule.
// A Machine has the secret if it names a release that was made when the secret had been set.
func (f *fixture) secretsList(name string) string {
	f.t.Helper()
	var secrets flygo.ListAppSecretsResp
	f.call(200, "GET", appPath+"/secrets", "").decode(&secrets)
	machines, _, err := f.flaps().ListFlyAppsMachines(f.t.Context(), "acme")
	require.NoError(f.t, err)
	var list struct {
		Releases []struct {
			Version   int
			CreatedAt time.Time `json:"created_at"`
		}
	}
	f.call(200, "GET", "/api/v1/apps/acme/releases?limit=20", "").decode(&list)
	madeAt := map[string]time.Time{}
	for _, r := range list.Releases {
		madeAt[strconv.Itoa(r.Version)] = r.CreatedAt
	}
	for _, secret := range secrets.Secrets {
		if secret.Name == name {
			setAt, err := time.Parse(time.RFC3339, *secret.UpdatedAt)
			require.NoError(f.t, err)
			return statusOf(machines, madeAt, setAt)
		}
	}
	return ""
}

func statusOf(machines []*flygo.Machine, madeAt map[string]time.Time, setAt time.Time) string {
	have := 0
	for _, m := range machines {
		at, known := madeAt[m.Config.Metadata[flygo.MachineConfigMetadataKeyFlyReleaseVersion]]
		if known && !setAt.After(at) {
			have++
		}
	}
	switch have {
	case 0:
		return "Staged"
	case len(machines):
		return "Deployed"
	}
	return "Partial"
}

const operatorToken = "fm2_b3BlcmF0b3I="

// rolled is an app of two Machines whose secret has been set anew and which run with it: by the operator's own code. Beside them is a
// Machine that `fly deploy` knows nothing of.
func rolled(t *testing.T) (f *fixture, client *fly.Client, done fly.Rollout) {
	t.Helper()
	f = newFixture(t)
	f.AdvanceClock(-time.Hour)
	f.secret("old")
	for _, state := range []string{"started", "stopped"} {
		f.addMachine(state)
	}
	_, err := f.AddMachine("acme", flyemulator.NewMachine{Config: json.RawMessage(`{"image":"i:1","metadata":{"by":"hand"}}`)})
	require.NoError(t, err)
	require.Equal(t, "Deployed", f.secretsList("DATABASE_URL"))
	f.AdvanceClock(time.Hour - time.Minute) // every Machine looks older than a rollout watches it
	f.PutToken(operatorToken, flyemulator.Token{Organization: "o"})
	client, err = fly.Open(fly.Config{Token: credential.SecretOf(operatorToken), URL: f.api.URL})
	require.NoError(t, err)
	secret, err := client.SetSecret(t.Context(), "acme", "DATABASE_URL", credential.SecretOf("new"))
	require.NoError(t, err)
	app, err := client.App(t.Context(), "acme")
	require.NoError(t, err)
	done = fly.Rollout{App: app, Variable: "DATABASE_URL", Revision: 7, SecretVersion: secret.Version}
	eventually(t, func() bool {
		progress, err := client.Advance(t.Context(), done)
		return err == nil && progress.Done()
	}, "the rollout ends")
	return f, client, done
}

// start is what the next `fly deploy`, `fly secrets deploy` and `fly config save` start from.
func (f *fixture) start() (image, definition string) {
	f.t.Helper()
	image, err := f.graphQL().LatestImage(f.t.Context(), "acme")
	require.NoError(f.t, err)
	var answer struct {
		Data struct {
			App struct {
				CurrentReleaseUnprocessed struct{ ConfigDefinition json.RawMessage }
			}
		}
	}
	f.call(200, "POST", "/graphql", `{"query":"query($appName: String!) { app(name: $appName) { currentReleaseUnprocessed { configDefinition } } }",`+
		`"variables":{"appName":"acme"}}`).decode(&answer)
	return image, string(answer.Data.App.CurrentReleaseUnprocessed.ConfigDefinition)
}

func TestSecretsListAfterARollout(t *testing.T) {
	t.Parallel()
	f, client, done := rolled(t)
	image, definition := f.start()
	require.Equal(t, "Staged", f.secretsList("DATABASE_URL"), "so it is without a release, although every Machine has the value")

	require.Empty(t, client.RecordRelease(t.Context(), done, "GenerationRaised"))

	require.Equal(t, "Deployed", f.secretsList("DATABASE_URL"))
	nextImage, nextDefinition := f.start()
	require.Equal(t, image, nextImage)
	require.Equal(t, definition, nextDefinition)
	var current, list struct {
		Version  int
		Status   string
		Releases []struct{ Version int }
	}
	f.call(200, "GET", "/api/v1/apps/acme/releases/current", "").decode(&current)
	f.call(200, "GET", "/api/v1/apps/acme/releases?limit=1", "").decode(&list)
	require.Equal(t, "complete", current.Status)
	require.Equal(t, current.Version, list.Releases[0].Version, "the newest is also the newest that is complete")
	newest, err := f.graphQL().GetAppCurrentReleaseMachines(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, current.Version, newest.Version)
}

func TestSecretsListWhereAMachineCouldNotBeReached(t *testing.T) {
	t.Parallel()
	f, client, done := rolled(t)
	_, err := f.AddFault(flyemulator.Fault{Route: "PATCH /v1/apps/{app}/machines/{id}/metadata", Status: 500})
	require.NoError(t, err)
	require.Contains(t, client.RecordRelease(t.Context(), done, "Drift"), "staged on some Machines")
	require.Equal(t, "Partial", f.secretsList("DATABASE_URL"), "as the warning says")
}

func TestSecretsListWhereTheTokenMayNotMakeReleases(t *testing.T) {
	t.Parallel()
	f, client, done := rolled(t)
	f.PutToken(operatorToken, flyemulator.Token{Organization: "o", NoReleases: true})
	require.Contains(t, client.RecordRelease(t.Context(), done, "Drift"), "still shows DATABASE_URL as staged")
	require.Equal(t, "Staged", f.secretsList("DATABASE_URL"), "as the warning says")
	state, _ := f.Inspect(t.Context(), "acme")
	for _, m := range state.Machines {
		require.Equal(t, "new", m.Env["DATABASE_URL"], "the rollout is done all the same")
	}
}

// The requests with which the public CLI makes a release, by Fly's own client.
func TestTheRequestsOfADeployment(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	_, err := f.graphQL().LatestImage(ctx, "acme")
	require.ErrorContains(t, err, "current release not found")
	f.call(404, "GET", "/api/v1/apps/acme/releases/current", "")
	input := flygo.CreateReleaseInput{
		AppId: "acme", PlatformVersion: "machines", Strategy: "ROLLING", Image: "i:2", Definition: map[string]any{"app": "acme"},
	}
	made, err := f.graphQL().CreateRelease(ctx, input)
	require.NoError(t, err)
	release := made.CreateRelease.Release
	require.Equal(t, 1, release.Version)
	list, err := f.graphQL().GetAppReleasesMachines(ctx, "acme", "", 5)
	require.NoError(t, err)
	require.Equal(t, "pending", list[0].Status)
	_, err = f.graphQL().UpdateRelease(ctx, flygo.UpdateReleaseInput{ReleaseId: release.Id, Status: "complete"})
	require.NoError(t, err)
	_, err = f.graphQL().UpdateRelease(ctx, flygo.UpdateReleaseInput{ReleaseId: release.Id, Status: "failed"})
	require.ErrorContains(t, err, "already finished")
	f.call(200, "GET", "/api/v1/apps/acme/releases/current", "")
	input.AppId = "nothing"
	_, err = f.graphQL().CreateRelease(ctx, input)
	require.ErrorContains(t, err, "Could not find App")
	input.AppId, input.Definition = "acme", nil
	_, err = f.graphQL().CreateRelease(ctx, input)
	require.ErrorContains(t, err, "invalid value")
}

// restRelease is a release as the public CLI of August 2026 reads it.
type restRelease struct {
	ID         string    `json:"id"`
	Version    int       `json:"version"`
	Status     string    `json:"status"`
	InProgress bool      `json:"in_progress"`
	Strategy   string    `json:"strategy"`
	ImageRef   string    `json:"image_ref"`
	CreatedAt  time.Time `json:"created_at"`
}

// deploy makes a release with the request of that CLI.
func (f *fixture) deploy() restRelease {
	f.t.Helper()
	var made struct{ Release restRelease }
	f.call(201, "POST", "/api/v1/releases", releaseBody("acme")).decode(&made)
	return made.Release
}

func releaseBody(app string) string {
	return `{"app_name":"` + app + `","build_id":0,"definition":{"app":"acme","n":1.50},"image":"i:2","strategy":"ROLLING"}`
}

func TestTheRequestsOfADeploymentByREST(t *testing.T) {
	f := newFixture(t)
	made := f.deploy()
	require.NotEmpty(t, made.ID)
	require.False(t, made.CreatedAt.IsZero())
	require.Equal(t, restRelease{made.ID, 1, "pending", true, "ROLLING", "i:2", made.CreatedAt}, made)
	f.call(404, "GET", "/api/v1/apps/acme/releases/current", "")

	path := "/api/v1/releases/" + made.ID
	var read restRelease
	f.call(200, "PATCH", path, `{"status":"complete","metadata":{"a":"b"}}`).decode(&read)
	require.Equal(t, "complete", read.Status)
	require.Contains(t, f.call(422, "PATCH", path, `{"status":"failed","metadata":null}`).body, "already finished")
	f.call(200, "GET", "/api/v1/apps/acme/releases/current", "").decode(&read)
	require.Equal(t, made.ID, read.ID)
	state, _ := f.Inspect(t.Context(), "acme")
	require.JSONEq(t, `{"a":"b"}`, string(state.Releases[0].Metadata))

	f.call(422, "POST", "/api/v1/releases", `{"app_name":"acme","definition":null,"image":"i:2","strategy":"ROLLING"}`)
	f.call(404, "PATCH", "/api/v1/releases/nothing", `{"status":"complete"}`)
}

// There is one list of releases, whichever API changes it.
func TestReleasesByRESTAndByGraphQLAreTheSame(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	byREST := f.deploy()
	list, err := f.graphQL().GetAppReleasesMachines(ctx, "acme", "", 5)
	require.NoError(t, err)
	require.Equal(t, byREST.ID, list[0].ID)
	image, definition := f.start()
	require.Equal(t, "i:2", image)
	require.Equal(t, `{"app":"acme","n":1.50}`, definition, "as it was sent")
	_, err = f.graphQL().UpdateRelease(ctx, flygo.UpdateReleaseInput{ReleaseId: byREST.ID, Status: "complete"})
	require.NoError(t, err)

	byGraphQL, err := f.graphQL().CreateRelease(ctx, flygo.CreateReleaseInput{
		AppId: "acme", PlatformVersion: "machines", Strategy: "ROLLING", Image: "i:3", Definition: map[string]any{"app": "acme"},
	})
	require.NoError(t, err)
	f.call(200, "PATCH", "/api/v1/releases/"+byGraphQL.CreateRelease.Release.Id, `{"status":"failed","metadata":null}`)
	var read struct{ Releases []restRelease }
	f.call(200, "GET", "/api/v1/apps/acme/releases?limit=2", "").decode(&read)
	require.Equal(t, []string{"failed", "complete"}, []string{read.Releases[0].Status, read.Releases[1].Status})
}

func TestATokenMakesReleasesOfItsAppsAlone(t *testing.T) {
	f := newFixture(t)
	path := "/api/v1/releases/" + f.deploy().ID
	as := func(want int, token, method, path, body string) {
		t.Helper()
		r, err := f.try(f.api.URL, method, path, body, "Authorization: Bearer "+token)
		require.NoError(t, err)
		require.Equal(t, want, r.status, r.body)
	}
	f.PutToken("of-other", flyemulator.Token{Organization: "other"})
	f.PutToken("no-releases", flyemulator.Token{Organization: "o", NoReleases: true})
	for token, want := range map[string][2]int{"unknown": {401, 401}, "of-other": {403, 404}, "no-releases": {403, 403}, token: {201, 200}} {
		as(want[0], token, "POST", "/api/v1/releases", releaseBody("acme"))
		as(want[1], token, "PATCH", path, `{"status":"running"}`)
	}
	as(404, token, "POST", "/api/v1/releases", releaseBody("nothing"))
}

func TestAFaultOfOneAppMeetsItsReleasesAlone(t *testing.T) {
	f := newFixture(t)
	f.PutApp("other", "o", "")
	path := "/api/v1/releases/" + f.deploy().ID
	for _, route := range []string{"POST /api/v1/releases", "PATCH /api/v1/releases/{id}", "GET /api/v1/apps/{app}/releases"} {
		_, err := f.AddFault(flyemulator.Fault{Route: route, App: "acme", Count: -1, Status: 503})
		require.NoError(t, err)
	}
	f.call(201, "POST", "/api/v1/releases", releaseBody("other"))
	f.call(503, "POST", "/api/v1/releases", releaseBody("acme"))
	f.call(503, "PATCH", path, `{"status":"running"}`)
	f.call(503, "GET", "/api/v1/apps/acme/releases", "")
	f.call(200, "GET", "/api/v1/apps/other/releases", "")
}

// Without them the answer is the one that Fly gives to a path that it does not have.
func TestReleasesByRESTCanBeTakenAway(t *testing.T) {
	f := newFixture(t)
	path := "/api/v1/releases/" + f.deploy().ID
	f.set(func(s *flyemulator.Switches) { s.RESTReleases = false })
	for _, request := range [][2]string{
		{"POST", "/api/v1/releases"}, {"PATCH", path}, {"GET", "/api/v1/apps/acme/releases"}, {"GET", "/api/v1/apps/acme/releases/current"},
	} {
		require.JSONEq(t, `{"errors":{"detail":"not found"}}`, f.call(404, request[0], request[1], releaseBody("acme")).body)
	}
	list, err := f.graphQL().GetAppReleasesMachines(t.Context(), "acme", "", 5)
	require.NoError(t, err)
	require.Len(t, list, 1, "GraphQL goes on")
}

func TestMetadataIsPatchedWithoutARestart(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	before := f.get(path)
	f.call(200, "PATCH", path+"/metadata", `{"metadata":{"a":"b","fly_process_group":"","fly_platform_version":null}}`)
	after := f.get(path)
	require.Equal(t, before.InstanceID, after.InstanceID)
	require.Equal(t, "started", after.State)
	require.Contains(t, string(after.Config), `"a":"b"`)
	require.NotContains(t, string(after.Config), "fly_process_group")
	require.NotContains(t, string(after.Config), "fly_platform_version")
	require.Contains(t, string(after.Config), "fly_release_id", "what is not named stays")
}
