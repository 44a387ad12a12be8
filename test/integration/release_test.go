package integration

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// deployment is what the emulator knows of an app's releases, and which its Machines name.
type deployment struct {
	Releases []struct {
		Version       int
		Status, Image string
		Definition    json.RawMessage
		Metadata      map[string]string
	}
	Machines []struct {
		Config struct {
			Metadata map[string]string
		}
	}
}

func deploymentOf(t *testing.T, x tenant) (d deployment) {
	t.Helper()
	admin(t, http.MethodGet, "/admin/apps/"+x.App(), "", &d)
	return d
}

// After a rotation fly secrets list goes by a release of what the app ran before, which every Machine names.
func TestFlyShowsARotationAsDeployed(t *testing.T) {
	t.Parallel()
	x := newTenant(t)
	admin(t, http.MethodPut, "/admin/apps/"+x.App(), `{"organization":"example-sandbox"}`, nil)
	admin(t, http.MethodPost, "/admin/apps/"+x.App()+"/releases", `{"image":"registry.fly.io/acme:v1","age_seconds":3600}`, nil)
	x.MakeApp("postgres://unknown", "stopped", "stopped")
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	d := deploymentOf(t, x)
	require.Len(t, d.Releases, 2)
	require.Equal(t, "complete", d.Releases[1].Status)
	require.Equal(t, d.Releases[0].Image, d.Releases[1].Image)
	require.JSONEq(t, string(d.Releases[0].Definition), string(d.Releases[1].Definition))
	require.Equal(t, map[string]string{"tenant_credential_revision": "1", "tenant_credential_cause": "GenerationRaised"}, d.Releases[1].Metadata)
	for _, m := range d.Machines {
		require.Equal(t, "2", m.Config.Metadata["fly_release_version"])
	}
	require.Equal(t, "Every Machine of app "+x.App()+" is updated to revision 1", completion(t, x))
}

// A release that cannot be made costs no tenant a rotation, and the event says what fly goes on showing.
func TestARotationWithoutARelease(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	x.Apply()
	x.WaitReady()
	x.Fault(`{"route":"POST /graphql","status":403,"count":-1}`)
	x.Apply("rotationGeneration: 1")
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	require.Len(t, deploymentOf(t, x).Releases, 1)
	require.Equal(t, "Every Machine of app "+x.App()+" is updated to revision 1. Warning: fly secrets list still shows DATABASE_URL as staged: "+
		"Fly returned HTTP 403 for POST /graphql, list releases of "+x.App()+" (the token lacks the permission, or the app is in another organization)", completion(t, x))
}

// completion is the note of the event that announces the end of a rotation.
func completion(t *testing.T, x tenant) (note string) {
	t.Helper()
	require.Eventually(t, func() bool { // events are sent on the side
		var list struct {
			Items []struct{ Note string }
		}
		text := kubectl(t, "", "get", "--raw", "/apis/events.k8s.io/v1/namespaces/tenants-sandbox/events?fieldSelector=reason%3DRotationCompleted%2Cregarding.name%3D"+x.Name)
		require.NoError(t, json.Unmarshal([]byte(text), &list))
		if len(list.Items) > 0 {
			note = list.Items[0].Note
		}
		return note != ""
	}, 20*time.Second, 100*time.Millisecond, "no such event")
	return note
}
