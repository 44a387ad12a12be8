package flyemulator_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

type execResult struct {
	ExitCode   int `json:"exit_code"`
	ExitSignal int `json:"exit_signal"`
	Stdout     string
	Stderr     string
}

func (f *fixture) exec(path, cmd string) (out execResult) {
	f.t.Helper()
	body, err := json.Marshal(map[string]string{"cmd": cmd})
	require.NoError(f.t, err)
	f.call(200, "POST", path+"/exec", string(body)).decode(&out)
	return out
}

func TestExecSeesWhatTheMachineBootedWith(t *testing.T) {
	t.Setenv("OF_THE_EMULATOR", "must not be seen")
	f := newFixture(t)
	f.secret("old")
	path := f.addMachine("started")
	f.secret("new")
	sum := sha256.Sum256([]byte("old"))

	require.Equal(t, "old\n", f.exec(path, "printenv DATABASE_URL").Stdout)
	require.True(t, strings.HasPrefix(f.exec(path, `sh -c 'printf %s "$DATABASE_URL" | sha256sum'`).Stdout, hex.EncodeToString(sum[:])))
	require.NotContains(t, f.exec(path, "env").Stdout, "OF_THE_EMULATOR")
	require.Equal(t, 3, f.exec(path, "sh -c 'exit 3'").ExitCode)
	require.Equal(t, 9, f.exec(path, "sh -c 'kill -9 $$'").ExitSignal)
	require.Equal(t, 127, f.exec(path, "no-such-program").ExitCode)

	f.set(func(s *flyemulator.Switches) { s.ExecInheritsEnv = false })
	require.Empty(t, f.exec(path, "printenv DATABASE_URL").Stdout)
	require.Equal(t, "acme\n", f.exec(path, "printenv FLY_APP_NAME").Stdout)
}

func TestExecIsRefused(t *testing.T) {
	f := newFixture(t)
	f.call(412, "POST", f.addMachine("stopped")+"/exec", `{"cmd":"true"}`)
	path := f.addMachine("started")
	f.call(400, "POST", path+"/exec", `{"cmd":""}`)
	f.call(400, "POST", path+"/exec", `{"cmd":"unfinished 'quote"}`)
	f.call(408, "POST", path+"/exec", `{"cmd":"sleep 30","timeout":1}`)
}

func TestWait(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	old := f.get(path).InstanceID
	f.call(200, "GET", path+"/wait?state=suspended&state=started", "")
	f.call(200, "GET", path+"/wait?state=settled", "")
	for _, timeout := range []string{"0", "61", "x"} {
		require.Contains(t, f.call(400, "GET", path+"/wait?state=started&timeout="+timeout, "").body, "[1s, 1m0s]")
	}
	require.Contains(t, f.call(400, "GET", path+"/wait?state=stopped", "").body, "instance_id required")

	updated := f.update(200, path, "").InstanceID
	f.waitFor(path, "started", updated)
	f.call(408, "GET", path+"/wait?state=started&timeout=1&version="+old, "")
	r := f.call(408, "GET", path+"/wait?state=suspended&timeout=1", "")
	require.Contains(t, r.body, "machine failed to reach desired state, suspended, currently started")
}
