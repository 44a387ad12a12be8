package fly

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

// Where REST has no releases, GraphQL has them. A 404 that says nothing of its own is taken for that.
func TestReleasesThatRESTDoesNotHaveAreMadeByGraphQL(t *testing.T) {
	for _, answer := range []flyemulator.Fault{
		{Status: 404, Body: "404 page not found"}, {Status: 404, Body: `{"errors":{"detail":"not found"}}`}, {Status: 404, Body: `{}`}, {Status: 404, Body: `null`},
		{Status: 404, Body: `{"error":{}}`}, {Status: 404, Body: `{"error":"` + strings.Repeat("x", 8<<10) + `"}`}, {Status: 405}, {Status: 501},
	} {
		t.Run(fmt.Sprintf("%d %.40s", answer.Status, answer.Body), func(t *testing.T) {
			w, r := deployedWorld(t, started)
			answer.Count = -1
			for _, route := range []string{createRoute, finishRoute} {
				answer.Route = route
				w.fault(answer)
			}
			require.Empty(t, w.record(r))
			require.Equal(t, []string{graphQLRoute, createRoute, graphQLRoute, finishRoute, graphQLRoute}, w.asked())
			require.Len(t, w.releases(), 2)
			require.Equal(t, "complete", w.releases()[1].Status)
			require.Equal(t, []string{"2"}, w.named())
		})
	}
}

// GraphQL is not asked for what REST refuses. After a lost answer the operator lists releases, and makes none.
func TestWhatRESTRefusesIsNotAskedOfGraphQL(t *testing.T) {
	secret := testToken + " " + testValue
	for _, test := range []struct {
		answer flyemulator.Fault
		says   string
		lists  int
	}{
		{flyemulator.Fault{Status: 404, Body: `{"error":"app not found ` + secret + `"}`}, "Fly returned HTTP 404 for POST /api/v1/releases (no such app)", 1},
		{flyemulator.Fault{Status: 404, Body: `{"message":{request}}`}, "Fly returned HTTP 404 for POST /api/v1/releases (no such app)", 1},
		{flyemulator.Fault{Status: 401, Body: secret}, "Fly returned HTTP 401 for POST /api/v1/releases (the token was rejected)", 1},
		{flyemulator.Fault{Status: 403, Body: secret}, "Fly returned HTTP 403 for POST /api/v1/releases (the token lacks the permission", 1},
		{flyemulator.Fault{Status: 422, Body: `{"error":{request}}`}, "Fly returned HTTP 422 for POST /api/v1/releases (the request was refused)", 1},
		{flyemulator.Fault{Status: 429}, "Fly returned HTTP 429 for POST /api/v1/releases (rate limit)", 1},
		{flyemulator.Fault{Status: 503, Body: "<html>" + secret}, "Fly returned HTTP 503 for POST /api/v1/releases (the outcome is unknown)", 2},
		{flyemulator.Fault{Status: 200, Body: "<html>" + secret}, "Fly gave an answer to POST /api/v1/releases that cannot be read", 2},
		{flyemulator.Fault{Status: 201, Body: `{}`}, "Fly gave an answer to create release of sp-acme that cannot be read", 2},
		{flyemulator.Fault{Status: 201, Body: `{"release":{"id":"r","version":0}}`}, "Fly gave an answer to POST /api/v1/releases that cannot be read", 2},
		{flyemulator.Fault{Status: 201, Body: `{"release":"` + strings.Repeat("x", 2<<20) + `"}`}, "Fly sent an answer of more than 1 MiB", 2},
		{flyemulator.Fault{Mode: flyemulator.FaultResetBefore}, "Fly's answer to POST /api/v1/releases was lost", 2},
	} {
		t.Run(fmt.Sprintf("%d %.40s", test.answer.Status, test.answer.Body), func(t *testing.T) {
			w, r := deployedWorld(t, started)
			test.answer.Route = createRoute
			w.fault(test.answer)
			warning := w.record(r)
			require.True(t, strings.HasPrefix(warning, "fly secrets list still shows DATABASE_URL as staged: "+test.says), warning)
			require.NotContains(t, warning, testValue)
			require.NotContains(t, warning, strings.TrimPrefix(testToken, "fm2_"))
			require.Equal(t, append([]string{graphQLRoute, createRoute}, slices.Repeat([]string{graphQLRoute}, test.lists-1)...), w.asked())
			require.Len(t, w.releases(), 1)
			require.True(t, w.run(r).Done())
		})
	}
}

// A release that REST does not know may have another ID there: GraphQL, which gave it this one, completes it.
func TestAReleaseThatRESTDoesNotKnowIsCompletedByGraphQL(t *testing.T) {
	w, r := deployedWorld(t, started)
	w.fault(flyemulator.Fault{Route: finishRoute, Status: 404, Body: `{"error":"release not found"}`})
	require.Empty(t, w.record(r))
	require.Equal(t, []string{graphQLRoute, createRoute, finishRoute, graphQLRoute}, w.asked())
	require.Equal(t, "complete", w.releases()[1].Status)

	for _, status := range []int{401, 422, 429, 500} {
		w, r := deployedWorld(t, started)
		w.fault(flyemulator.Fault{Route: finishRoute, Status: status, Body: testValue})
		warning := w.record(r)
		require.Contains(t, warning, "fly releases still shows release 2 as unfinished: Fly ")
		require.Contains(t, warning, fmt.Sprintf("Fly returned HTTP %d for PATCH /api/v1/releases/", status))
		require.NotContains(t, warning, testValue)
		require.Equal(t, []string{graphQLRoute, createRoute, finishRoute}, w.asked())
		require.Equal(t, []string{"2"}, w.named())
	}
}

// An ID can hold anything that can be printed, and leads no request elsewhere.
func TestAnIDThatIsNoNameStandsInNoPath(t *testing.T) {
	w, r := deployedWorld(t, started)
	for _, id := range []string{"..", "../apps/sp-acme", "a/b", "a?b", "a#b", "%2e%2e"} {
		w.ClearRequests()
		require.ErrorContains(t, w.completeRelease(t.Context(), r, release{ID: id}, "Drift"), "NOT_FOUND")
		require.Equal(t, []string{graphQLRoute}, w.asked(), id)
	}
}

// One that hangs is given up: the completion waits for it.
func TestARecordThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	w, r := deployedWorld(t, started)
	w.fault(flyemulator.Fault{Route: graphQLRoute, Mode: flyemulator.FaultHang, Count: -1})
	require.Contains(t, w.record(r), "still shows DATABASE_URL as staged: Fly's answer to POST /graphql, list releases of sp-acme was lost")
}

func TestChoose(t *testing.T) {
	since := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	before, after := since.Add(-time.Hour), since.Add(time.Second)
	made := func(version int, status string, at time.Time, options ...func(*release)) release {
		r := release{ID: fmt.Sprint(version), Version: version, Status: status, CreatedAt: at, Image: "i:1", Definition: json.RawMessage(`{"a":1,"b":2}`)}
		for _, option := range options {
			option(&r)
		}
		return r
	}
	image := func(name string) func(*release) { return func(r *release) { r.Image = name } }
	definition := func(text string) func(*release) { return func(r *release) { r.Definition = json.RawMessage(text) } }
	for name, test := range map[string]struct {
		releases    []release
		found, base int // versions; 0 = none
		refusal     string
	}{
		"none":                                   {nil, 0, 0, "no complete release"},
		"a complete one":                         {[]release{made(4, complete, before)}, 0, 4, ""},
		"of two the newest, in whatever order":   {[]release{made(3, complete, before, image("i:0")), made(4, complete, before)}, 0, 4, ""},
		"one of the same second as the secret":   {[]release{made(4, complete, since)}, 4, 4, ""},
		"a newer one of the same":                {[]release{made(5, "pending", after), made(4, complete, before)}, 5, 4, ""},
		"the same in another order of members":   {[]release{made(5, "running", after, definition(`{"b":2, "a":1}`)), made(4, complete, before)}, 5, 4, ""},
		"a newer one of the same that failed":    {[]release{made(5, "failed", after), made(4, complete, before)}, 0, 4, ""},
		"an older one that was left unfinished":  {[]release{made(5, "pending", before), made(4, complete, before)}, 0, 4, ""},
		"another image is being deployed":        {[]release{made(5, "running", after, image("i:2")), made(4, complete, before)}, 0, 4, "release 5 of the app is running"},
		"another definition is being deployed":   {[]release{made(5, "running", after, definition(`{"a":1}`)), made(4, complete, before)}, 0, 4, "release 5"},
		"a number is spelt otherwise":            {[]release{made(5, "running", after, definition(`{"a":1.0,"b":2}`)), made(4, complete, before)}, 0, 4, "release 5"},
		"a failed one behind one of the same":    {[]release{made(6, "pending", after), made(5, "failed", before, image("i:2")), made(4, complete, before)}, 0, 4, "release 5"},
		"a status that is no word":               {[]release{made(5, "<b>\n", after, image("i:2")), made(4, complete, before)}, 0, 4, "release 5 of the app is not complete"},
		"no definition":                          {[]release{made(4, complete, before, definition(`null`))}, 0, 4, "no definition"},
		"no image":                               {[]release{made(4, complete, before, image(""))}, 0, 4, "no image"},
		"nothing complete among those looked at": {[]release{made(5, "failed", before), made(4, "interrupted", before)}, 0, 0, "no complete release"},
	} {
		t.Run(name, func(t *testing.T) {
			found, base, refusal := choose(test.releases, since)
			require.Contains(t, refusal, test.refusal)
			require.Equal(t, test.refusal == "", refusal == "")
			require.Equal(t, test.base, base.Version)
			if test.found == 0 {
				require.Nil(t, found)
			} else {
				require.Equal(t, test.found, found.Version)
			}
		})
	}
}

func TestWhereReleasesAreMade(t *testing.T) {
	for machines, releases := range map[string]string{
		"https://api.machines.dev":  "https://api.fly.io",
		"http://_api.internal:4280": "https://api.fly.io",
		"http://127.0.0.1:1234":     "http://127.0.0.1:1234",
	} {
		base, err := url.Parse(machines)
		require.NoError(t, err)
		require.Equal(t, releases, platformURL(base))
		built, err := open(t, machines).build(t.Context(), request{rest: true, method: http.MethodPost, path: releasesPath})
		require.NoError(t, err)
		require.Equal(t, releases+"/api/v1/releases", built.URL.String())
		require.Equal(t, "Bearer "+testToken, built.Header.Get("Authorization"), "as the public CLI sends it")
	}
}
