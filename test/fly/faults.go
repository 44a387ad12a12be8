package flyemulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The modes of a fault.
const (
	FaultStatus      = "status"        // answers with Status, Body and Headers; nothing takes effect
	FaultDelay       = "delay"         // takes DelayMS longer, and then works
	FaultResetBefore = "reset-before"  // resets the connection; nothing takes effect
	FaultResetAfter  = "reset-after"   // takes effect, and resets the connection
	FaultDrop        = "drop-response" // takes effect, and closes the connection without an answer
	FaultHang        = "hang"          // never answers; nothing takes effect
	FaultHangAfter   = "hang-after"    // takes effect, and never answers
)

// Fault is something that goes wrong with requests.
type Fault struct {
	// ID is given by AddFault.
	ID string `json:"id"`
	// Route is the pattern of a call such as "POST /v1/apps/{app}/secrets", or "*" for all.
	Route string `json:"route"`
	// App and Machine limit the fault to one; empty is any.
	App     string `json:"app,omitempty"`
	Machine string `json:"machine,omitempty"`
	// Skip is how many requests get through unharmed first.
	Skip int `json:"skip,omitempty"`
	// Count is how many requests suffer it: 0 is one, -1 all.
	Count int `json:"count"`
	// Mode is one of the modes; empty is FaultStatus.
	Mode    string            `json:"mode"`
	Status  int               `json:"status,omitempty"`
	Body    string            `json:"body,omitempty"` // {request} in it stands for the request's own body, as a JSON text
	Headers map[string]string `json:"headers,omitempty"`
	// DelayMS is how long the request waits before anything else, in milliseconds.
	DelayMS int `json:"delay_ms,omitempty"`
	// Fired is how many requests have suffered it.
	Fired int `json:"fired"`
}

type activeFault struct {
	Fault
	lifted chan struct{} // closed when the fault is removed, to let go of those that hang
}

var (
	placeholder = regexp.MustCompile(`\{[^}]*\}`)
	faultModes  = map[string]bool{
		FaultStatus: true, FaultDelay: true, FaultResetBefore: true, FaultResetAfter: true, FaultDrop: true, FaultHang: true, FaultHangAfter: true,
	}
)

// sameRoute compares two patterns, regardless of the names of their placeholders.
func sameRoute(a, b string) bool {
	return placeholder.ReplaceAllString(a, "{}") == placeholder.ReplaceAllString(b, "{}")
}

// AddFault adds a fault behind those that there are; the first that fits a request befalls it. It returns the fault's ID, or an
// error if there is no such mode or route.
func (e *Emulator) AddFault(f Fault) (string, error) {
	if f.Mode == "" {
		f.Mode = FaultStatus
	}
	if !faultModes[f.Mode] {
		return "", fmt.Errorf("there is no fault mode %q", f.Mode)
	}
	if f.Mode == FaultStatus && (f.Status < 200 || f.Status > 599) {
		return "", fmt.Errorf("a fault of mode status needs a status from 200 to 599")
	}
	if f.Count == 0 {
		f.Count = 1
	}
	if !e.knowsRoute(f.Route) {
		return "", fmt.Errorf("there is no route %q", f.Route)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faultSeq++
	f.ID, f.Fired = fmt.Sprintf("fault-%d", e.faultSeq), 0
	e.faults = append(e.faults, &activeFault{Fault: f, lifted: make(chan struct{})})
	return f.ID, nil
}

// knowsRoute tells whether a request can match the pattern.
func (e *Emulator) knowsRoute(route string) bool {
	if route == "*" {
		return true
	}
	method, path, _ := strings.Cut(route, " ")
	r, err := http.NewRequest(method, placeholder.ReplaceAllString(path, "x"), nil)
	if err != nil {
		return false
	}
	_, pattern := e.apiMux.Handler(r)
	return sameRoute(pattern, route)
}

// Faults lists the faults, used up ones included.
func (e *Emulator) Faults() []Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]Fault, 0, len(e.faults))
	for _, f := range e.faults {
		list = append(list, f.Fault)
	}
	return list
}

// ClearFaults removes all faults and lets go of requests that hang.
func (e *Emulator) ClearFaults() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.faults {
		close(f.lifted)
	}
	e.faults = nil
}

// LiftFault removes one fault; one that is gone already is no error.
func (e *Emulator) LiftFault(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = slices.DeleteFunc(e.faults, func(f *activeFault) bool {
		if f.ID == id {
			close(f.lifted)
		}
		return f.ID == id
	})
}

// takeFault finds the fault that befalls a request, if one does, and counts it.
func (e *Emulator) takeFault(t target) *activeFault {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.faults {
		fits := (f.Route == "*" || sameRoute(f.Route, t.Route)) && (f.App == "" || f.App == t.App) && (f.Machine == "" || f.Machine == t.Machine)
		if !fits || f.Count >= 0 && f.Fired >= f.Count {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		f.Fired++
		return f
	}
	return nil
}

// suffer answers a request as the fault has it.
func (e *Emulator) suffer(f *activeFault, w *recorder, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)) // until it is read, net/http does not notice that the client has gone
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !e.linger(f, r, time.Duration(f.DelayMS)*time.Millisecond) {
		return
	}
	switch f.Mode {
	case FaultStatus:
		for k, v := range f.Headers {
			w.Header().Set(k, v)
		}
		answer := f.Body
		if answer == "" {
			answer = `{"error":"internal: injected fault"}`
		}
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, strings.ReplaceAll(answer, "{request}", asText(body))) // the client is gone: no caller is left to tell
	case FaultDelay:
		e.apiMux.ServeHTTP(w, r)
	case FaultResetBefore:
		cut(w, true)
	case FaultResetAfter, FaultDrop:
		e.apiMux.ServeHTTP(&unheard{}, r)
		cut(w, f.Mode == FaultResetAfter)
	case FaultHang, FaultHangAfter:
		if f.Mode == FaultHangAfter {
			e.apiMux.ServeHTTP(&unheard{}, r)
		}
		e.linger(f, r, -1)
		cut(w, false)
	}
}

// asText is a body as a JSON text, with its quotes.
func asText(body []byte) string {
	quoted, _ := json.Marshal(string(body)) // a string always can be marshalled
	return string(quoted)
}

// linger waits, forever if d is negative, until the fault is removed. False: the client has gone or the emulator is closing.
func (e *Emulator) linger(f *activeFault, r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	var over <-chan time.Time
	if d > 0 {
		over = time.After(d)
	}
	select {
	case <-over:
		return true
	case <-f.lifted:
		return true
	case <-r.Context().Done():
	case <-e.ctx.Done():
	}
	return false
}

// cut ends the connection without an answer: by a reset, or in good order.
func cut(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's own way to end a connection without an answer
	}
	if tcp, isTCP := conn.(*net.TCPConn); isTCP && reset {
		_ = tcp.SetLinger(0) // closing now sends RST; if it cannot, the client still gets no answer
	}
	_ = conn.Close() // already closed by the client is as good
}

// unheard takes an answer that no client will get.
type unheard struct {
	header http.Header
	body   bytes.Buffer
}

func (u *unheard) Header() http.Header {
	if u.header == nil {
		u.header = http.Header{}
	}
	return u.header
}

func (u *unheard) Write(b []byte) (int, error) { return u.body.Write(b) }

func (u *unheard) WriteHeader(int) {}
