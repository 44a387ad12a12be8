package conformance

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	flyapi "github.com/superfly/fly-go"
)

// The names of the release on a Machine are written in this way: they must cost no Machine a restart, under a lease of one's own.
func TestMetadataIsSetWithoutARestart(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(members{"restart": members{"policy": "on-failure", "max_retries": 0}}), nil)
	before := m.get()
	m.lease("")
	a := f.try(request{method: "PATCH", path: m.path + "/metadata", nonce: m.nonce, body: members{
		"metadata": members{"fly_release_id": "an-id", "fly_release_version": "7"},
	}})
	require.True(t, a.ok(), status(a))
	after := m.get()
	require.Equal(t, before.InstanceID, after.InstanceID)
	require.Equal(t, "started", after.State)
	require.Equal(t, map[string]string{"conformance": "throwaway", "fly_release_id": "an-id", "fly_release_version": "7"}, after.metadata())
	require.JSONEq(t, without(t, before.Config, "metadata"), without(t, after.Config, "metadata"), "nothing else changes")
}

// without is a JSON object without one member.
func without(t *testing.T, object json.RawMessage, member string) string {
	t.Helper()
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(object, &all))
	delete(all, member)
	text, err := json.Marshal(all)
	require.NoError(t, err)
	return string(text)
}

// The operator's assumptions about releases. None of them can cost more than the display: a rotation does not depend on releases.
var questionsOfReleases = []question{
	{
		"may the token make a release?", "", always("yes"), nil,
		func(f *fixture) string { f.makeRelease(); return "yes" },
	}, {
		"the status of a release that was just made", "", always("pending"), nil,
		func(f *fixture) string { f.makeRelease(); return f.newestRelease().Status },
	}, {
		"is a release read back with the definition and the image that it was made with?", "", always("yes"), nil, askCarriedOver,
	}, {
		"is a release that follows a secret no older than it, by Fly's times?", "", always("yes"), nil, askReleaseTime,
	}, {
		"can a release be completed, with metadata of one's own?", "", always("yes"), nil, askComplete,
	}, {
		"can a release be made by REST?", "rest_releases",
		func(s switches) string { return yes(s.RESTReleases) }, func(s *switches) { s.RESTReleases = false }, askREST,
	}, {
		"is a release made by REST read back by GraphQL, with its definition and image?", "", always("yes"), nil, askCarriedOverByREST,
	}, {
		"does REST complete a release by the ID that GraphQL gives it?", "", always("yes"), nil, askCompleteByREST,
	},
}

type release struct {
	ID, Status, ImageRef string
	Version              int
	CreatedAt            time.Time
	ConfigDefinition     any
}

// graphQL sends a query that has to be answered without an error. Fly's text for one is shown: these queries hold no secret.
func (f *fixture) graphQL(text string, variables members, data any) {
	f.Helper()
	answer := struct {
		Data   any
		Errors []struct {
			Message    string
			Extensions struct{ Code string }
		}
	}{Data: data}
	f.decode(f.call(200, request{method: "POST", path: "/graphql", body: members{"query": text, "variables": variables}}), &answer)
	if len(answer.Errors) > 0 {
		f.Errorf("GraphQL error %s: %s", answer.Errors[0].Extensions.Code, f.redact(answer.Errors[0].Message))
		f.FailNow()
	}
}

// The definition that the releases of the suite deploy: it never runs.
func (f *fixture) definition() members {
	return members{"app": f.app, "primary_region": "fra", "kill_timeout": 0, "env": members{"CONFORMANCE": "<&>"}}
}

const releaseImage = "registry-1.docker.io/library/alpine:3"

func (f *fixture) makeRelease() (made release) {
	f.Helper()
	var data struct{ CreateRelease struct{ Release release } }
	f.graphQL(flyapi.CreateRelease_Operation, members{"input": members{
		"appId": f.app, "platformVersion": "machines", "strategy": "ROLLING", "image": releaseImage, "definition": f.definition(),
	}}, &data)
	return data.CreateRelease.Release
}

func (f *fixture) newestRelease() release {
	f.Helper()
	var data struct {
		App struct {
			ReleasesUnprocessed struct{ Nodes []release }
		}
	}
	f.graphQL("query($appName: String!, $limit: Int!) { app(name: $appName) { releasesUnprocessed(first: $limit) { nodes "+
		"{ id version status imageRef configDefinition createdAt } } } }", members{"appName": f.app, "limit": 1}, &data)
	if len(data.App.ReleasesUnprocessed.Nodes) == 0 {
		f.Errorf("the app has no release")
		f.FailNow()
	}
	return data.App.ReleasesUnprocessed.Nodes[0]
}

// restReleases is where releases are made by REST.
const restReleases = "/api/v1/releases"

// tryREST makes a release with the request that the operator sends.
func (f *fixture) tryREST() answer {
	f.Helper()
	return f.try(request{method: "POST", path: restReleases, body: members{
		"app_name": f.app, "build_id": 0, "definition": f.definition(), "image": releaseImage, "strategy": "ROLLING",
	}})
}

// askREST goes by the answers for which the operator turns to GraphQL.
func askREST(f *fixture) string {
	a := f.tryREST()
	var refusal struct{ Error, Message string }
	switch {
	case a.ok():
		return "yes"
	case a.status == 405 || a.status == 501:
		return "no"
	case a.status == 404 && (json.Unmarshal(a.body, &refusal) != nil || refusal.Error+refusal.Message == ""):
		return "no"
	}
	return status(a)
}

func askCarriedOverByREST(f *fixture) string {
	a := f.tryREST()
	if !a.ok() {
		return status(a)
	}
	var made struct{ Release release }
	f.decode(a, &made)
	return f.carriedOver(made.Release)
}

func askCompleteByREST(f *fixture) string {
	made := f.makeRelease()
	a := f.try(request{method: "PATCH", path: restReleases + "/" + made.ID, body: members{
		"status": "complete", "metadata": members{"tenant_credential_revision": "7", "tenant_credential_cause": "conformance"},
	}})
	if !a.ok() {
		return status(a)
	}
	return yes(f.newestRelease().Status == "complete")
}

func askCarriedOver(f *fixture) string { return f.carriedOver(f.makeRelease()) }

// carriedOver compares the newest release with the one that was made.
func (f *fixture) carriedOver(made release) string {
	read := f.newestRelease()
	var want, got any
	f.decode(f.asAnswer(f.definition()), &want)
	f.decode(f.asAnswer(read.ConfigDefinition), &got)
	switch {
	case read.Version != made.Version:
		return "the newest release is not the first of the list"
	case read.ImageRef != releaseImage:
		return "the image is " + read.ImageRef
	case !reflect.DeepEqual(want, got):
		return "the definition is another"
	}
	return "yes"
}

// asAnswer has a value compared as it would be read from Fly.
func (f *fixture) asAnswer(value any) answer {
	content, _ := json.Marshal(value) // a value that was read, or is to be sent
	return answer{body: content}
}

func askReleaseTime(f *fixture) string {
	f.set(first, f.newValue())
	f.makeRelease()
	var list struct {
		Secrets []struct {
			Name      string
			UpdatedAt time.Time `json:"updated_at"`
		}
	}
	f.read(f.path+"/secrets", &list)
	for _, s := range list.Secrets {
		if s.Name == first {
			return yes(!f.newestRelease().CreatedAt.Before(s.UpdatedAt))
		}
	}
	return "the secret is not listed"
}

func askComplete(f *fixture) string {
	made := f.makeRelease()
	var data struct{ UpdateRelease struct{ Release release } }
	f.graphQL(flyapi.UpdateRelease_Operation, members{"input": members{
		"releaseId": made.ID, "status": "complete", "metadata": members{"tenant_credential_revision": "7", "tenant_credential_cause": "conformance"},
	}}, &data)
	if read := f.newestRelease(); read.Version != made.Version || read.Status != "complete" {
		return "the newest release is " + read.Status
	}
	return "yes"
}
