package fly

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
)

const (
	bidi    = "\u202e\u2066"
	escapes = `\n\u001b[31m\u0000` // in JSON
)

func TestIntruderSecrets(t *testing.T) {
	t.Parallel()
	version := func(number string) map[string]http.HandlerFunc {
		return on(setSecrets, say(`{"version":`+number+`,"secrets":[{"name":"DATABASE_URL","digest":"d"}]}`))
	}
	digest := func(text string) string {
		return `{"version":1,"secrets":[{"name":"DATABASE_URL","digest":` + text + `}]}`
	}
	var attacks []attack
	for _, number := range []string{
		"99999999999999999999999", "18446744073709551616", "-1", "1.5", "1e3", "1e400", "0", "-0", "null", `"7"`, `true`, `[1]`, `{}`, `NaN`, `0x10`, `01`,
	} {
		attacks = append(attacks, attack{"version " + number, version(number), set, unknown, ""})
	}
	for name, text := range map[string]string{
		"of 5 MB": `"` + strings.Repeat("d", 5<<20) + `"`, "of 300 characters": `"` + strings.Repeat("d", 300) + `"`, "with control characters": `"d` + escapes + `"`,
		"that reads from right to left": `"d` + bidi + `"`, "with a blank": `"d d"`, "that is a number": `7`, "that is a list": `["d"]`, "with half a surrogate": `"\ud800"`,
		"of zero-width characters": "\"\u200b\"",
	} {
		attacks = append(attacks,
			attack{"set, digest " + name, on(setSecrets, say(digest(text))), set, unknown, ""},
			attack{"read, digest " + name, on(listSecrets, say(digest(text))), readDigest, unreadable, ""})
	}
	twice := `{"version":1,"secrets":[{"name":"DATABASE_URL","digest":"d1"},{"name":"DATABASE_URL","digest":"d2"}]}`
	run(t, append(attacks,
		attack{"set, two digests of one name", on(setSecrets, say(twice)), set, unknown, ""},
		attack{"read, two digests of one name", on(listSecrets, say(twice)), readDigest, unreadable, ""},
		attack{"read, a list that is none", on(listSecrets, say(`{"secrets":"none"}`)), readDigest, unreadable, ""},
		attack{"read, secrets of other types", on(listSecrets, say(`{"secrets":[1,"x",[]]}`)), readDigest, unreadable, ""},
		attack{"set, no digest anywhere", map[string]http.HandlerFunc{setSecrets: say(`{"version":1}`), listSecrets: say(`{"secrets":[]}`)}, set, unknown, ""},
	))
}

// The highest number that there is comes through as it is, and not as its neighbour.
func TestIntruderHighestVersion(t *testing.T) {
	t.Parallel()
	h := newHostile(t, on(setSecrets, say(`{"version":18446744073709551615,"secrets":[{"name":"DATABASE_URL","digest":"d"}]}`)))
	got, err := set(t.Context(), open(t, h.URL))
	require.NoError(t, err)
	require.Equal(t, fly.AppSecret{Digest: "d", Version: 18446744073709551615}, got)
}

func TestIntruderApps(t *testing.T) {
	t.Parallel()
	ours := func(members string) map[string]http.HandlerFunc {
		return on(getApp, say(`{"name":"acme",`+members+`}`))
	}
	counted := func(count string) map[string]http.HandlerFunc {
		return ours(`"organization":{"slug":"ours"},"machine_count":` + count)
	}
	const read = "cannot be read"
	run(t, []attack{
		{"another app than asked for", on(getApp, say(`{"name":"other","organization":{"slug":"ours"}}`)), readApp, unreadable, read},
		{"an app without a name", on(getApp, say(`{"organization":{"slug":"ours"}}`)), readApp, unreadable, read},
		{"an app's name that leads elsewhere", on(getApp, say(`{"name":"acme/../other","organization":{"slug":"ours"}}`)), readApp, unreadable, read},
		{"two names", on(getApp, say(`{"name":"acme","name":"other","organization":{"slug":"ours"}}`)), readApp, unreadable, read},
		{"another organization", ours(`"organization":{"slug":"theirs"}`), readApp, refusal{failure.Retry, reasons.PermissionDenied}, "not in the Fly organization"},
		{"no organization", ours(`"machine_count":1`), readApp, refusal{failure.Retry, reasons.PermissionDenied}, ""},
		{"an organization with control characters", ours(`"organization":{"slug":"ours` + escapes + `"}`), readApp, unreadable, read},
		{"an organization of 5 KB", ours(`"organization":{"slug":"` + strings.Repeat("o", 5000) + `"}`), readApp, unreadable, read},
		{"an organization that is a list", ours(`"organization":["ours"]`), readApp, unreadable, read},
		{"minus five Machines", counted("-5"), readApp, unreadable, read},
		{"2^63-1 Machines", counted("9223372036854775807"), readApp, unreadable, "more than 2000 Machines"},
		{"2^63 Machines", counted("9223372036854775808"), readApp, unreadable, read},
		{"half a Machine", counted("0.5"), readApp, unreadable, read},
		{"a word of Machines", counted(`"many"`), readApp, unreadable, read},
		{"null", on(getApp, say("null")), readApp, unreadable, read},
	})
}

func TestIntruderMachines(t *testing.T) {
	t.Parallel()
	list := func(machines ...string) map[string]http.HandlerFunc {
		return on(listMachines, say("["+strings.Join(machines, ",")+"]"))
	}
	id := func(text string) map[string]http.HandlerFunc {
		return list(`{"id":` + text + `,"state":"started","config":{}}`)
	}
	instance := func(text string) map[string]http.HandlerFunc {
		return list(`{"id":"m1","state":"started","config":{},"instance_id":` + text + `}`)
	}
	many := make([]string, 100_000)
	for i := range many {
		many[i] = fmt.Sprintf(`{"id":"m%d"}`, i)
	}
	const read = "cannot be read"
	run(t, []attack{
		{"an ID that leads elsewhere", id(`"../../other/secrets"`), probe, unreadable, read},
		{"an escaped ID that leads elsewhere", id(`"..%2f..%2fother"`), probe, unreadable, read},
		{"an ID with a query", id(`"m1?force=true"`), probe, unreadable, read},
		{"an ID of two lines", id(`"a\n{}"`), probe, unreadable, read},
		{"an ID of two lines, the second empty", id(`"m1\n"`), probe, unreadable, read},
		{"an ID in look-alikes", id(`"m\u0131"`), probe, unreadable, read},
		{"an ID that reads from right to left", id(`"` + bidi + `m1"`), probe, unreadable, read},
		{"an ID of 500 KB", id(`"` + strings.Repeat("m", 500_000) + `"`), probe, unreadable, read},
		{"an empty ID", id(`""`), probe, unreadable, read},
		{"an ID that is a number", id(`1`), probe, unreadable, read},
		{"no ID", list(`{}`), probe, unreadable, read},
		{"null as a Machine", list(`null`), probe, unreadable, read},
		{"a number as a Machine", list(`0`), probe, unreadable, read},
		{"one ID twice", list(machine("m1", ""), machine("m1", "")), advance, unreadable, read},
		{"an instance ID of 5 KB", instance(`"` + strings.Repeat("i", 5000) + `"`), instances, unreadable, read},
		{"an instance ID with control characters", instance(`"i` + escapes + `"`), instances, unreadable, read},
		{"an instance ID that reads from right to left", instance(`"` + bidi + `"`), instances, unreadable, read},
		{"100,000 Machines", list(many...), probe, unreadable, "more than 2000 Machines (GET /v1/apps/acme/machines). To fix: split the app"},
		{"a Machine of 2 MiB", list(machine("m1", `,"x":"`+strings.Repeat("x", 2<<20)+`"`)), probe, unreadable, "keep files out of its config"},
		{"fewer Machines than counted", list(), instances, refusal{failure.Wait, reasons.Unexpected}, "counts 1 Machines"},
		{"null as a list", on(listMachines, say("null")), instances, refusal{failure.Wait, reasons.Unexpected}, "counts 1 Machines"},
		{"a host status with control characters", list(machine("m1", `,"host_status":"bad`+escapes+`"`)), probe,
			refusal{failure.Wait, reasons.HostUnreachable}, "host of Machine m1"},
		{"no config", list(`{"id":"m1","state":"started","config":null}`), probe, refusal{failure.Wait, reasons.HostUnreachable}, "host of Machine m1"},
	})
}

// looks are answers that cannot be refused, as a Machine may look like that: a user reads a short and plain text about them, and nothing is
// taken for good.
func TestIntruderLooks(t *testing.T) {
	t.Parallel()
	mark := `{"metadata":{"tenant_credential_revision":"7;secrets-version=` + target + `;machine=m1"%s},"checks":{"c":{"grace_period":%s}}}`
	moved := func(metadata, grace, more string) http.HandlerFunc {
		return say(`[{"id":"m1","state":"started","host_status":"ok","updated_at":"2026-01-01T00:00:00Z","config":` + fmt.Sprintf(mark, metadata, grace) + more + `}]`)
	}
	critical := `,"checks":[{"name":"c","status":"critical"}]`
	for name, test := range map[string]struct {
		list http.HandlerFunc
		says string
	}{
		"a state with control characters":              {say(`[{"id":"m1","state":"started` + escapes + `forged","config":{}}]`), "Machine m1 is unreadable"},
		"a state of 500 KB":                            {say(`[{"id":"m1","state":"` + strings.Repeat("s", 500_000) + `","config":{}}]`), "Machine m1 is unreadable"},
		"a state that is a number":                     {say(`[{"id":"m1","state":7,"config":{}}]`), "Machine m1 is"},
		"a check's name with control characters":       {moved("", `"1s"`, `,"checks":[{"name":"a`+escapes+`","status":"critical"}]`), `check "a\n\x1b[31m\x00" is critical`},
		"a check's name that reads from right to left": {moved("", `"1s"`, `,"checks":[{"name":"`+bidi+`","status":"critical"}]`), `check "\u202e\u2066" is critical`},
		"a check's name of 500 KB":                     {moved("", `"1s"`, `,"checks":[{"name":"`+strings.Repeat("é", 250_000)+`","status":"critical"}]`), "is critical"},
		"a check's status with control characters":     {moved("", `"1s"`, `,"checks":[{"name":"a","status":"passing\n"}]`), "check a is unreadable"},
		"a process group with control characters":      {moved(`,"fly_process_group":"web`+escapes+`"`, `"1s"`, critical), `Machine m1 ("web\n\x1b[31m\x00") is unhealthy`},
		"a process group of 5 KB":                      {moved(`,"fly_process_group":"`+strings.Repeat("g", 5000)+`"`, `"1s"`, critical), "Machine m1 is unhealthy"},
		"a grace period of 2^63-1 ns":                  {moved("", "9223372036854775807", critical), "check c is critical"},
		"a grace period of 290 years":                  {moved("", `"2540400h"`, critical), "check c is critical"},
		"a grace period below zero":                    {moved("", `"-1h"`, critical), "check c is critical"},
		"a failing check behind 30,000 passing ones":   {moved("", `"1s"`, `,"checks":[`+strings.Repeat(`{"status":"passing"},`, 30_000)+`{"name":"last","status":"critical"}]`), "check last is critical"},
		"a crash behind 20,000 events": {moved("", `"1s"`, `,"events":[`+strings.Repeat(`{"type":"start","timestamp":1},`, 20_000)+
			`{"type":"exit","timestamp":4102444800000,"request":{"exit_event":{"exit_code":3}}}]`), "exited with code 3"},
		"a mark of another spelling":       {say(`[{"id":"m1","state":"started","host_status":"ok","config":{"METADATA":{"tenant_credential_revision":"7;secrets-version=` + target + `;machine=m1"}}}]`), ""},
		"a mark in the first of two lists": {say(`[{"id":"m1","state":"started","host_status":"ok","config":{"metadata":{"tenant_credential_revision":"7;secrets-version=` + target + `;machine=m1"},"metadata":{}}}]`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, map[string]http.HandlerFunc{listMachines: test.list, takeLease: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) }})
			got, err := advance(t.Context(), open(t, h.URL))
			require.NoError(t, err)
			text := fmt.Sprintf("%+v", got)
			require.Contains(t, text, test.says)
			require.False(t, got.(fly.Progress).Done())
			requireHarmless(t, text)
		})
	}
}

// However many Machines have something to say, a condition holds it.
func TestIntruderWarnings(t *testing.T) {
	t.Parallel()
	machines := make([]string, 2000)
	for i := range machines {
		machines[i] = fmt.Sprintf(`{"id":"m%d","state":"started","host_status":"ok","config":{"env":{"DATABASE_URL":"x"},"processes":[%s{"env":{"DATABASE_URL":"x"},"secrets":[{}]}]}}`,
			i, strings.Repeat(`{"ignore_app_secrets":true},`, 50))
	}
	h := newHostile(t, on(listMachines, say("["+strings.Join(machines, ",")+"]")))
	for _, use := range []call{probe, advance} {
		got, err := use(t.Context(), open(t, h.URL))
		require.NoError(t, err)
		p := got.(fly.Progress)
		require.Equal(t, 2000, p.Total)
		require.Len(t, p.Warnings, 6)
		require.Equal(t, "and 7995 more of the kind", p.Warnings[5])
		requireHarmless(t, fmt.Sprintf("%+v", p))
	}
}

// A Machine is changed only as what was looked at, under a lease that is one.
func TestIntruderUpdates(t *testing.T) {
	t.Parallel()
	config := func(text string) http.HandlerFunc {
		return say(`{"id":"m1","state":"started","instance_id":"01Im1","host_status":"ok","config":` + text + `}`)
	}
	nonce := func(text string) http.HandlerFunc { return say(`{"data":{"nonce":` + text + `,"expires_at":1}}`) }
	const noNonce, odd = "a lease without a nonce", "config of Machine m1 is not understood"
	never := []attack{
		{"a nonce that adds a header", on(takeLease, nonce(`"n1\r\nFly-Force-Instance-Id: x"`)), advance, unreadable, noNonce},
		{"a nonce of 100 KB", on(takeLease, nonce(`"`+strings.Repeat("n", 100_000)+`"`)), advance, unreadable, noNonce},
		{"a nonce in look-alikes", on(takeLease, nonce(`"n\u0131"`)), advance, unreadable, noNonce},
		{"an empty nonce", on(takeLease, nonce(`""`)), advance, unreadable, noNonce},
		{"no nonce", on(takeLease, nonce(`null`)), advance, unreadable, noNonce},
		{"a nonce that is a number", on(takeLease, nonce(`7`)), advance, lost, "lease of Machine m1"},
		{"another Machine than asked for", on(getMachine, say(machine("m2", ""))), advance, unreadable, "GET /v1/apps/acme/machines/m1"},
		{"metadata twice", on(getMachine, config(`{"metadata":{},"metadata":{"a":"b"}}`)), advance, unreadable, odd},
		{"metadata twice, spelt in two ways", on(getMachine, config(`{"metadata":{},"metad\u0061ta":{"a":"b"}}`)), advance, unreadable, odd},
		{"the mark twice", on(getMachine, config(`{"metadata":{"tenant_credential_revision":"1","tenant_credential_revision":"2"}}`)), advance, unreadable, odd},
		{"metadata that is a list", on(getMachine, config(`{"metadata":[]}`)), advance, unreadable, odd},
		{"a config that is a list", on(getMachine, config(`[]`)), advance, unreadable, odd},
		{"a config that is a text", on(getMachine, config(`"{}"`)), advance, unreadable, odd},
		{"a config of 2 MiB", on(getMachine, config(`{"a":"`+strings.Repeat("x", 2<<20)+`"}`)), advance, unreadable, "more than 1 MiB"},
	}
	for _, a := range never {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, a.bad)
			_, err := a.call(t.Context(), open(t, h.URL))
			require.Error(t, err)
			require.Equal(t, a.want, refusal{failure.ClassOf(err), failure.ReasonOf(err)}, err.Error())
			require.Contains(t, err.Error(), a.says)
			requireHarmless(t, err.Error())
			require.NotContains(t, h.asked(), "POST /v1/apps/acme/machines/m1", "nothing is changed")
		})
	}
	const lostUpdate = "answer to the update of Machine m1 was lost"
	run(t, []attack{
		{"an answer to an update with control characters", on(updateMachine, say(`{"instance_id":"`+escapes+`"}`)), advance, lost, lostUpdate},
		{"an answer to an update that says nothing", on(updateMachine, say(`{}`)), advance, lost, lostUpdate},
		{"HTML as an answer to an update", on(updateMachine, say(`<html>`+value)), advance, lost, lostUpdate},
	})
}

// A Machine without a config when it is looked at again is left alone, as is one that has become another.
func TestIntruderChangesMeanwhile(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no config":        `{"id":"m1","state":"started","instance_id":"01Im1","host_status":"ok","config":null}`,
		"another instance": `{"id":"m1","state":"started","instance_id":"other","host_status":"ok","config":{}}`,
		"another state":    `{"id":"m1","state":"started\n","instance_id":"01Im1","host_status":"ok","config":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, on(getMachine, say(text)))
			got, err := advance(t.Context(), open(t, h.URL))
			require.NoError(t, err)
			require.Equal(t, "Machine m1 has changed meanwhile", got.(fly.Progress).Waiting)
			require.NotContains(t, h.asked(), "POST /v1/apps/acme/machines/m1")
		})
	}
}

// GraphQL's answer may keep a release from being recorded. It costs a warning, and no Machine is touched.
func TestIntruderReleases(t *testing.T) {
	t.Parallel()
	node := func(version, id, definition string) string {
		return `{"id":` + id + `,"version":` + version + `,"status":"complete","imageRef":"i:1","deploymentStrategy":"rolling","createdAt":"2020-01-01T00:00:00Z","configDefinition":` + definition + `}`
	}
	nodes := func(list ...string) string {
		return `{"data":{"app":{"releasesUnprocessed":{"nodes":[` + strings.Join(list, ",") + `]}}}}`
	}
	good := node("1", `"r1"`, `{"a":1}`)
	managed := say(`[{"id":"m1","state":"started","instance_id":"i1","host_status":"ok","config":{"metadata":{"fly_platform_version":"v2"}}}]`)
	for name, test := range map[string]struct{ looked, made, says string }{
		"errors that repeat what was sent":    {`{"errors":[{"message":"` + value + token + `","extensions":{"code":"` + value + `","variables":"` + token + `"}}]}`, "", "Fly returned a GraphQL error (no code) for "},
		"errors of another type":              {`{"errors":["` + value + `"]}`, "", "Fly returned a GraphQL error (no code) for "},
		"errors that are no list":             {`{"errors":{"message":"` + value + `"}}`, "", "cannot be read"},
		"a hundred thousand errors":           {`{"errors":[` + strings.Repeat(`{},`, 100_000) + `{}]}`, "", "Fly returned a GraphQL error (no code) for "},
		"a code of 5 KB":                      {`{"errors":[{"extensions":{"code":"` + strings.Repeat("A", 5000) + `"}}]}`, "", "Fly returned a GraphQL error (no code) for "},
		"more releases than asked for":        {nodes(strings.Split(strings.Repeat(good+"\n", 11), "\n")[:11]...), "", "cannot be read"},
		"a release below zero":                {nodes(node("-1", `"r1"`, `{}`)), "", "cannot be read"},
		"release 2^63":                        {nodes(node("9223372036854775808", `"r1"`, `{}`)), "", "cannot be read"},
		"release 2^40":                        {nodes(node("1099511627776", `"r1"`, `{}`)), "", "cannot be read"},
		"an ID with control characters":       {nodes(node("1", `"`+escapes+`"`, `{}`)), "", "cannot be read"},
		"an ID of 5 KB":                       {nodes(node("1", `"`+strings.Repeat("r", 5000)+`"`, `{}`)), "", "cannot be read"},
		"a definition of 100 KB":              {nodes(node("1", `"r1"`, `{"a":"`+strings.Repeat("x", 100_000)+`"}`)), "", "a definition of more than 64 KiB"},
		"a definition that is a tower":        {nodes(node("1", `"r1"`, strings.Repeat("[", 9000)+strings.Repeat("]", 9000))), "", "no definition"},
		"a date that is none":                 {nodes(strings.Replace(good, "2020-", "99999-", 1)), "", "cannot be read"},
		"no app":                              {`{"data":{"app":null}}`, "", "no complete release"},
		"no data":                             {`{}`, "", "cannot be read"},
		"HTML":                                {`<html>` + value, "", "cannot be read"},
		"made: nothing":                       {nodes(good), `{"data":{"createRelease":{"release":null}}}`, "cannot be read"},
		"made: an ID with control characters": {nodes(good), `{"data":{"createRelease":{"release":{"id":"` + escapes + `","version":2}}}}`, "cannot be read"},
		"made: release below zero":            {nodes(good), `{"data":{"createRelease":{"release":{"id":"r2","version":-2}}}}`, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			h := newHostile(t, map[string]http.HandlerFunc{listMachines: managed, graphQL: func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) == 2 {
					_, _ = io.WriteString(w, test.made)
					return
				}
				_, _ = io.WriteString(w, test.looked)
			}})
			requireUnrecorded(t, h, test.says)
		})
	}
}

// requireUnrecorded has a release recorded, and asserts that the warning says why it was not, and that no Machine was touched.
func requireUnrecorded(t *testing.T, h *hostile, says string) {
	t.Helper()
	warning, _ := record(t.Context(), open(t, h.URL))
	require.Contains(t, warning, "fly secrets list still shows DATABASE_URL as staged")
	require.Contains(t, warning, says)
	requireHarmless(t, warning.(string))
	for _, line := range h.asked() {
		require.NotContains(t, line, "/machines/m1")
	}
}

// The same of releases by REST. Only an ID with the shape of a name gets into a path.
func TestIntruderReleasesByREST(t *testing.T) {
	t.Parallel()
	looked := say(`{"data":{"app":{"releasesUnprocessed":{"nodes":[{"id":"r1","version":1,"status":"complete","imageRef":"i:1",` +
		`"deploymentStrategy":"ROLLING","createdAt":"2020-01-01T00:00:00Z","configDefinition":{"a":1}}]}}}}`)
	managed := say(`[{"id":"m1","state":"started","instance_id":"01Im1","host_status":"ok","config":{"metadata":{"fly_platform_version":"v2"}}}]`)
	refuse := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, text) }
	}
	const read = "cannot be read"
	for name, test := range map[string]struct {
		create http.HandlerFunc
		says   string
	}{
		"a refusal that repeats what was sent": {refuse(422, `{"error":"`+value+token+`"}`), "HTTP 422"},
		"an unknown app, in 1 MiB":             {refuse(404, `{"error":"`+strings.Repeat("x", 1<<20)+`"}`), read}, // GraphQL made nothing
		"an unknown app, with escapes":         {refuse(404, `{"error":"`+escapes+value+`"}`), "Fly returned HTTP 404 for POST /api/v1/releases (no such app)"},
		"nothing":                              {say(`{"release":null}`), read},
		"an empty object":                      {say(`{}`), read},
		"a list":                               {say(`[]`), read},
		"an ID with control characters":        {say(`{"release":{"id":"` + escapes + `","version":2}}`), read},
		"an ID of 5 KB":                        {say(`{"release":{"id":"` + strings.Repeat("r", 5000) + `","version":2}}`), read},
		"release below zero":                   {say(`{"release":{"id":"r2","version":-2}}`), read},
		"release 2^40":                         {say(`{"release":{"id":"r2","version":1099511627776}}`), read},
		"an answer of 2 MiB":                   {say(`{"release":{"id":"` + strings.Repeat("r", 2<<20) + `"}}`), "more than 1 MiB"},
		"HTML":                                 {say(`<html>` + value), read},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, map[string]http.HandlerFunc{listMachines: managed, graphQL: looked, createRelease: test.create})
			requireUnrecorded(t, h, test.says)
		})
	}
	t.Run("an ID that leads elsewhere", func(t *testing.T) {
		t.Parallel()
		h := newHostile(t, map[string]http.HandlerFunc{
			listMachines: managed, graphQL: looked, createRelease: say(`{"release":{"id":"../apps/acme?x#y","version":2}}`), finishRelease: say(`{}`),
		})
		_, _ = record(t.Context(), open(t, h.URL))
		require.Contains(t, h.asked(), "PATCH /v1/apps/acme/machines/m1/metadata", "it is completed after that")
		for _, line := range h.asked() {
			require.NotContains(t, line, "PATCH /api")
		}
	})
}
