package conformance

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnUpdateBringsTheSecretAndARestartDoesNot(t *testing.T) {
	f := newFixture(t)
	old, next := f.newValue(), f.newValue()
	m := f.create(f.config(nil), members{"min_secrets_version": f.set(first, old).Version})
	require.Equal(t, hashOf(old), m.bootHash(first))

	version := f.set(first, next).Version
	require.Equal(t, hashOf(old), m.bootHash(first), "a Machine that runs keeps what it booted with")
	m.restart()
	require.Equal(t, hashOf(old), m.bootHash(first), "a restart brings nothing new")
	m.updated("started", m.get().Config, members{"min_secrets_version": version})
	require.Equal(t, hashOf(next), m.bootHash(first))
}

func TestEveryFencedUpdateBringsTheValueJustSet(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(nil), nil)
	for range 3 {
		value := f.newValue()
		version := f.set(first, value).Version
		m.updated("started", m.get().Config, members{"min_secrets_version": version})
		require.Equal(t, hashOf(value), m.bootHash(first))
	}
}

func TestAStoppedMachineIsUpdatedAndStaysStopped(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(nil), members{"min_secrets_version": f.set(first, f.newValue()).Version})
	m.stop()
	value := f.newValue()
	v := m.updated("stopped", m.get().Config, members{"min_secrets_version": f.set(first, value).Version, "skip_launch": true})
	require.Equal(t, "stopped", v.State)
	m.start()
	require.Equal(t, hashOf(value), m.bootHash(first), "it has the value when it is started")
}

func TestAnUpdateWithWhatWasReadChangesNothing(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(members{
		"restart": members{"policy": "on-failure", "max_retries": 0}, "auto_destroy": false, "env": members{"EMPTY": ""},
		"metadata": members{"conformance": "throwaway", "a_key_of_nobody": "kept", "empty": ""},
	}), nil)
	before := m.get()
	after := m.updated("started", before.Config, members{"current_version": before.InstanceID})
	require.JSONEq(t, string(before.Config), string(after.Config), "not even a zero or an empty text")
	require.NotEqual(t, before.InstanceID, after.InstanceID, "it is a new version all the same")
	require.Equal(t, "kept", after.metadata()["a_key_of_nobody"])
}

func TestAnUpdateReplacesTheConfigWhole(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(members{"env": members{"GONE": "1"}, "metadata": members{"gone": "1", "kept": "1"}}), nil)
	config := edited(t, m.get().Config, func(c members) {
		delete(c, "env")
		c["metadata"] = members{"kept": "1"}
		c["restart"] = members{"policy": "no"}
	})
	after := m.updated("started", config, nil)
	require.Equal(t, map[string]string{"kept": "1"}, after.metadata())
	var read struct {
		Env     map[string]string
		Restart struct{ Policy string }
	}
	require.NoError(t, json.Unmarshal(after.Config, &read))
	require.NotContains(t, read.Env, "GONE")
	require.Equal(t, "no", read.Restart.Policy)
}

// edited is a config with changes, as the operator makes them: every other member stays as it was read.
func edited(t *testing.T, config json.RawMessage, change func(members)) json.RawMessage {
	t.Helper()
	var c members
	require.NoError(t, json.Unmarshal(config, &c))
	change(c)
	out, err := json.Marshal(c)
	require.NoError(t, err)
	return out
}

func TestTheOperatorsMarkIsReadBack(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(nil), nil)
	mark := "7;secrets-version=9007199254740993;machine=" + m.id + ";on-next-start;unhealthy-before"
	config := edited(t, m.get().Config, func(c members) {
		c["metadata"] = members{"tenant_credential_revision": mark}
	})
	require.Equal(t, mark, m.updated("started", config, nil).metadata()["tenant_credential_revision"])
	require.Equal(t, mark, m.listed().metadata()["tenant_credential_revision"])
}

func TestAnUpdateOfAVersionThatIsNoMoreIs409(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(nil), nil)
	before := m.get()
	present := m.updated("started", before.Config, members{"current_version": before.InstanceID})
	require.Equal(t, 409, m.update(before.Config, members{"current_version": before.InstanceID}).status)
	require.Equal(t, present.InstanceID, m.get().InstanceID, "what is refused changes nothing")
	m.updated("started", before.Config, members{"current_version": present.InstanceID})
}

func TestAMachineReadsAsItsHealthIsJudged(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(nil), nil)
	v := m.get()
	require.Equal(t, "ok", v.HostStatus)
	require.NotEmpty(t, v.InstanceID)
	_, err := time.Parse(time.RFC3339, v.UpdatedAt)
	require.NoError(t, err)
	launch := eventOf(t, v, "launch", "")
	requireNotBefore(t, eventOf(t, v, "start", "started"), launch)

	v = m.updated("started", v.Config, nil)
	update := eventOf(t, v, "update", "")
	requireNotBefore(t, update, launch)
	requireNotBefore(t, eventOf(t, v, "start", "started"), update)
	require.False(t, slices.ContainsFunc(v.Events, func(e event) bool { return e.Timestamp <= 0 }), "every event has its time")
}

func eventOf(t *testing.T, v view, kind, status string) event {
	t.Helper()
	e, exists := v.last(kind, status)
	require.True(t, exists, "there is an event %s %s", kind, status)
	require.WithinDuration(t, time.Now(), time.UnixMilli(e.Timestamp), time.Hour, "the time of an event is in milliseconds")
	return e
}

func requireNotBefore(t *testing.T, e, earlier event) {
	t.Helper()
	require.GreaterOrEqual(t, e.Timestamp, earlier.Timestamp, "%s comes after %s", e.Type, earlier.Type)
}
