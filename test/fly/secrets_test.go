package flyemulator_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

func TestSecretsNeverShowTheirValues(t *testing.T) {
	f := newFixture(t)
	f.call(200, "POST", appPath+"/secrets", `{"values":{"DATABASE_URL":"hidden-1","OTHER":"hidden-2"}}`)
	created := f.call(201, "POST", appPath+"/secrets/THIRD", `{"value":"hidden-3"}`)
	for _, r := range []reply{
		created,
		f.call(200, "GET", appPath+"/secrets?show_secrets=true", ""),
		f.call(200, "GET", appPath+"/secrets/DATABASE_URL?show_secrets=true", ""),
		f.call(200, "POST", appPath+"/secrets", `{"values":{"DATABASE_URL":"hidden-4"}}`),
	} {
		require.Contains(t, r.body, `"digest":"`)
		require.NotContains(t, r.body, "hidden")
	}
	f.call(404, "GET", appPath+"/secrets/NOTHING", "")
	require.NotContains(t, f.arrange(200, "GET", "/admin/requests", "").body, "hidden")
}

func TestEveryWriteRaisesTheSecretsVersion(t *testing.T) {
	f := newFixture(t)
	last := f.secret("a")
	require.Greater(t, last, uint64(1)<<53)
	for name, send := range map[string]func() reply{
		"same value":  func() reply { return f.call(200, "POST", appPath+"/secrets", `{"values":{"DATABASE_URL":"a"}}`) },
		"removal":     func() reply { return f.call(200, "POST", appPath+"/secrets", `{"values":{"DATABASE_URL":null}}`) },
		"nothing":     func() reply { return f.call(200, "POST", appPath+"/secrets", `{"values":{}}`) },
		"unset again": func() reply { return f.call(200, "DELETE", appPath+"/secrets/NOTHING", "") },
		"single":      func() reply { return f.call(201, "POST", appPath+"/secrets/B", `{"value":"b"}`) },
	} {
		var out map[string]json.Number
		body := send().body
		// Only the two version members are looked at: the others are not numbers.
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(body), &members), name)
		out = map[string]json.Number{"version": json.Number(members["version"]), "Version": json.Number(members["Version"])}
		version, err := strconv.ParseUint(out["version"].String(), 10, 64)
		require.NoError(t, err, name)
		require.Equal(t, out["version"], out["Version"], name)
		require.Greater(t, version, last, name)
		last = version
	}
}

func TestNoSecretsVersionSurvivesAFloat64(t *testing.T) {
	f := newFixture(t)
	for range 5 {
		version := f.secret("a")
		require.NotEqual(t, version, uint64(float64(version)))
	}
}

func TestDigests(t *testing.T) {
	f := newFixture(t)
	digest := func(value string) string {
		var out struct{ Secrets []struct{ Digest string } }
		f.call(200, "POST", appPath+"/secrets", `{"values":{"DATABASE_URL":"`+value+`"}}`).decode(&out)
		require.Len(t, out.Secrets, 1)
		return out.Secrets[0].Digest
	}
	first := digest("a")
	require.Len(t, first, 16)
	require.Equal(t, first, digest("a"))
	require.NotEqual(t, first, digest("b"))

	f.set(func(s *flyemulator.Switches) { s.DigestPerVersion = true })
	require.NotEqual(t, digest("a"), digest("a"))
}

func TestReadingAtAVersionThatDoesNotExistYet(t *testing.T) {
	f := newFixture(t)
	future := strconv.FormatUint(f.secret("a")+2, 10)
	f.call(408, "GET", appPath+"/secrets?min_version="+future, "")
	f.call(408, "GET", appPath+"/secrets?version="+future, "")
	f.set(func(s *flyemulator.Switches) { s.HonourVersionQuery, s.UnreachableMinStatus = false, 412 })
	f.call(200, "GET", appPath+"/secrets?version="+future, "")
	f.call(412, "GET", appPath+"/secrets?min_version="+future, "")
}

func TestAnswerToASetListsWhatWasSetOrAll(t *testing.T) {
	f := newFixture(t)
	f.call(201, "POST", appPath+"/secrets/OTHER", `{"value":"b"}`)
	set := func() string { return f.call(200, "POST", appPath+"/secrets", `{"values":{"DATABASE_URL":"a"}}`).body }
	require.NotContains(t, set(), "OTHER")
	f.set(func(s *flyemulator.Switches) { s.SetReturnsAllSecrets = true })
	require.Contains(t, set(), "OTHER")
}

func TestAdminShowsSecretsAndHistory(t *testing.T) {
	f := newFixture(t)
	f.arrange(200, "PUT", "/admin/apps/globex", `{"organization":"o","variable":"DATABASE_URL"}`)
	f.arrange(200, "PUT", "/admin/apps/globex/secrets/DATABASE_URL", `{"value":"one"}`)
	f.arrange(200, "PUT", "/admin/apps/globex/secrets/DATABASE_URL", `{"value":"two"}`)
	f.arrange(200, "DELETE", "/admin/apps/globex/secrets/DATABASE_URL", "")
	f.arrange(200, "PUT", "/admin/apps/globex/secrets/DATABASE_URL", `{"value":"three"}`)
	var state flyemulator.AppState
	f.arrange(200, "GET", "/admin/apps/globex", "").decode(&state)
	require.Len(t, state.Secrets, 1)
	require.Equal(t, "three", state.Secrets[0].Value)
	require.Len(t, state.History, 4)
	require.Equal(t, "one", *state.History[0].Value)
	require.Nil(t, state.History[2].Value)
	require.Equal(t, state.Secrets[0].Version, state.History[3].Version)

	require.JSONEq(t, `["acme","globex"]`, f.arrange(200, "GET", "/admin/apps", "").body)
	f.arrange(200, "DELETE", "/admin/apps/globex", "")
	f.arrange(404, "GET", "/admin/apps/globex", "")
	f.arrange(400, "PUT", "/admin/switches", `{"no_such_switch":true}`)
	require.True(t, strings.Contains(f.arrange(200, "PUT", "/admin/switches", `{"hold_checks":true}`).body, `"hold_checks":true`))
}
