package flyemulator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

func TestALeaseGuardsEveryMutation(t *testing.T) {
	config := `{"config":{"image":"i"}}`
	for _, mutation := range []struct{ method, path, body string }{
		{"POST", "", config}, {"DELETE", "?kill=true", ""}, {"POST", "/start", ""}, {"POST", "/stop", ""}, {"POST", "/restart", ""},
		{"POST", "/suspend", ""}, {"POST", "/cordon", ""}, {"POST", "/uncordon", ""}, {"POST", "/exec", `{"cmd":"true"}`},
		{"DELETE", "/lease", ""}, {"POST", "/lease", ""},
	} {
		t.Run(mutation.method+mutation.path, func(t *testing.T) {
			f := newFixture(t)
			path := f.addMachine("started")
			nonce := f.lease(path, "30")
			without := f.call(409, mutation.method, path+mutation.path, mutation.body)
			require.Contains(t, without.body, "lease currently held by")
			f.call(409, mutation.method, path+mutation.path, mutation.body, "fly-machine-lease-nonce: wrong")
			right, err := f.try(f.api.URL, mutation.method, path+mutation.path, mutation.body,
				"Authorization: FlyV1 "+token, "fly-machine-lease-nonce: "+nonce)
			require.NoError(t, err)
			require.Contains(t, []int{200, 201}, right.status, right.body)
		})
	}
}

func TestALeaseIsPrivateToItsMachineAndDoesNotGuardReads(t *testing.T) {
	f := newFixture(t)
	leased, other := f.addMachine("started"), f.addMachine("started")
	f.lease(leased, "30")
	f.get(leased)
	f.call(200, "GET", leased+"/lease", "")
	f.call(404, "GET", other+"/lease", "")
	f.update(200, other, "")
}

func TestRefreshKeepsTheNonceAndReleaseFreesTheMachine(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	nonce := f.lease(path, "10")
	f.AdvanceClock(8 * time.Second)
	require.Contains(t, f.call(201, "POST", path+"/lease?ttl=10", "", "fly-machine-lease-nonce: "+nonce).body, nonce)
	f.AdvanceClock(8 * time.Second)
	f.update(409, path, "")
	f.call(200, "DELETE", path+"/lease", "", "fly-machine-lease-nonce: "+nonce)
	f.call(404, "DELETE", path+"/lease", "", "fly-machine-lease-nonce: "+nonce)
	f.update(200, path, "")
}

func TestAnExpiredLease(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	nonce := f.lease(path, "10")
	f.AdvanceClock(11 * time.Second)
	f.call(404, "GET", path+"/lease", "")
	f.call(409, "POST", path+"/cordon", "", "fly-machine-lease-nonce: "+nonce)
	f.set(func(s *flyemulator.Switches) { s.RejectStaleNonce = false })
	f.call(200, "POST", path+"/cordon", "", "fly-machine-lease-nonce: "+nonce)
	require.NotEqual(t, nonce, f.lease(path, "10"))
}

func TestALeaseOfAnotherClient(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	f.arrange(200, "POST", adminPath(path)+"/lease", `{"owner":"fly-proxy","ttl":60}`)
	require.Contains(t, f.call(409, "POST", path+"/lease", "").body, "fly-proxy@tokens.fly.io")
	f.arrange(200, "POST", "/admin/clock", `{"advance_ms":61000}`)
	f.lease(path, "10")
}

func TestAnUpdateCanTakeTheLease(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	nonce := f.update(200, path, `,"lease_ttl":30`).Nonce
	require.NotEmpty(t, nonce)
	f.call(409, "POST", path+"/cordon", "")
	f.call(200, "POST", path+"/cordon", "", "fly-machine-lease-nonce: "+nonce)
}

func TestMetadataUnderALease(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	f.lease(path, "30")
	f.call(200, "POST", path+"/metadata/a", `{"value":"b"}`)
	f.set(func(s *flyemulator.Switches) { s.LeaseBlocksMetadata = true })
	f.call(409, "POST", path+"/metadata/a", `{"value":"b"}`)
}
