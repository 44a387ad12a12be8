package flyemulator_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	fly "github.com/superfly/fly-go"
)

// graphQL is Fly's own GraphQL client, pointed at the emulator.
func (f *fixture) graphQL() *fly.Client {
	return fly.NewClientFromOptions(fly.ClientOptions{
		AccessToken: token, BaseURL: f.api.URL, Name: "test", Version: "0",
		Transport: &fly.Transport{UnderlyingTransport: http.DefaultTransport},
	})
}

// The requests below are those that the public CLI was seen to send; the answers are read with the types that it uses.

func TestTheRequestsOfSecretsList(t *testing.T) {
	f := newFixture(t)
	f.secret("a")
	f.addMachine("started")
	var secrets fly.ListAppSecretsResp
	f.call(200, "GET", appPath+"/secrets", "").decode(&secrets)
	require.Len(t, secrets.Secrets, 1)
	require.Equal(t, "DATABASE_URL", secrets.Secrets[0].Name)
	require.NotEmpty(t, secrets.Secrets[0].Digest)
	require.NotNil(t, secrets.Secrets[0].UpdatedAt)
	var machines []*fly.Machine
	f.call(200, "GET", appPath+"/machines", "").decode(&machines)
	require.Len(t, machines, 1)
	require.Equal(t, "1", machines[0].Config.Metadata[fly.MachineConfigMetadataKeyFlyReleaseVersion], "so it asks for releases")
	require.Equal(t, "Deployed", f.secretsList("DATABASE_URL"))
}

func TestTheRequestsOfSecretsSetStaged(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	app, err := f.graphQL().GetAppCompact(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, "acme", app.Name)
	require.Equal(t, "machines", app.PlatformVersion)
	require.Equal(t, "o", app.Organization.Slug)
	require.True(t, app.Deployed)
	require.False(t, app.IsPostgresApp())

	var set fly.UpdateAppSecretsResp
	f.call(200, "POST", appPath+"/secrets", `{"values":{"K":"V"}}`).decode(&set)
	require.NotZero(t, set.Version)
	require.Equal(t, "K", set.Secrets[0].Name)
	require.NotContains(t, f.env(), "K", "it is staged, no more")
	require.Equal(t, "started", f.get(path).State)
}

func TestTheRequestsOfMachineList(t *testing.T) {
	f := newFixture(t)
	f.addMachine("started")
	f.addMachine("stopped")
	var machines []*fly.Machine
	f.call(200, "GET", appPath+"/machines", "").decode(&machines)
	require.Len(t, machines, 2)
	for _, m := range machines {
		require.NotEmpty(t, m.ID)
		require.NotEmpty(t, m.Name)
		require.Equal(t, "fra", m.Region)
		require.Equal(t, fly.HostStatusOk, m.HostStatus)
		require.Equal(t, "acme", m.ImageRef.Repository)
		require.Equal(t, "app", m.ProcessGroup())
		require.NotNil(t, m.Config.Guest)
		require.NotEmpty(t, m.CreatedAt)
		require.NotEmpty(t, m.Events)
		require.False(t, m.Events[0].Time().IsZero())
	}
}

func TestTheRequestsOfMachineExec(t *testing.T) {
	f := newFixture(t)
	f.secret("a")
	path := f.addMachine("started")
	var m fly.Machine
	f.call(200, "GET", path, "").decode(&m)
	require.Equal(t, "started", m.State)
	body, err := json.Marshal(fly.MachineExecRequest{Cmd: "printenv DATABASE_URL"})
	require.NoError(t, err)
	var out fly.MachineExecResponse
	f.call(200, "POST", path+"/exec", string(body)).decode(&out)
	require.Equal(t, "a\n", out.StdOut)
	require.Zero(t, out.ExitCode)
}

func TestTheRequestsOfStatus(t *testing.T) {
	f := newFixture(t)
	f.addMachine("started")
	app, err := f.graphQL().GetAppCompact(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, "acme.fly.dev", app.Hostname)
	machines, err := f.flaps().ListActive(t.Context(), "acme")
	require.NoError(t, err)
	require.True(t, machines[0].IsAppsV2())
	image, err := f.graphQL().GetLatestImageDetails(t.Context(), machines[0].FullImageRef(), "")
	require.NoError(t, err)
	require.Equal(t, "acme", image.Repository)
}

func TestGraphQLSecrets(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	_, err := f.graphQL().SetSecrets(ctx, "acme", map[string]string{"K": "V"})
	require.NoError(t, err)
	require.Equal(t, "V", f.current())
	_, err = f.graphQL().SetSecrets(ctx, "acme", map[string]string{"K": "V"})
	require.ErrorContains(t, err, "No change detected")
	_, err = f.graphQL().UnsetSecrets(ctx, "acme", []string{"K"})
	require.NoError(t, err)
	require.Empty(t, f.current())
	_, err = f.graphQL().GetAppCompact(ctx, "nothing")
	require.ErrorContains(t, err, "Could not find App")
	require.Contains(t, f.call(200, "POST", "/graphql", `{"query":"{ viewer { id } }"}`).body, "does not know this query")
}
