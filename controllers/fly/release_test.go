package fly

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

const (
	graphQLRoute = "POST /graphql"
	createRoute  = "POST /api/v1/releases"
	finishRoute  = "PATCH /api/v1/releases/{id}"
)

// releaseAPI is an API by which releases are made and finished. A fault of either call begins as create or finish.
type releaseAPI struct {
	rest           bool
	create, finish flyemulator.Fault
}

// byEitherAPI runs a test with releases by REST, and at a Fly that has them by GraphQL alone, whose first call lists them.
func byEitherAPI(t *testing.T, test func(*testing.T, releaseAPI)) {
	t.Helper()
	t.Run("by REST", func(t *testing.T) {
		test(t, releaseAPI{true, flyemulator.Fault{Route: createRoute}, flyemulator.Fault{Route: finishRoute}})
	})
	t.Run("by GraphQL", func(t *testing.T) {
		test(t, releaseAPI{false, flyemulator.Fault{Route: graphQLRoute, Skip: 1}, flyemulator.Fault{Route: graphQLRoute, Skip: 2}})
	})
}

func (api releaseAPI) deployedWorld(t *testing.T, machines ...flyemulator.NewMachine) (*world, Rollout) {
	t.Helper()
	w, r := deployedWorld(t, machines...)
	w.SetSwitches(func(s *flyemulator.Switches) { s.RESTReleases = api.rest })
	return w, r
}

// deployedWorld is an app that was deployed an hour ago, with a completed rollout.
func deployedWorld(t *testing.T, machines ...flyemulator.NewMachine) (*world, Rollout) {
	t.Helper()
	w := newWorld(t, machines...)
	w.AdvanceClock(time.Hour)
	w.later(time.Hour)
	r := w.set(1)
	require.True(t, w.run(r).Done())
	var err error
	r.App, err = w.App(t.Context(), testApp)
	require.NoError(t, err)
	w.ClearRequests()
	return w, r
}

func (w *world) record(r Rollout) string {
	return w.RecordRelease(w.t.Context(), r, "GenerationRaised")
}

func (w *world) releases() []flyemulator.ReleaseState {
	w.t.Helper()
	app, ok := w.Inspect(w.t.Context(), testApp)
	require.True(w.t, ok)
	return app.Releases
}

// named is the release version that each Machine names, in the order of their IDs.
func (w *world) named() (versions []string) {
	w.t.Helper()
	for _, m := range w.state() {
		versions = append(versions, readSettings(m.Config, "").release)
	}
	return versions
}

// asked are the calls of releases, by their routes.
func (w *world) asked() (routes []string) {
	for _, r := range w.Requests() {
		if !strings.Contains(r.Route, " /v1/") {
			routes = append(routes, r.Route)
		}
	}
	return routes
}

// sent counts them.
func (w *world) sent() int { return len(w.asked()) }

func TestARolloutThatIsDoneIsRecordedAsARelease(t *testing.T) {
	byEitherAPI(t, testARolloutThatIsDoneIsRecorded)
}

func testARolloutThatIsDoneIsRecorded(t *testing.T, api releaseAPI) {
	w, r := api.deployedWorld(t, started, stopped)
	before, running := w.releases()[0], w.state()
	require.Empty(t, w.record(r))
	if api.rest {
		require.Equal(t, []string{graphQLRoute, createRoute, finishRoute}, w.asked(), "only the definition comes from GraphQL")
	} else {
		require.Equal(t, []string{graphQLRoute, createRoute, graphQLRoute, finishRoute, graphQLRoute}, w.asked(), "REST comes first")
	}

	require.Len(t, w.releases(), 2)
	made := w.releases()[1]
	require.Equal(t, before.Image, made.Image)
	require.Equal(t, before.Strategy, made.Strategy)
	require.Equal(t, string(before.Definition), string(made.Definition), "what the next deployment starts from is as it was")
	require.Equal(t, "complete", made.Status)
	require.JSONEq(t, `{"tenant_credential_revision":"1","tenant_credential_cause":"GenerationRaised"}`, string(made.Metadata))

	require.Equal(t, []string{"2", "2"}, w.named())
	for i, m := range w.state() {
		require.Equal(t, running[i].InstanceID, m.InstanceID, "nothing was replaced")
		require.Equal(t, withoutRelease(t, running[i].Config), withoutRelease(t, m.Config))
		require.Contains(t, string(m.Config), made.ID)
		require.False(t, m.Leased)
	}
	require.True(t, w.run(r).Done(), "the Machines still count as moved")
	w.ClearRequests()
	require.Empty(t, w.record(r))
	require.Len(t, w.releases(), 2, "once is enough")
	require.Equal(t, 1, w.sent(), "a look")
	require.False(t, slices.ContainsFunc(w.Requests(), func(q flyemulator.Request) bool { return q.Machine != "" }), "and no Machine is touched")
}

// Every field of a config that this program does not know, and each number as it is spelt, is there after the release as it was before.
func TestAReleaseLeavesTheRestOfAConfigAlone(t *testing.T) {
	w, r := deployedWorld(t, flyemulator.NewMachine{Config: json.RawMessage(`{"zeta":{"unknown":1.50,"n":18446744073709551617},"image":"i:1","auto_destroy":false,
		"restart":{"policy":"on-failure","max_retries":0},"env":{"A":"<&>"},"empty":{},"services":[{"autostop":"a new way","checks":[]}],
		"rootfs":{"persist":"sometimes","size_gb":0},"metadata":{"z":"1","fly_platform_version":"v2"}}`)})
	w.AddRelease(testApp, flyemulator.NewRelease{Image: "i:1", AgeSeconds: 7200})
	before := parsed(w.state()[0].Config).(map[string]any)
	require.Empty(t, w.record(r))
	after := parsed(w.state()[0].Config).(map[string]any)
	require.NotEmpty(t, after["metadata"].(map[string]any)["fly_release_version"])
	for _, key := range []string{"fly_release_id", "fly_release_version"} {
		delete(after["metadata"].(map[string]any), key)
	}
	require.Equal(t, before, after)
}

// withoutRelease is a config but for the names of its release.
func withoutRelease(t *testing.T, config json.RawMessage) map[string]any {
	t.Helper()
	var all map[string]any
	require.NoError(t, json.Unmarshal(config, &all))
	maps.DeleteFunc(all["metadata"].(map[string]any), func(key string, _ any) bool { return strings.HasPrefix(key, "fly_release_") })
	return all
}

func TestMachinesThatFlyDeployDoesNotManageAreLeftAlone(t *testing.T) {
	by := func(metadata string) flyemulator.NewMachine {
		return flyemulator.NewMachine{Config: json.RawMessage(`{"image":"i:1","metadata":{` + metadata + `}}`)}
	}
	w, r := deployedWorld(t, by(`"a":"b"`), by(`"fly_process_group":"app"`))
	require.Empty(t, w.record(r))
	require.Zero(t, w.sent(), "and nothing is asked")
	require.Equal(t, []string{"", ""}, w.named())

	w, r = deployedWorld(t, started, by(`"a":"b"`))
	require.Empty(t, w.record(r))
	require.ElementsMatch(t, []string{"2", ""}, w.named())
}

func TestATokenThatMayNotMakeReleases(t *testing.T) {
	byEitherAPI(t, func(t *testing.T, api releaseAPI) {
		w, r := api.deployedWorld(t, started, started)
		w.PutToken(testToken, flyemulator.Token{Organization: "o", NoReleases: true})
		fact, calls := "Fly returned HTTP 403 for POST /api/v1/releases (the token lacks the permission, or the app is in another organization)", 2
		if !api.rest {
			fact, calls = "Fly returned a GraphQL error (UNAUTHORIZED) for create release of sp-acme (the token lacks the permission)", 3
		}
		require.Equal(t, "fly secrets list still shows DATABASE_URL as staged: "+fact, w.record(r))
		require.Equal(t, calls, w.sent(), "a look and one attempt by each API that there is")
		require.Len(t, w.releases(), 1)
		require.Equal(t, []string{"1", "1"}, w.named())
		require.True(t, w.run(r).Done())
	})
}

func TestALostAnswerMakesNoSecondRelease(t *testing.T) {
	byEitherAPI(t, func(t *testing.T, api releaseAPI) {
		for _, mode := range []string{flyemulator.FaultDrop, flyemulator.FaultResetAfter} {
			w, r := api.deployedWorld(t, started)
			fault := api.create
			fault.Mode = mode
			w.fault(fault)
			require.Empty(t, w.record(r), mode)
			require.Len(t, w.releases(), 2)
			require.Equal(t, "complete", w.releases()[1].Status)
			require.Equal(t, []string{"2"}, w.named())
		}
	})
}

func TestAReleaseWhoseMakerDiedIsFoundAgain(t *testing.T) {
	byEitherAPI(t, testAReleaseWhoseMakerDied)
}

func testAReleaseWhoseMakerDied(t *testing.T, api releaseAPI) {
	died := map[string]func(*world, Rollout){
		"before any Machine named it": func(w *world, r Rollout) {
			_, _, err := w.findRelease(w.t.Context(), r)
			require.NoError(w.t, err)
		},
		"before every Machine named it": func(w *world, r Rollout) {
			machines, made, err := w.findRelease(w.t.Context(), r)
			require.NoError(w.t, err)
			require.NoError(w.t, w.nameRelease(w.t.Context(), testApp, machines[:1], *made))
		},
		"before it was completed": func(w *world, r Rollout) {
			fault := api.finish
			fault.Mode = flyemulator.FaultResetBefore
			w.fault(fault)
			require.Contains(w.t, w.record(r), "fly releases still shows release 2 as unfinished: ")
		},
	}
	for when, die := range died {
		t.Run(when, func(t *testing.T) {
			w, r := api.deployedWorld(t, started, started)
			die(w, r)
			require.Equal(t, "pending", w.releases()[1].Status)
			require.Empty(t, w.record(r))
			require.Len(t, w.releases(), 2)
			require.Equal(t, "complete", w.releases()[1].Status)
			require.Equal(t, []string{"2", "2"}, w.named())
		})
	}
}

// One that was never completed, because its maker died and its revision was replaced, does not keep the operator from making the next.
func TestAReleaseLeftBehindIsNotInTheWay(t *testing.T) {
	w, r := deployedWorld(t, started)
	_, _, err := w.findRelease(t.Context(), r)
	require.NoError(t, err)
	w.AdvanceClock(time.Hour)
	w.later(time.Hour)
	next := w.set(2)
	require.True(t, w.run(next).Done())
	next.App = r.App
	require.Empty(t, w.record(next))
	require.Equal(t, []string{"3"}, w.named())
	require.Equal(t, "complete", w.releases()[2].Status)
}

func TestADeploymentOfAnotherClientIsNotHidden(t *testing.T) {
	for _, status := range []string{"pending", "running", "failed", "interrupted"} {
		w, r := deployedWorld(t, started)
		w.AddRelease(testApp, flyemulator.NewRelease{Image: "registry.fly.io/sp-acme:deployment-2", Status: status})
		require.Contains(t, w.record(r), "release 2 of the app is "+status+", and a new one would hide")
		require.Len(t, w.releases(), 2)
		require.Equal(t, []string{"1"}, w.named())
	}
	w, r := deployedWorld(t, started)
	w.AddRelease(testApp, flyemulator.NewRelease{Image: "registry.fly.io/sp-acme:deployment-2"})
	require.Empty(t, w.record(r), "one that has ended well since shows the secret as deployed")
	require.Len(t, w.releases(), 2)
	require.Equal(t, []string{"2"}, w.named())
}

func TestAnAppWithoutAReleaseGetsNone(t *testing.T) {
	w, r := deployedWorld(t, flyemulator.NewMachine{Config: json.RawMessage(`{"image":"i:1","metadata":{"fly_platform_version":"v2"}}`)})
	require.Contains(t, w.record(r), "no complete release")
	require.Empty(t, w.releases())
	require.Equal(t, []string{""}, w.named())
}

func TestALeasedMachineIsNotNamedAndTheOthersAre(t *testing.T) {
	w, r := deployedWorld(t, started, started)
	first := w.state()[0].ID
	require.True(t, w.HoldLease(testApp, first, "deploy", time.Hour))
	require.Contains(t, w.record(r), "staged on some Machines: another client holds the lease of Machine "+first)
	require.Equal(t, []string{"1", "2"}, w.named())
	require.Equal(t, "pending", w.releases()[1].Status, "it is not complete")
}

func TestAMachineThatWasReplacedMeanwhileIsNotNamed(t *testing.T) {
	w, r := deployedWorld(t, started)
	machines, made, err := w.findRelease(t.Context(), r)
	require.NoError(t, err)
	w.deploy(machines[0].ID, `{"image":"i:2","metadata":{"fly_platform_version":"v2","fly_release_version":"9"}}`)
	require.ErrorContains(t, w.nameRelease(t.Context(), testApp, machines, *made), "changed meanwhile")
	require.Equal(t, []string{"9"}, w.named())
}

// Whatever becomes of the calls, the rollout stays completed, and no message repeats what was sent.
func TestARecordThatFailsSaysSoAndHarmsNothing(t *testing.T) {
	leak := `{"errors":[{"message":"` + testToken + " " + testValue + ` {request}","extensions":{"code":"` + testValue + `","variables":{"v":{request}}}}]}`
	faults := []flyemulator.Fault{
		{Status: 200, Body: leak}, {Status: 200, Body: `{"data":null}`}, {Status: 200, Body: `{"data":{"app":null}}`}, {Status: 200, Body: "<html>" + testValue},
		{Status: 401, Body: leak}, {Status: 403, Body: leak}, {Status: 404, Body: leak}, {Status: 422, Body: leak}, {Status: 429, Body: leak}, {Status: 503, Body: leak},
		{Mode: flyemulator.FaultResetBefore}, {Mode: flyemulator.FaultDrop},
	}
	for _, route := range []string{graphQLRoute, "PATCH /v1/apps/{app}/machines/{id}/metadata", listRoute, "GET /v1/apps/{app}/secrets"} {
		for i, f := range faults {
			t.Run(fmt.Sprint(route, " ", i), func(t *testing.T) {
				w, r := deployedWorld(t, started)
				f.Route, f.Count = route, -1
				w.fault(f)
				warning := w.record(r)
				w.ClearFaults()
				if route != "PATCH /v1/apps/{app}/machines/{id}/metadata" || f.Status != 200 { // whose body says nothing
					require.Contains(t, warning, "fly secrets list still shows DATABASE_URL as staged")
				}
				require.NotContains(t, warning, testValue)
				require.NotContains(t, warning, strings.TrimPrefix(testToken, "fm2_"))
				require.NotContains(t, warning, "configDefinition")
				require.LessOrEqual(t, len(w.releases()), 2)
				require.True(t, w.run(r).Done())
				require.Equal(t, 1, w.state()[0].Updates)
			})
		}
	}
}
