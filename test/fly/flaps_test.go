package flyemulator_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	fly "github.com/superfly/fly-go"
	"github.com/superfly/fly-go/flaps"
	"github.com/superfly/fly-go/tokens"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

// redirect sends requests for Fly to the emulator.
type redirect struct{ to *url.URL }

func (r redirect) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host, request.Host = r.to.Scheme, r.to.Host, r.to.Host
	return http.DefaultTransport.RoundTrip(request)
}

// flaps is Fly's own client of the Machines API.
func (f *fixture) flaps() *flaps.Client {
	f.t.Helper()
	to, err := url.Parse(f.api.URL)
	require.NoError(f.t, err)
	client, err := flaps.NewWithOptions(f.t.Context(), flaps.NewClientOpts{Tokens: tokens.Parse("FlyV1 " + token), Transport: redirect{to}})
	require.NoError(f.t, err)
	return client
}

func TestFlyGoSetsASecretAndDeliversIt(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	client := f.flaps()
	f.secret("old")
	path := f.addMachine("started")

	app, err := client.GetApp(ctx, "acme")
	require.NoError(t, err)
	require.EqualValues(t, 1, app.MachineCount)
	require.Equal(t, "o", app.Organization.Slug)

	value := "new"
	set, err := client.UpdateAppSecrets(ctx, "acme", map[string]*string{"DATABASE_URL": &value})
	require.NoError(t, err)
	require.NotEqual(t, set.Version, uint64(float64(set.Version)))
	listed, err := client.ListAppSecrets(ctx, "acme", &set.Version, true)
	require.NoError(t, err)
	require.Equal(t, set.Secrets[0].Digest, listed[0].Digest)
	require.Nil(t, listed[0].Value)

	machines, err := client.List(ctx, "acme", "")
	require.NoError(t, err)
	require.Len(t, machines, 1)
	id, ttl := machines[0].ID, 30
	lease, err := client.RefreshLease(ctx, "acme", id, &ttl, "")
	require.NoError(t, err)
	updated, err := client.Update(ctx, "acme", fly.LaunchMachineInput{
		ID: id, Config: machines[0].Config, MinSecretsVersion: &set.Version,
	}, lease.Data.Nonce)
	require.NoError(t, err)
	require.NoError(t, client.Wait(ctx, "acme", id, flaps.WithWaitStates("started"), flaps.WithWaitVersion(updated.InstanceID), flaps.WithWaitTimeout(10*time.Second)))

	_, err = client.Exec(ctx, "acme", id, &fly.MachineExecRequest{Cmd: "true"})
	require.ErrorContains(t, err, "lease currently held by")
	require.NoError(t, client.ReleaseLease(ctx, "acme", id, lease.Data.Nonce))
	out, err := client.Exec(ctx, "acme", id, &fly.MachineExecRequest{Cmd: "printenv DATABASE_URL"})
	require.NoError(t, err)
	require.Equal(t, "new\n", out.StdOut)

	m, err := client.Get(ctx, "acme", id)
	require.NoError(t, err)
	require.True(t, m.AllHealthChecks().AllPassing())
	require.Equal(t, 1, m.AllHealthChecks().Total)
	require.Equal(t, "started", f.get(path).State)
}

func TestFlyGoReadsEveryOtherAnswer(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	client := f.flaps()
	path := f.addMachine("stopped")
	id := f.get(path).ID

	_, err := client.SetAppSecret(ctx, "acme", "A", "b")
	require.NoError(t, err)
	_, err = client.GetAppSecrets(ctx, "acme", "A", nil, false)
	require.NoError(t, err)
	_, err = client.DeleteAppSecret(ctx, "acme", "A")
	require.NoError(t, err)

	started, err := client.Start(ctx, "acme", id, "")
	require.NoError(t, err)
	require.Equal(t, "stopped", started.PreviousState)
	settle := func(state string) {
		f.waitFor(path, state, f.get(path).InstanceID)
	}
	settle("started")
	require.NoError(t, client.Restart(ctx, "acme", fly.RestartMachineInput{ID: id, Timeout: time.Second}, ""))
	settle("started")
	require.NoError(t, client.Suspend(ctx, "acme", id, ""))
	settle("suspended")
	_, err = client.Start(ctx, "acme", id, "")
	require.NoError(t, err)
	settle("started")
	require.NoError(t, client.Cordon(ctx, "acme", id, ""))
	require.NoError(t, client.Uncordon(ctx, "acme", id, ""))
	require.NoError(t, client.SetMetadata(ctx, "acme", id, "k", "v"))
	metadata, err := client.GetMetadata(ctx, "acme", id)
	require.NoError(t, err)
	require.Equal(t, "v", metadata["k"])
	require.NoError(t, client.DeleteMetadata(ctx, "acme", id, "k"))
	_, err = client.GetProcesses(ctx, "acme", id)
	require.NoError(t, err)
	_, err = client.FindLease(ctx, "acme", id)
	require.ErrorIs(t, err, flaps.ErrFlapsNotFound)
	require.NoError(t, client.Stop(ctx, "acme", fly.StopMachineInput{ID: id}, ""))
	settle("stopped")
	require.NoError(t, client.Destroy(ctx, "acme", fly.RemoveMachineInput{ID: id}, ""))

	launched, err := client.Launch(ctx, "acme", fly.LaunchMachineInput{Config: &fly.MachineConfig{Image: "i"}})
	require.NoError(t, err)
	require.NotEmpty(t, launched.ID)
}

func TestAnUpdateByTypedConfigLosesFieldsAndTheEmulatorShowsIt(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	id, err := f.AddMachine("acme", flyemulator.NewMachine{Config: []byte(`{"image":"i","mounts":[{"path":"/d","add_size_percent":10}],"of_tomorrow":1}`)})
	require.NoError(t, err)
	m, err := f.flaps().Get(ctx, "acme", id)
	require.NoError(t, err)
	_, err = f.flaps().Update(ctx, "acme", fly.LaunchMachineInput{ID: id, Config: m.Config}, "")
	require.NoError(t, err)
	config := string(f.get(appPath + "/machines/" + id).Config)
	require.NotContains(t, config, "of_tomorrow")
	require.NotContains(t, config, "add_size_percent")
}

func TestFlyGoReportsRefusals(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	f.PutApp("hooli", "other", "")
	_, err := f.flaps().GetApp(ctx, "nothing")
	require.ErrorContains(t, err, "app not found")
	_, err = f.flaps().GetApp(ctx, "hooli")
	require.EqualError(t, err, "unauthorized")
	f.DeleteToken(token)
	_, err = f.flaps().GetApp(ctx, "acme")
	var refused *flaps.FlapsError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 401, refused.ResponseStatusCode)
	require.NotEmpty(t, refused.FlyRequestId)
}

func TestFlyGoWithATokenThatIsNoMacaroon(t *testing.T) {
	f := newFixture(t)
	f.PutToken("plain", flyemulator.Token{Organization: "o"})
	to, err := url.Parse(f.api.URL)
	require.NoError(t, err)
	client, err := flaps.NewWithOptions(t.Context(), flaps.NewClientOpts{Tokens: tokens.Parse("plain"), Transport: redirect{to}})
	require.NoError(t, err)
	app, err := client.GetApp(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, "acme", app.Name)
}
