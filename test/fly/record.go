package flyemulator

import (
	"net/http"
	"slices"
	"time"
)

// Request is one request to the API. It holds no body, header or value.
type Request struct {
	At         time.Time `json:"at"`
	AnsweredAt time.Time `json:"answered_at"` // zero: not yet, or never
	Method     string    `json:"method"`
	Path       string    `json:"path"`
	Query      string    `json:"query,omitempty"`
	Route      string    `json:"route"` // the pattern that matched
	App        string    `json:"app"`
	Machine    string    `json:"machine,omitempty"`
	Status     int       `json:"status"` // 0: the client has had no answer
	LeaseNonce bool      `json:"lease_nonce"`
	Write      bool      `json:"write"`
	Fault      string    `json:"fault,omitempty"` // the fault that befell it
}

func (e *Emulator) record(r *http.Request, t target) *Request {
	entry := &Request{
		At: time.Now().UTC(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Route: t.Route, App: t.App, Machine: t.Machine,
		LeaseNonce: r.Header.Get(nonceHeader) != "", Write: r.Method != http.MethodGet && r.Method != http.MethodHead,
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = append(e.requests, entry)
	return entry
}

// Requests lists the requests since the last ClearRequests, oldest first.
func (e *Emulator) Requests() []Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]Request, 0, len(e.requests))
	for _, entry := range e.requests {
		list = append(list, *entry)
	}
	return slices.Clip(list)
}

// ClearRequests empties the list.
func (e *Emulator) ClearRequests() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = nil
}

// recorder notes the status of an answer before the client can see it.
type recorder struct {
	http.ResponseWriter
	emulator *Emulator
	request  *Request
}

func (w *recorder) WriteHeader(status int) {
	w.emulator.mu.Lock()
	w.request.Status, w.request.AnsweredAt = status, time.Now().UTC()
	w.emulator.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) note(fault string) {
	w.emulator.mu.Lock()
	defer w.emulator.mu.Unlock()
	w.request.Fault = fault
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
