package fly

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// memoryLimit is the manager's, in KiB.
const memoryLimit = 256 << 10

// fill is text of about n bytes that repeats a piece.
func fill(piece string, n int) string { return strings.Repeat(piece, n/len(piece)) }

// dense is a Machine of about n bytes with as many elements as fit into them, wherever decisions look.
func dense(id string, n int) string {
	part := n / 8
	return `{"id":"` + id + `","state":"started","instance_id":"i","host_status":"ok","checks":[{}` + fill(",{}", part) + `],"events":[{}` + fill(",{}", part) +
		`],"config":{"processes":[{}` + fill(",{}", part) + `],"services":[{"checks":[{}` + fill(",{}", part) + `]}],"env":{"a":""` + fill(`,"a":""`, part) +
		`},"metadata":{"a":""` + fill(`,"b":""`, part) + `},"containers":[{"secrets":[{}` + fill(",{}", part) + `]}],"x":[0` + fill(",0", part) + `]}}`
}

// padded is a Machine of which as much is kept as ever is.
func padded() string {
	text := func(n int) string { return fill("x", n) }
	return `{"id":"` + rand.Text() + rand.Text() + `","state":"` + text(63) + `","instance_id":"` + text(63) + `","host_status":"` + text(63) + `","updated_at":"` + text(250) +
		`","lease":{"nonce":"` + text(900) + `","expires_at":1},"checks":[{"name":"` + text(64) + `","status":"` + text(63) + `"}],"events":[` +
		`{"type":"update","status":"` + text(900) + `","timestamp":1},{"type":"start","status":"started","timestamp":2},` +
		`{"type":"exit","timestamp":3,"request":{"MonitorEvent":{"exit_event":{"exit_code":0}},"exit_event":{"exit_code":1}}}],"config":{"metadata":{"fly_process_group":"` +
		text(256) + `","fly_platform_version":"` + text(256) + `","fly_release_version":"` + text(256) + `","tenant_credential_revision":"7;machine=` + text(63) + `"}}}`
}

// times repeats a piece, with commas between.
func times(n int, before string, piece func() string, after string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.WriteString(w, before+piece())
		for i := 1; i < n && err == nil; i++ {
			_, err = io.WriteString(w, ","+piece())
		}
		if err == nil {
			_, _ = io.WriteString(w, after)
		}
	}
}

// numbered are Machines with a config of almost 1 MiB, which is to be held whole to be changed. The first one proves that the value is good,
// so that a third of them may move at once.
func numbered(n int) (list string, one http.HandlerFunc) {
	machines := make([]string, n)
	for i := range machines {
		machines[i] = fmt.Sprintf(`{"id":"m%d","state":"started","instance_id":"i","host_status":"ok","updated_at":"2020-01-01T00:00:00Z","config":{}}`, i)
	}
	machines[0] = strings.Replace(machines[0], `"config":{}`, `"config":{"metadata":{"tenant_credential_revision":"7;secrets-version=`+target+`;machine=m0"}}`, 1)
	pad := fill("x", 1<<20-2000)
	return "[" + strings.Join(machines, ",") + "]", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"id":%q,"state":"started","instance_id":"i","host_status":"ok","config":{"x":"%s"}}`, r.PathValue("id"), pad)
	}
}

// Fly's answers cost a bounded amount of memory, also when all workers are sent it at once.
func TestIntruderMemory(t *testing.T) {
	anyMachine := func(text string) func() string {
		return func() string { return strings.Replace(text, `"id":"m"`, `"id":"`+rand.Text()+`"`, 1) }
	}
	const managed = `[{"id":"m1","state":"started","instance_id":"i1","host_status":"ok","config":{"metadata":{"fly_platform_version":"v2"}}}]`
	releases := func(nodes string) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{listMachines: say(managed), graphQL: say(`{"data":{"app":{"releasesUnprocessed":{"nodes":[` + nodes + `]}}}}`)}
	}
	node := func(definition string) string {
		return `{"id":"r1","version":1,"status":"complete","imageRef":"i:1","createdAt":"2020-01-01T00:00:00Z","configDefinition":` + definition + `}`
	}
	full, big := numbered(400)
	made := times(2000, "[", padded, "]")
	for name, a := range map[string]struct {
		use  string
		bad  map[string]http.HandlerFunc
		h2   bool
		fine bool // it is no refusal
	}{
		"64 MB of blanks, packed":            {use: "probe", bad: on(listMachines, encoded("gzip", string(packed("", " ", 64, ""))))},
		"a list of small elements, packed":   {use: "probe", bad: on(listMachines, encoded("gzip", string(packed("[0", ",0", 63, "]"))))},
		"small elements, packed, as secrets": {use: "digest", bad: on(listSecrets, encoded("gzip", string(packed(`{"secrets":[{}`, `,{}`, 63, "]}"))))},
		"a list of small elements":           {use: "probe", bad: on(listMachines, endless("[0", ",0"))},
		"a Machine without end":              {use: "probe", bad: on(listMachines, endless(`[{"id":"m`, "m"))},
		"a Machine of blanks without end":    {use: "probe", bad: on(listMachines, endless(`[{`, " "))},
		"one name without end":               {use: "probe", bad: on(listMachines, endless(`[{"`, "x"))},
		"dense Machines without end":         {use: "probe", bad: on(listMachines, times(1<<30, "[", anyMachine(dense("m", 1e6)), "]"))},
		"dense Machines without end, HTTP/2": {use: "probe", bad: on(listMachines, times(1<<30, "[", anyMachine(dense("m", 1e6)), "]")), h2: true},
		"2,000 dense Machines of 20 KB":      {use: "probe", bad: on(listMachines, times(2000, "[", anyMachine(dense("m", 20e3)), "]")), fine: true},
		"2,000 padded Machines":              {use: "probe", bad: on(listMachines, made), fine: true},
		"2,000 padded Machines, other ones each time": {use: "advance", bad: map[string]http.HandlerFunc{listMachines: made,
			takeLease: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(429)
			}}, fine: true},
		"400 Machines of 1 MiB to be changed":         {use: "advance", bad: map[string]http.HandlerFunc{listMachines: say(full), getMachine: big}, fine: true},
		"400 Machines of 1 MiB to be changed, HTTP/2": {use: "advance", bad: map[string]http.HandlerFunc{listMachines: say(full), getMachine: big}, h2: true, fine: true},
		"a million small secrets":                     {use: "digest", bad: on(listSecrets, endless(`{"secrets":[{}`, `,{}`))},
		"300,000 small secrets":                       {use: "digest", bad: on(listSecrets, say(`{"secrets":[{}`+fill(",{}", 1e6)+`]}`)), fine: true},
		"300,000 small secrets as an answer to set":   {use: "set", bad: on(setSecrets, say(`{"version":1,"secrets":[{}`+fill(",{}", 1e6)+`]}`)), fine: true},
		"an app of 1 MiB":                             {use: "app", bad: on(getApp, say(`{"x":[[]`+fill(",[]", 1e6)+`]}`))},
		"an app without end, HTTP/2":                  {use: "app", bad: on(getApp, endless(`{"name":"`, "x")), h2: true},
		"headers without end":                         {use: "app", bad: on(getApp, raw("HTTP/1.1 200 OK\r\n", "X-%d: x\r\n"))},
		"early hints without end":                     {use: "app", bad: on(getApp, raw("", "HTTP/1.1 103 Early Hints\r\nLink: <%d>\r\n\r\n"))},
		"300,000 releases":                            {use: "record", bad: releases(`{}` + fill(",{}", 1e6))},
		"definitions of small elements":               {use: "record", bad: releases(node("{\"a\":[0"+fill(",0", 60e3)+"]}") + "," + node("{\"a\":[1"+fill(",0", 60e3)+"]}"))},
		"one definition of small elements":            {use: "record", bad: releases(node("{\"a\":[0" + fill(",0", 1e6) + "]}"))},
		"300,000 errors":                              {use: "record", bad: map[string]http.HandlerFunc{listMachines: say(managed), graphQL: say(`{"errors":[{}` + fill(",{}", 1e6) + `]}`)}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(routes(a.bad))
			var environment []string
			if a.h2 {
				server.EnableHTTP2 = true
				server.StartTLS()
				environment = append(environment, trust(t, server))
			} else {
				server.Start()
			}
			defer server.Close()
			r := startChild(t, a.use, server.URL, environment...)
			t.Logf("peak %d MiB: %s", r.PeakKiB>>10, r.Errors[0])
			require.Less(t, r.PeakKiB, memoryLimit, "%v", r.Errors)
			for i, class := range r.Classes {
				require.NotEqual(t, failure.Stall, class)
				require.False(t, r.Errors[i] == "" && !a.fine, "worker %d was not refused", i)
			}
		})
	}
}
