package fly

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// requirePlain says that a text can be shown: short, in one line, and nothing in it that reverses or hides.
func requirePlain(t *testing.T, text string) {
	t.Helper()
	require.Less(t, len(text), 1024)
	require.Equal(t, -1, strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
}

const listed = `[{"id":"m1","state":"started","instance_id":"i1","host_status":"ok","checks":[{"name":"c","status":"critical"}],` +
	`"events":[{"type":"exit","timestamp":1,"request":{"exit_event":{"exit_code":1}}}],"lease":{"nonce":"n","expires_at":5},` +
	`"config":{"env":{"DATABASE_URL":"x"},"metadata":{"fly_process_group":"web","tenant_credential_revision":"7;machine=m1"},"services":[{"checks":[{"grace_period":"5s"}]}]}}]`

// In any list, each Machine that is read from it has names that are names, and can be shown and judged.
func FuzzReadMachines(f *testing.F) {
	for _, text := range []string{
		listed, `[]`, `null`, `[null]`, `[{"id":"m1"},{"id":"m1"}]`, `[{"id":"m1","config":7,"checks":{},"events":"x","state":[]}]`, `[[[[`, `[{"id":"a\nb"}] `,
		`[{"id":"m1","events":[{"type":"start","status":"started","timestamp":9223372036854775807}]}]`, `{"id":"m1"}`, `[{"id":"m1"}] []`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		a := &answer{body: bytes.NewReader(text), whole: maxList, tooLong: errLongList}
		machines, err := readMachines(a, "DATABASE_URL")
		if err != nil {
			require.EqualValues(t, reasons.Unexpected, readFailure(request{method: http.MethodGet}, a, err).Reason)
			require.EqualValues(t, reasons.OutcomeUnknown, readFailure(request{method: http.MethodPost}, a, err).Reason)
			return
		}
		require.True(t, json.Valid(text))
		for _, m := range machines {
			require.Regexp(t, name, m.ID)
			require.Nil(t, m.Config)
			require.LessOrEqual(t, len(m.Events), 3)
			require.LessOrEqual(t, len(m.Checks), 1)
			_, why := judge(m, noon)
			requirePlain(t, m.title()+m.State+m.HostStatus+m.InstanceID+why)
		}
		p, _ := plan(machines, target, noon)
		require.Equal(t, len(inScope(machines)), p.Total)
		require.LessOrEqual(t, len(p.Warnings), maxWarnings+1)
	})
}

// A config with our mark is the config, and our mark.
func FuzzWithMark(f *testing.F) {
	for _, config := range []string{
		`{"image":"i","init":{}}`, `{ }`, `{"metadata": null, "image":"i"}`, `{"metadata":{"a":"1","tenant_credential_revision" : "6","z":"2"}}`, `{"metadata":{},"metadata":{}}`,
		"{\n \"zeta\": {\"b\":1.0e2},\"n\":18446744073709551617,\"env\":{\"X\":\"a<b>\\u0026\\/\"}, \"metadata\":{} ,\"list\":[ ]\n}", `{"metad\u0061ta":{"a":"}\"{"}}`, `[]`, `{} x`,
	} {
		f.Add([]byte(config), "7;secrets-version=9007199254740993;machine=m1")
	}
	f.Add([]byte(`{}`), "\"\n\xff")
	f.Fuzz(func(t *testing.T, config []byte, value string) {
		got, err := withMark(config, value)
		if err != nil {
			return
		}
		require.True(t, json.Valid(got))
		require.LessOrEqual(t, len(got), len(config)+len(quote(value))+len(`"metadata":{"":},`)+len(metadataKey))
		before, after := object(t, config), object(t, got)
		metadata, marked := map[string]json.RawMessage{}, object(t, after["metadata"])
		if old := before["metadata"]; len(old) > 0 && string(old) != "null" {
			metadata = object(t, old)
		}
		require.Equal(t, string(quote(value)), string(marked[metadataKey]))
		delete(metadata, metadataKey)
		delete(marked, metadataKey)
		require.Equal(t, metadata, marked)
		delete(before, "metadata")
		delete(after, "metadata")
		require.Equal(t, before, after)
	})
}

func object(t *testing.T, text []byte) map[string]json.RawMessage {
	t.Helper()
	var members map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &members))
	return members
}

// Going through a value member by member finds what encoding/json finds.
func FuzzMembers(f *testing.F) {
	for _, text := range []string{
		`{"a":1,"b":[1,2,{"c":"}"}],"a":null}`, ` { "a" : "\\\"" , "\u0061b":true } `, `[1,"x",[],{},-0.5e9,null]`, `[ ]`, `{}`, `[[[]],[{"a":[]}]]`, "[\"\\\\\",\"\\\"]\"]", `7`, `""`, `["0`, `{"a\`, "{\"\xb6\":true}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		found, list := map[string]json.RawMessage{}, []json.RawMessage{}
		isObject := members(text, func(name string, value []byte, end int) error {
			require.Equal(t, string(value), string(text[end-len(value):end]))
			found[name] = value
			return nil
		})
		isArray := elements(text, func(value []byte) error { list = append(list, value); return nil })
		if !json.Valid(text) {
			return // and there was no panic
		}
		var wantObject map[string]json.RawMessage
		require.Equal(t, json.Unmarshal(text, &wantObject) == nil && wantObject != nil, isObject == nil)
		if isObject == nil {
			require.Equal(t, wantObject, found)
		}
		var wantList []json.RawMessage
		require.Equal(t, json.Unmarshal(text, &wantList) == nil && wantList != nil, isArray == nil)
		if isArray == nil {
			require.Equal(t, wantList, list)
		}
	})
}

// Of however many events and checks those are kept that decide.
func FuzzEvents(f *testing.F) {
	for _, text := range []string{
		`[]`, `[{"type":"launch","timestamp":5},{"type":"update","timestamp":5},{"type":"start","status":"started","timestamp":4},{"type":"start","status":"started","timestamp":7}]`,
		`[{"type":"exit","timestamp":5,"request":{"exit_event":{"exit_code":1}}},{"type":"exit","timestamp":5,"request":{"MonitorEvent":{"exit_event":{"requested_stop":true}}}}]`,
		`[{"type":"exit","timestamp":-9223372036854775808,"request":{"exit_event":{}}}]`, `[1,"x",{"type":7}]`,
	} {
		f.Add([]byte(text), "started")
	}
	f.Fuzz(func(t *testing.T, text []byte, state string) {
		var all []event
		var kept events
		if json.Unmarshal(text, &all) != nil {
			return
		}
		require.NoError(t, json.Unmarshal(text, &kept))
		require.LessOrEqual(t, len(kept), 3)
		whole, short := machine{State: state, Events: all}, machine{State: state, Events: kept}
		launched := whole.lastLaunch()
		require.Equal(t, launched, short.lastLaunch())
		for _, since := range []time.Time{{}, launched} {
			require.Equal(t, whole.lastStart(since), short.lastStart(since))
			at, code, crashed := whole.lastCrash(since)
			keptAt, keptCode, keptCrashed := short.lastCrash(since)
			require.Equal(t, []any{at, code, crashed}, []any{keptAt, keptCode, keptCrashed})
		}
	})
}

// A list of secrets yields a digest that can be kept, or is refused.
func FuzzSecrets(f *testing.F) {
	for _, text := range []string{
		setAnswer, `{"secrets":null}`, `{}`, `{"version":18446744073709551615,"secrets":[{"name":"DATABASE_URL","digest":"d\n"}]}`, `{"version":-1}`, `{"version":1e3}`,
		`{"secrets":[{"name":"DATABASE_URL","digest":"a"},{"name":"DATABASE_URL","digest":"b"}]}`, `{"secrets":[{"name":"OTHER","digest":"\u0000"},{"name":"DATABASE_URL"}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := secretsAnswer{Secrets: oneSecret{variable: "DATABASE_URL"}}
		if decode(&answer{body: bytes.NewReader(text), whole: maxAnswer, tooLong: errLongAnswer}, &got) != nil {
			return
		}
		require.Equal(t, "DATABASE_URL", got.Secrets.variable)
		require.True(t, got.Secrets.digest == "" || opaque.MatchString(got.Secrets.digest))
		require.LessOrEqual(t, len(got.Secrets.updatedAt), maxText)
	})
}

// Few releases are read, and each has a number and an ID.
func FuzzReleases(f *testing.F) {
	for _, text := range []string{
		`[{"id":"r","version":1,"status":"complete","imageRef":"i","configDefinition":{"a":1},"createdAt":"2026-01-01T00:00:00Z"}]`, `null`, `[]`, `[{}]`, `[{"id":"r","version":-1}]`, `[null]`,
		`[{"id":"r","version":2147483648}]`, `[{"id":"r","version":1,"status":"<b>\n"}]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var read releases
		if json.Unmarshal(text, &read) != nil {
			return
		}
		require.LessOrEqual(t, len(read), maxReleases)
		for _, r := range read {
			require.True(t, opaque.MatchString(r.ID) && r.Version > 0 && len(r.Definition) <= maxDefinition)
			require.True(t, r.sameAs(r))
		}
		_, _, refusal := choose(read, noon)
		requirePlain(t, refusal)
	})
}

// No header keeps the client away for longer than an hour.
func FuzzRetryAfter(f *testing.F) {
	for _, header := range []string{"", "7", "-3", "999999", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "Monday, 04-May-26 12:01:00 GMT", "soon"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		after := retryAfter(header, noon)
		require.True(t, after >= 0 && after <= time.Hour, after)
	})
}

// An address that is accepted is that of one host, and every request goes there.
func FuzzBaseURL(f *testing.F) {
	for _, text := range []string{
		"", "https://api.machines.dev", "http://_api.internal:4280", "http://127.0.0.1@evil.example", "http://[::1]:80", "https://x/path", "https:x", "http://[::ffff:127.0.0.1]", "https://x?#",
	} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, insecure bool) {
		base, err := baseURL(text, insecure)
		if err != nil {
			require.Equal(t, failure.Stall, failure.ClassOf(err))
			return
		}
		require.True(t, base.Scheme == "https" || insecure || private(base.Hostname()), text)
		c, err := Open(Config{Token: credential.SecretOf(testToken), URL: text, Insecure: insecure})
		require.NoError(t, err)
		for _, r := range []request{machineRequest("app", "m1", getMachine, http.MethodGet, ""), {graphQL: true, method: http.MethodPost, path: "/graphql"}, {rest: true, method: http.MethodPost, path: releasesPath}} {
			built, err := c.build(t.Context(), r)
			require.NoError(t, err)
			if host := built.URL.Host; host != base.Host {
				require.True(t, (r.graphQL || r.rest) && host == "api.fly.io" && built.URL.Scheme == "https", host)
			}
			require.Contains(t, []string{"/graphql", "/api/v1/releases", "/v1/apps/app/machines/m1"}, built.URL.Path)
			require.Nil(t, built.URL.User)
		}
	})
}

// A token that is accepted is one line of a header; one that is refused is not repeated.
func FuzzToken(f *testing.F) {
	for _, token := range []string{testToken, "FlyV1 fm2_c2Vj,fm2_c2Vj", "hunter2secret", "a\r\nX: y", "Bearer x", "FlyV1 ", "fm2_", ",,", "FlyV1 fo1_x,fm2_c2Vj\u2028"} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		problem := tokenProblem(token)
		requirePlain(t, problem)
		if problem != "" {
			return
		}
		c, err := Open(Config{Token: credential.SecretOf(token)})
		require.NoError(t, err)
		for _, header := range []string{c.token.FlapsHeader(), c.token.GraphQLHeader(), "Bearer " + c.token.GraphQL()} {
			require.NotEmpty(t, header)
			require.False(t, strings.ContainsFunc(header, func(r rune) bool { return r < ' ' || r > '~' }), "%q", header)
		}
	})
}

// A text that is shown is plain, and the same one each time.
func FuzzShown(f *testing.F) {
	for _, text := range []string{"", "web", "a\nb", "\u202eweb", strings.Repeat("é", 100), "\xff\xfe", `"`, strings.Repeat("\U0010ffff", 41)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		requirePlain(t, shown(text))
		requirePlain(t, word(text))
		require.True(t, reflect.DeepEqual(parseMark(text), parseMark(text).again()), text)
	})
}

// again is a mark after it was written and read.
func (m mark) again() mark {
	if m == (mark{}) {
		return m
	}
	return parseMark(m.String())
}
