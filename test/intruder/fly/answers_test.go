package fly

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// packed is some text, repeated, as gzip: 64 KB for 64 MB.
func packed(before, piece string, times int, after string) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = io.WriteString(z, before)
	block := strings.Repeat(piece, 1<<20/len(piece))
	for range times {
		_, _ = io.WriteString(z, block)
	}
	_, _ = io.WriteString(z, after)
	_ = z.Close()
	return out.Bytes()
}

// deflated is a small honest answer, compressed in another way.
func deflated(text string) string {
	var out bytes.Buffer
	z, _ := flate.NewWriter(&out, flate.BestCompression)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return out.String()
}

func encoded(encoding, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Encoding"] = strings.Split(encoding, "|")
		_, _ = io.WriteString(w, body)
	}
}

// endless repeats a piece for as long as it is read.
func endless(before, piece string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.WriteString(w, before)
		for block := strings.Repeat(piece, 1+32<<10/len(piece)); err == nil; {
			_, err = io.WriteString(w, block)
		}
	}
}

// raw answers with bytes that no HTTP library would send, until the client has had enough.
func raw(head, piece string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, head)
		for i := 0; err == nil && piece != ""; i++ {
			_, err = fmt.Fprintf(conn, piece, i)
		}
	}
}

// drip keeps the client waiting with a blank now and then.
func drip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			_, _ = io.WriteString(w, " ")
			w.(http.Flusher).Flush()
		}
	}
}

func TestIntruderCompressedAnswers(t *testing.T) {
	t.Parallel()
	const says = "a compressed answer, which was not asked for"
	blanks := string(packed("", " ", 64, ""))
	small := string(packed("[0", ",0", 63, "]"))
	nested := string(packed("", "[", 8, ""))
	run(t, []attack{
		{"64 MB of blanks as a list", on(listMachines, encoded("gzip", blanks)), probe, unreadable, says},
		{"a list of small elements", on(listMachines, encoded("gzip", small)), probe, unreadable, says},
		{"a tower of brackets as an app", on(getApp, encoded("gzip", nested)), readApp, unreadable, says},
		{"gzip as an answer to set secrets", on(setSecrets, encoded("gzip", small)), set, unknown, ""},
		{"gzip as an answer to an update", on(updateMachine, encoded("gzip", small)), advance, lost, "update of Machine m1 was lost"},
		{"gzip as a lease", on(takeLease, encoded("gzip", small)), advance, lost, "lease of Machine m1"},
		{"gzip as a Machine", on(getMachine, encoded("gzip", small)), advance, unreadable, says},
		{"deflate", on(getApp, encoded("deflate", deflated(`{"name":"acme"}`))), readApp, unreadable, says},
		{"brotli", on(listSecrets, encoded("br", "x")), readDigest, unreadable, says},
		{"zstd", on(listSecrets, encoded("zstd", "x")), readDigest, unreadable, says},
		{"identity first, then gzip", on(getApp, encoded("identity|gzip", small)), readApp, unreadable, says},
		{"a name of an encoding that no one knows", on(getApp, encoded("x-bomb", `{"name":"acme"}`)), readApp, unreadable, says},
	})
}

// An honest proxy does not send what is not asked for, either.
func TestIntruderAsksForNoCompression(t *testing.T) {
	t.Parallel()
	h := newHostile(t, nil)
	for _, use := range []call{readApp, readDigest, probe, set} {
		_, err := use(t.Context(), open(t, h.URL))
		require.NoError(t, err)
	}
	for _, r := range h.requests {
		require.Empty(t, r.Header.Values("Accept-Encoding"), r.URL.Path)
	}
}

func TestIntruderLongAnswers(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	nest := strings.Repeat("[", 1e6)
	quick := func(use call) call { return briefly(use, time.Second) }
	run(t, []attack{
		{"an app without end", on(getApp, endless(`{"name":"acme","x":"`, "x")), readApp, unreadable, "of more than 1 MiB"},
		{"blanks without end before an app", on(getApp, endless("", " ")), readApp, unreadable, "of more than 1 MiB"},
		{"secrets without end", on(listSecrets, endless(`{"secrets":[{}`, `,{}`)), readDigest, unreadable, "of more than 1 MiB"},
		{"an answer without end to set secrets", on(setSecrets, endless(`{"secrets":[{}`, `,{}`)), set, unknown, ""},
		{"a Machine without end", on(getMachine, endless(`{"id":"m1","config":{"a":"`, "x")), advance, unreadable, "To fix: check that the API URL"},
		{"a Machine without end in a list", on(listMachines, endless(`[{"id":"m1","config":{"a":"`, "x")), probe, unreadable, "a Machine of more than 1 MiB"},
		{"a lease without end", on(takeLease, endless(`{"data":{"nonce":"`, "x")), advance, lost, ""},
		{"an answer without end to an update", on(updateMachine, endless(`{"id":"`, "x")), advance, lost, ""},
		{"a list that begins with blanks without end", on(listMachines, endless("", " ")), probe, unreadable, "of more than 1 MiB"},
		{"an app that drips", on(getApp, drip), quick(readApp), lost, "lost"},
		{"a list that drips", on(listMachines, drip), quick(probe), lost, "lost"},
		{"set secrets drips", on(setSecrets, drip), set, unknown, ""},
		{"headers without end", on(getApp, raw(ok, "X-%d: x\r\n")), readApp, lost, "lost"},
		{"one header without end", on(getApp, raw(ok+"X: ", "%d")), readApp, lost, "lost"},
		{"headers without end after set secrets", on(setSecrets, raw(ok, "X-%d: x\r\n")), set, unknown, ""},
		{"early hints without end", on(getApp, raw("", "HTTP/1.1 103 Early Hints\r\nLink: <%d>\r\n\r\n")), readApp, lost, "lost"},
		{"trailers without end", on(getApp, raw(ok+"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n", "X-%d: x\r\n")), readApp, lost, "lost"},
		{"a chunk of 2^63 bytes", on(getApp, raw(ok+"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "")), readApp, lost, ""},
		{"a length of 2^62 bytes", on(getApp, raw(ok+"Content-Length: 4611686018427387904\r\n\r\n{", "")), readApp, lost, "lost"},
		{"fewer bytes than said", on(getApp, raw(ok+"Content-Length: 99\r\n\r\n{}", "")), readApp, lost, "lost"},
		{"a million brackets as an app", on(getApp, say(nest)), readApp, unreadable, "cannot be read"},
		{"a million brackets in a Machine's config", on(listMachines, say(`[{"id":"m1","config":{"env":`+nest)), probe, unreadable, ""},
		{"a million brackets as a Machine", on(getMachine, say(nest)), advance, unreadable, ""},
		{"a million brackets as an answer to set secrets", on(setSecrets, say(nest)), set, unknown, ""},
		{"HTML as an app", on(getApp, say("<html>"+value)), readApp, unreadable, ""},
		{"HTML as a list", on(listMachines, say("<html>"+value)), probe, unreadable, ""},
		{"HTML as secrets", on(listSecrets, say("<html>"+value)), readDigest, unreadable, ""},
		{"nothing at all", on(getApp, say("")), readApp, unreadable, ""},
		{"two values", on(getApp, say(`{"name":"acme","organization":{"slug":"ours"}} {"name":"acme"}`)), readApp, unreadable, ""},
		{"a second list", on(listMachines, say(`[][]`)), instances, unreadable, ""},
		{"a list that is cut off", on(listMachines, say(`[`+machine("m1", ""))), instances, unreadable, ""},
		{"an object as a list", on(listMachines, say(`{"machines":[]}`)), instances, unreadable, ""},
	})
}

// With any status, a body that repeats the secret or the token is not shown.
func TestIntruderEchoes(t *testing.T) {
	t.Parallel()
	echo := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Error", value+token)
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"error":%q,"status":%q}`, body, r.Header.Get("Authorization")+value)
		}
	}
	for status, want := range map[int]refusal{
		200: unknown, 201: unknown, 300: unreadable, 304: unreadable, 400: {failure.Retry, reasons.Rejected}, 401: {failure.Retry, reasons.AuthenticationFailed},
		403: {failure.Retry, reasons.PermissionDenied}, 404: {failure.Wait, reasons.FlyAppNotFound}, 408: unknown, 409: {failure.Wait, reasons.Busy},
		412: {failure.Wait, reasons.Busy}, 413: {failure.Retry, reasons.Rejected}, 418: {failure.Retry, reasons.Rejected}, 422: {failure.Retry, reasons.Rejected},
		429: {failure.Retry, reasons.RateLimited}, 500: unknown, 502: unknown, 503: unknown, 504: unknown, 599: unknown, 999: unknown,
	} {
		run(t, []attack{{fmt.Sprint("HTTP ", status), on(setSecrets, echo(status)), set, want, ""}})
	}
}
