package flyemulator_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

func TestWhoMaySeeAnApp(t *testing.T) {
	f := newFixture(t)
	f.PutApp("globex", "o", "")
	f.PutApp("hooli", "other", "")
	f.PutToken("app-token", flyemulator.Token{Organization: "o", Apps: []string{"acme"}})
	f.PutToken("revoked", flyemulator.Token{Organization: "o"})
	f.DeleteToken("revoked")

	for name, test := range map[string]struct {
		header, app string
		status      int
		message     string
	}{
		"no token":                {"", "acme", 401, "token validation error"},
		"unknown token":           {"Bearer unknown", "acme", 401, "token validation error"},
		"revoked token":           {"Bearer revoked", "acme", 401, "token validation error"},
		"bearer":                  {"Bearer app-token", "acme", 200, ""},
		"macaroon list":           {"FlyV1 fm2_discharge," + token, "acme", 200, ""},
		"app of another token":    {"Bearer app-token", "globex", 403, "unauthorized"},
		"app of another org":      {"FlyV1 " + token, "hooli", 403, "unauthorized"},
		"every app of its own":    {"FlyV1 " + token, "globex", 200, ""},
		"no such app":             {"FlyV1 " + token, "nothing", 404, "app not found"},
		"no such app, no token":   {"", "nothing", 401, "token validation error"},
		"union of several tokens": {"Bearer app-token," + token, "globex", 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := f.try(f.api.URL, "GET", "/v1/apps/"+test.app, "", "Authorization: "+test.header)
			require.NoError(t, err)
			require.Equal(t, test.status, r.status)
			require.Contains(t, r.body, test.message)
			require.NotEmpty(t, r.header.Get("fly-request-id"))
		})
	}
}

func TestTokensCurrentTellsWhatATokenIsGoodFor(t *testing.T) {
	f := newFixture(t)
	f.PutToken("app-token", flyemulator.Token{Organization: "o", Apps: []string{"acme"}})
	var out struct {
		Tokens []struct {
			OrgSlug string `json:"org_slug"`
			Apps    []string
		}
	}
	r, err := f.try(f.api.URL, "GET", "/v1/tokens/current", "", "Authorization: Bearer app-token")
	require.NoError(t, err)
	r.decode(&out)
	require.Len(t, out.Tokens, 1)
	require.Equal(t, "o", out.Tokens[0].OrgSlug)
	require.Equal(t, []string{"acme"}, out.Tokens[0].Apps)
}

func TestMachineCountLeavesDestroyedOnesOut(t *testing.T) {
	f := newFixture(t)
	f.addMachine("started")
	gone := f.addMachine("stopped")
	f.call(200, "DELETE", gone, "")
	var out struct {
		MachineCount int `json:"machine_count"`
		Organization struct{ Slug string }
	}
	f.call(200, "GET", appPath, "").decode(&out)
	require.Equal(t, 1, out.MachineCount)
	require.Equal(t, "o", out.Organization.Slug)

	var list []machine
	f.call(200, "GET", appPath+"/machines", "").decode(&list)
	require.Len(t, list, 1)
	f.call(200, "GET", appPath+"/machines?include_deleted=true", "").decode(&list)
	require.Len(t, list, 2)
	require.Equal(t, "destroyed", f.get(gone).State)
	f.call(400, "GET", appPath+"/machines/nothing", "")
	f.call(404, "GET", appPath+"/machines/00000000000000", "")
}
