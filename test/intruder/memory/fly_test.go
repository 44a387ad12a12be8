package memory

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// flyAttack is what an endpoint answers in the place of Fly, for requests whose path ends with one of the suffixes; "" = all of an app's.
type flyAttack struct {
	name, suffix string
	// says is in the message of the condition Ready.
	says   string
	answer func(w http.ResponseWriter, r *http.Request)
}

var flyAttacks = []flyAttack{
	{"64 KB of gzip that unpack to gigabytes", "", "Fly sent a compressed answer", bomb},
	{"a list that never ends", "", "Fly sent an answer of more than 1 MiB", endless("[", `{"id":"0a6f2232f7651d","name":"DATABASE_URL","digest":"x","state":"started"},`)},
	{"an object that never ends", "", "Fly sent an answer of more than 1 MiB", endless("{", `"key":"value",`)},
	{"a string that never ends", "", "Fly sent an answer of more than 1 MiB", endless(`{"name":"`, "x")},
	{"brackets that never close", "", "that cannot be read", endless("[", "[")},
	{"blanks that never end", "", "Fly sent an answer of more than 1 MiB", endless("", " ")},
	{"an error that never ends", "", "HTTP 500", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		endless(`{"error":"`, "x")(w, r)
	}},
	{"a header of 64 MB", "", "Fly's answer to ", func(w http.ResponseWriter, _ *http.Request) {
		for range 64 {
			w.Header().Add("X-Long", strings.Repeat("x", 1<<20))
		}
	}},
	{"Machines that never end", "/machines", "that cannot be read", endless("[", `{"id":"0a6f2232f7651d","state":"started","config":{"env":{"A":"`+strings.Repeat("x", 1000)+`"}}},`)},
	{"a Machine whose config never ends", "/machines", "Fly sent a Machine of more than 1 MiB", endless(`[{"id":"0a6f2232f7651d","state":"started","config":{"env":{"A":"`, "x")},
	{"Machines in 64 KB of gzip", "/machines", "Fly sent a compressed answer", bomb},
}

// endless begins with a text and goes on with another one until the client has had enough.
func endless(begin, more string) func(w http.ResponseWriter, r *http.Request) {
	chunk := []byte(strings.Repeat(more, 1+(64<<10)/len(more)))
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(begin))
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
}

// zipped is a megabyte as gzip, which is a thousand bytes.
var zipped = func() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(strings.Repeat("x", 1<<20)))
	_ = w.Close()
	return b.Bytes()
}()

// bomb unpacks to 2 GB: the members of a gzip stream are unpacked one after the other.
func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	for range 2000 {
		if _, err := w.Write(zipped); err != nil {
			return
		}
	}
}

// hostileFly is a proxy before the emulator, which attacks every client that asks for some apps.
type hostileFly struct {
	environment platform.Environment // whose Fly it is

	mu      sync.Mutex
	attacks map[string]flyAttack
}

func serveHostileFly(t *testing.T) *hostileFly {
	t.Helper()
	emulator, err := url.Parse(os.Getenv("FLY_API_BASE_URL"))
	require.NoError(t, err)
	h := &hostileFly{attacks: map[string]flyAttack{}}
	proxy := httputil.NewSingleHostReverseProxy(emulator)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if attack, under := h.attackOn(r.URL.Path); under {
			attack.answer(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.CloseClientConnections)
	e, database := platform.NewServer(t, "hostile-fly")
	manifest := strings.Replace(e.Manifest(t), os.Getenv("FLY_API_BASE_URL"), server.URL, 1)
	require.Contains(t, manifest, server.URL)
	e.Prepare(t, database, manifest)
	e.Create(t, manifest)
	h.environment = e
	return h
}

func (h *hostileFly) attack(app string, with flyAttack) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attacks[app] = with
}

func (h *hostileFly) attackOn(path string) (flyAttack, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for app, attack := range h.attacks {
		if strings.Contains(path, "/apps/"+app) && strings.HasSuffix(path, attack.suffix) {
			return attack, true
		}
	}
	return flyAttack{}, false
}
