package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithoutAValidTokenEverythingIs401(t *testing.T) {
	f := newFixture(t)
	for _, authorization := range []string{anonymous, "Bearer no-token", "FlyV1 fm2_bm8gdG9rZW4="} {
		for _, r := range []request{
			{method: "GET", path: f.path},
			{method: "GET", path: f.path + "/machines"},
			{method: "GET", path: f.path + "/secrets"},
			{method: "POST", path: f.path + "/secrets", body: members{"values": members{unset: nil}}},
		} {
			r.authorization = authorization
			f.call(401, r)
		}
	}
}

func TestAnUnknownAppIs404(t *testing.T) {
	f := newFixture(t)
	path := f.path + "-is-not-there-8f1c2d"
	f.call(404, request{method: "GET", path: path})
	f.call(404, request{method: "POST", path: path + "/secrets", body: members{"values": members{unset: nil}}})
}

func TestAnAppTellsItsNameItsOrganizationAndItsMachines(t *testing.T) {
	f := newFixture(t)
	var app struct {
		Name         string
		Organization struct{ Slug string }
	}
	f.read(f.path, &app)
	require.Equal(t, f.app, app.Name)
	require.NotEmpty(t, app.Organization.Slug)
}

func TestTheCountOfMachinesAgreesWithTheList(t *testing.T) { // lists have been wrongly empty
	f := newFixture(t)
	for range 2 {
		f.create(f.config(nil), nil)
		var app struct {
			MachineCount *int `json:"machine_count"`
		}
		f.read(f.path, &app)
		var list []view
		f.read(f.path+"/machines?include_leases=true", &list)
		require.NotNil(t, app.MachineCount, "an app says how many Machines it has")
		require.NotEmpty(t, list)
		require.Len(t, list, *app.MachineCount)
	}
}
