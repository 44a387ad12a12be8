package conformance

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestALeaseKeepsOthersOut(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(nil), nil)
	taken := m.lease("")
	require.NotEmpty(t, taken.Nonce)
	require.WithinRange(t, taken.expires(), f.clock.now(), f.clock.now().Add(leaseTime+10*time.Second), "in seconds, and as long as was asked for")

	before := m.get() // a lease is none for reading
	f.call(409, request{method: "POST", path: m.path, body: members{"config": before.Config}})
	f.call(409, request{method: "POST", path: m.path + "/lease?ttl=60"})
	require.Equal(t, before.InstanceID, m.get().InstanceID, "what is refused changes nothing")
	m.updated("started", before.Config, members{"current_version": before.InstanceID})
}

func TestALeaseIsProlongedWithItsNonceAndReleased(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(nil), nil)
	taken := m.lease("")
	again := m.lease(taken.Nonce)
	require.Equal(t, taken.Nonce, again.Nonce)
	require.GreaterOrEqual(t, again.ExpiresAt, taken.ExpiresAt)
	m.release()
	m.updated("started", m.get().Config, nil)
	require.NotEqual(t, taken.Nonce, m.lease("").Nonce, "another lease has another nonce")
}

func TestTheListShowsLeases(t *testing.T) {
	f := newFixture(t)
	m := f.create(f.config(nil), nil)
	held := func(l *lease) bool { return l != nil && l.expires().After(f.clock.now()) }
	require.False(t, held(m.listed().Lease))
	taken, listed := m.lease(""), m.listed().Lease
	require.True(t, held(listed))
	require.Equal(t, taken.ExpiresAt, listed.ExpiresAt)
	m.release()
	require.False(t, held(m.listed().Lease))
}
