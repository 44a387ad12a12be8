package flyemulator_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

func TestOnlyAnUpdateBringsNewSecretsToAMachine(t *testing.T) {
	for name, test := range map[string]struct {
		steps     []string // POSTs below the Machine, and the state that each ends in
		refreshes bool
		switches  func(*flyemulator.Switches)
	}{
		"restart":                      {steps: []string{"/restart", "started"}},
		"stop and start":               {steps: []string{"/stop", "stopped", "/start", "started"}},
		"stop and start, the other":    {steps: []string{"/stop", "stopped", "/start", "started"}, refreshes: true, switches: func(s *flyemulator.Switches) { s.StopStartRefreshesEnv = true }},
		"suspend and resume":           {steps: []string{"/suspend", "suspended", "/start", "started"}},
		"suspend and resume, whatever": {steps: []string{"/suspend", "suspended", "/start", "started"}, switches: func(s *flyemulator.Switches) { s.StopStartRefreshesEnv = true }},
		"update":                       {steps: []string{"", "started"}, refreshes: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if test.switches != nil {
				f.set(test.switches)
			}
			f.secret("old")
			path := f.addMachine("started")
			f.secret("new")
			require.Equal(t, "old", f.env()["DATABASE_URL"])
			for i := 0; i < len(test.steps); i += 2 {
				if test.steps[i] == "" {
					f.update(200, path, "")
				} else {
					f.call(200, "POST", path+test.steps[i], "")
				}
				f.waitFor(path, test.steps[i+1], f.get(path).InstanceID)
			}
			want := map[bool]string{false: "old", true: "new"}[test.refreshes]
			require.Equal(t, want, f.env()["DATABASE_URL"])
		})
	}
}

func TestAnUpdateEndsInTheRightState(t *testing.T) {
	for _, test := range []struct{ before, more, after string }{
		{"started", "", "started"},
		{"started", `,"skip_launch":true`, "stopped"},
		{"stopped", "", "stopped"},
		{"stopped", `,"skip_launch":true`, "stopped"},
		{"suspended", "", "stopped"},
	} {
		t.Run(test.before+test.more, func(t *testing.T) {
			f := newFixture(t)
			path := f.addMachine(test.before)
			before := f.get(path)
			updated := f.update(200, path, test.more)
			require.NotEqual(t, before.InstanceID, updated.InstanceID)
			f.waitFor(path, test.after, updated.InstanceID)
			after := f.get(path)
			require.Equal(t, test.after, after.State)
			require.JSONEq(t, string(before.Config), string(after.Config))

			var versions []struct {
				Version    string
				UserConfig json.RawMessage `json:"user_config"`
			}
			f.call(200, "GET", path+"/versions", "").decode(&versions)
			require.Len(t, versions, 2)
			require.Equal(t, before.InstanceID, versions[1].Version)
		})
	}
}

func TestAnUpdateReplacesTheConfigWholeAndKeepsWhatItDoesNotKnow(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	const sent = `{"image":"i","restart":{"policy":"always","max_retries":0},"mounts":[{"path":"/d","add_size_percent":10}],"of_tomorrow":{"n":9007199254740993,"empty":{}}}`
	f.call(200, "POST", path, `{"config":`+sent+`}`)
	require.Equal(t, sent, string(f.get(path).Config)) // to the digit, which a comparison as float64 would miss
	f.waitFor(path, "started", "")
	f.call(200, "POST", path, `{"config":{"image":"j"}}`)
	require.Equal(t, `{"image":"j"}`, string(f.get(path).Config))
	f.waitFor(path, "started", "")
	f.call(400, "POST", path, `{}`)
	f.call(400, "POST", path, `{"config":null}`)
	f.call(400, "POST", path, `not JSON`)
}

func TestAnUpdateIsRefused(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	f.update(409, path, `,"current_version":"01J00000000000000000000000"`)
	f.update(200, path, `,"current_version":"`+f.get(path).InstanceID+`"`)
	f.waitFor(path, "started", "")

	f.set(func(s *flyemulator.Switches) { s.HoldTransitions = true })
	f.update(200, path, "")
	f.update(409, path, "")
	require.Contains(t, f.call(412, "POST", path+"/start", "").body, "replacing")
	f.set(func(s *flyemulator.Switches) { s.HoldTransitions = false })
	f.waitFor(path, "started", "")
	f.update(200, path, "")
}

func TestTheSecretsFence(t *testing.T) {
	f := newFixture(t)
	f.secret("old")
	path := f.addMachine("started")
	version := f.secret("new")

	f.set(func(s *flyemulator.Switches) { s.PropagationLag = 1 })
	f.update(200, path, "")
	require.Equal(t, "old", f.env()["DATABASE_URL"], "an update without a fence may miss the newest secrets")
	f.waitFor(path, "started", "")
	f.update(200, path, fmt.Sprintf(`,"min_secrets_version":%d`, version))
	require.Equal(t, "new", f.env()["DATABASE_URL"])
	f.waitFor(path, "started", "")

	f.update(408, path, fmt.Sprintf(`,"min_secrets_version":%d`, version+2))
	f.set(func(s *flyemulator.Switches) { s.UnreachableMinStatus = 412 })
	f.update(412, path, fmt.Sprintf(`,"min_secrets_version":%d`, version+2))
	f.call(400, "POST", path, `{"config":{},"min_secrets_version":9.007e15}`)
}

func TestASecretAndAVariableOfTheSameName(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	f.secret("secret")
	const config = `{"config":{"env":{"DATABASE_URL":"literal"}}}`
	f.call(200, "POST", path, config)
	require.Equal(t, "secret", f.env()["DATABASE_URL"])
	f.waitFor(path, "started", "")
	f.set(func(s *flyemulator.Switches) { s.ConfigEnvOverridesSecrets = true })
	f.call(200, "POST", path, config)
	require.Equal(t, "literal", f.env()["DATABASE_URL"])
}

func TestCordonAcrossAnUpdate(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		f := newFixture(t)
		f.set(func(s *flyemulator.Switches) { s.UpdateKeepsCordon = keeps })
		path := f.addMachine("started")
		f.call(200, "POST", path+"/cordon", "")
		require.True(t, f.get(path).Cordoned)
		f.update(200, path, "")
		require.Equal(t, keeps, f.get(path).Cordoned)
		f.call(200, "POST", path+"/uncordon", "")
		require.False(t, f.get(path).Cordoned)
	}
}

func TestCreateAndDelete(t *testing.T) {
	f := newFixture(t)
	var m machine
	f.call(200, "POST", appPath+"/machines", `{"config":{"image":"i"},"region":"fra"}`).decode(&m)
	path := appPath + "/machines/" + m.ID
	f.waitFor(path, "started", m.InstanceID)
	f.call(412, "DELETE", path, "")
	f.call(200, "DELETE", path+"?kill=true", "")
	f.waitFor(path, "destroyed", "")
	f.update(412, path, "")
	f.call(400, "POST", appPath+"/machines", `{}`)
}

func TestAStandbyIsNotStarted(t *testing.T) {
	f := newFixture(t)
	var m machine
	f.call(200, "POST", appPath+"/machines", `{"config":{"image":"i","standbys":["0123456789abcd"]}}`).decode(&m)
	f.waitFor(appPath+"/machines/"+m.ID, "stopped", m.InstanceID)
}

func TestChecks(t *testing.T) {
	f := newFixture(t)
	f.set(func(s *flyemulator.Switches) { s.HoldChecks = true })
	path := f.addMachine("started")
	require.Equal(t, "critical", f.get(path).Checks[0].Status)
	f.set(func(s *flyemulator.Switches) { s.HoldChecks = false })
	require.Equal(t, "passing", f.get(path).Checks[0].Status)
	f.arrange(200, "PATCH", adminPath(path), `{"boot":"unhealthy"}`)
	require.Equal(t, "critical", f.get(path).Checks[0].Status)
	f.set(func(s *flyemulator.Switches) { s.CompatChecks = true })
	require.Equal(t, "bg_deployments_compat", f.get(path).Checks[1].Name)
	f.call(200, "POST", path+"/stop", "")
	require.Empty(t, f.get(path).Checks)
}

func adminPath(path string) string { return "/admin" + path[len("/v1"):] }

func TestACrashLoopEndsStopped(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	f.arrange(200, "PATCH", adminPath(path), `{"boot":"crash"}`)
	f.update(200, path, "")
	eventually(t, func() bool { return f.get(path).State == "stopped" }, "restarts are used up")
	restarts := 0
	for _, event := range f.get(path).Events {
		if event.Type == "exit" && event.Request != nil {
			restarts = max(restarts, event.Request.RestartCount)
		}
	}
	require.Equal(t, 4, restarts, "three restarts, and the exit after the last")
}

func TestAnUnreachableHost(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	whole := f.get(path).Config
	f.arrange(200, "PATCH", adminPath(path), `{"host_status":"unreachable"}`)
	m := f.get(path)
	require.Equal(t, "unreachable", m.HostStatus)
	require.Equal(t, "null", string(m.Config))
	require.JSONEq(t, string(whole), string(m.Incomplete))
	f.call(503, "POST", path, `{"config":{}}`)
}

func TestMetadataLeavesTheMachineRunning(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	before := f.get(path)
	f.call(200, "POST", path+"/metadata/revision", `{"value":"7"}`)
	require.Contains(t, f.call(200, "GET", path+"/metadata", "").body, `"revision":"7"`)
	require.Contains(t, string(f.get(path).Config), `"revision":"7"`)
	require.Equal(t, before.InstanceID, f.get(path).InstanceID)
	var list []machine
	f.call(200, "GET", appPath+"/machines?metadata.revision=7", "").decode(&list)
	require.Len(t, list, 1)
	f.call(200, "DELETE", path+"/metadata/revision", "")
	require.JSONEq(t, string(before.Config), string(f.get(path).Config))
}
