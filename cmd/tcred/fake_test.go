package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"
)

const (
	testTenant  = "7dd06cd6-2f8e-4b1c-9a5e-0c3d4e5f6a7b"
	testToken   = "token-of-the-owner"
	testApp     = "sp-7dd06cd6"
	testLogin   = "tenant_7dd06cd6"
	testDB      = "site_7dd06cd6"
	apiPath     = "/api/v1/tenants/"
	pollsToDone = 2 // how often a rotation is asked for until it is completed
)

// fake behaves as the endpoint's contract says, for one tenant. Its answers are of the types that are generated from the contract.
type fake struct {
	*httptest.Server
	// onRotate makes a new password valid everywhere: in the database, at Fly and in the Machines.
	onRotate func(revision int64)
	port     int // of the database

	mu        sync.Mutex
	faults    []string
	requests  []recorded
	keys      map[string]int64
	rotations map[int64]*client.Rotation
	polls     map[int64]int
	access    client.ExternalAccessStatus
	slow      bool // a rotation is never completed
	ending    client.RotationStatus
	noFly     bool
}

type recorded struct{ call, key, prefer, body, host string }

func newFake() *fake {
	f := &fake{
		keys: map[string]int64{}, rotations: map[int64]*client.Rotation{}, polls: map[int64]int{}, access: client.Disabled, ending: client.Rotated,
		port: 5432, onRotate: func(int64) {},
	}
	f.Server = httptest.NewTLSServer(f)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var body json.RawMessage
	_ = json.NewDecoder(r.Body).Decode(&body)
	path := strings.TrimPrefix(r.URL.Path, apiPath+testTenant)
	f.requests = append(f.requests, recorded{
		r.Method + " " + path, r.Header.Get("Idempotency-Key"), r.Header.Get("Prefer"), string(body), r.Host,
	})
	if len(f.faults) > 0 {
		fault := f.faults[0]
		f.faults = f.faults[1:]
		if f.fail(w, r, fault, body, path) {
			return
		}
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer "+testToken:
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, 401, client.Unauthenticated, "The token is not accepted.")
	case !strings.HasPrefix(r.URL.Path, apiPath+testTenant):
		refuse(w, 403, client.Forbidden, "You may not rotate this tenant's credentials.")
	default:
		f.serve(w, r, path, body)
	}
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request, path string, body []byte) {
	switch {
	case path == "/rotate-credentials" && r.Method == http.MethodPost:
		f.rotate(w, r, body)
	case path == "/rotations":
		list := client.RotationList{Rotations: []client.Rotation{}}
		for i := int64(len(f.rotations)); i > 0; i-- {
			list.Rotations = append(list.Rotations, *f.rotations[i])
		}
		answer(w, 200, list)
	case strings.HasPrefix(path, "/rotations/"):
		revision, _ := strconv.ParseInt(strings.TrimPrefix(path, "/rotations/"), 10, 64)
		if f.rotations[revision] == nil {
			refuse(w, 404, client.RotationNotFound, "There is no such rotation.")
			return
		}
		f.advance(revision)
		answer(w, 200, f.rotations[revision])
	case path == "/external-db-access":
		f.external(w, r, body)
	default:
		w.WriteHeader(404)
	}
}

func (f *fake) rotate(w http.ResponseWriter, r *http.Request, body []byte) {
	var in client.RotationRequest
	if len(body) > 0 && json.Unmarshal(body, &in) != nil {
		refuse(w, 400, client.InvalidRequest, "The body is no JSON object.")
		return
	}
	key := r.Header.Get("Idempotency-Key")
	revision, known := f.keys[key]
	if !known {
		revision = int64(len(f.rotations)) + 1
		f.keys[key] = revision
		f.begin(revision)
	}
	rotation := f.rotations[revision]
	if rotation.Status == client.Rotated || in.Until != nil && *in.Until == client.Committed {
		rotation.Status = client.Rotated
		answer(w, 200, rotation)
		return
	}
	w.Header().Set("Location", rotation.Links.Self)
	w.Header().Set("Retry-After", "1")
	answer(w, 202, rotation)
}

func (f *fake) begin(revision int64) {
	rotation := &client.Rotation{
		Status: client.Rotating, Message: "The rotation is in progress.", Revision: revision, InternalDatabaseURL: f.url("127.0.0.1"),
		Fly: &client.Fly{App: testApp, Variable: "DATABASE_URL"}, Machines: &client.Machines{Total: 4},
	}
	if f.noFly {
		rotation.Fly, rotation.Machines = nil, nil
	}
	if f.access == client.Enabled {
		rotation.ExternalDatabaseURL = f.url("localhost")
	}
	rotation.Links.Self = fmt.Sprintf("%s%s/rotations/%d", apiPath, testTenant, revision)
	f.rotations[revision] = rotation
	f.onRotate(revision)
}

// advance is one step of a rotation.
func (f *fake) advance(revision int64) {
	rotation, now := f.rotations[revision], time.Now()
	if rotation.CompletionTime != nil || f.polls[revision] == pollsToDone-1 && f.slow {
		return
	}
	f.polls[revision]++
	rotation.CommitTime = &now
	if rotation.Machines != nil {
		rotation.Machines.Updated = min(rotation.Machines.Total, rotation.Machines.Updated+2)
	}
	rotation.Status = client.Rotated // committed, by the contract's default
	if f.polls[revision] >= pollsToDone {
		rotation.Status, rotation.Message = f.ending, "Credentials rotated. Retrieve via: fly secrets list -a "+testApp
		rotation.CompletionTime = &now
	}
}

func (f *fake) url(host string) string {
	return fmt.Sprintf("postgresql://%s:********@%s:%d/%s?sslmode=disable", testLogin, host, f.port, testDB)
}

func (f *fake) external(w http.ResponseWriter, r *http.Request, body []byte) {
	status := 200
	switch {
	case r.Method == http.MethodPost:
		var in client.ExternalAccessRequest
		_ = json.Unmarshal(body, &in)
		status, f.access = 202, client.Disabling
		if in.Enabled {
			f.access = client.Enabling
		}
	case f.access == client.Enabling:
		f.access = client.Enabled
	case f.access == client.Disabling:
		f.access = client.Disabled
	}
	out := client.ExternalAccess{
		Status: f.access, Enabled: f.access == client.Enabled, InternalDatabaseURL: f.url("127.0.0.1"), Message: "External access is " + string(f.access) + ".",
	}
	if out.Enabled {
		out.ExternalDatabaseURL = f.url("localhost")
	}
	answer(w, status, out)
}

// fail answers as something else than the contract has it, or refuses; "ok" does not.
func (f *fake) fail(w http.ResponseWriter, r *http.Request, fault string, body []byte, path string) bool {
	switch fault {
	case "cut":
		cut(w)
	case "cut-after": // it does what is asked, and the answer is cut off in its middle
		kept := httptest.NewRecorder()
		f.serve(kept, r, path, body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(kept.Body.Len()))
		_, _ = w.Write(kept.Body.Bytes()[:kept.Body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		cut(w)
	case "502":
		http.Error(w, "<html>bad gateway</html>", http.StatusBadGateway)
	case "redirect":
		http.Redirect(w, r, "https://localhost:"+f.port443()+"/elsewhere", http.StatusTemporaryRedirect)
	case "location":
		w.Header().Set("Location", "https://localhost:"+f.port443()+"/api")
		f.begin(1)
		answer(w, 202, f.rotations[1])
	case "garbage":
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"status":"rotated","token":"`+r.Header.Get("Authorization")+`"}`)
	case "echo":
		http.Error(w, "no such page \x1b[31m for "+r.Header.Get("Authorization"), 404)
	case "huge":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(strings.Repeat(" ", 2<<20)))
	case "terminal":
		refuse(w, 409, client.Stalled, "Stalled:\x1b[31m\u202e see\nthe object.")
	default:
		return f.refusal(w, fault)
	}
	return true
}

func (f *fake) refusal(w http.ResponseWriter, fault string) bool {
	switch fault {
	case "409":
		refuse(w, 409, client.Suspended, "TenantCredential acme/acme is suspended.")
	case "412":
		refuse(w, 412, client.RevisionMismatch, "The revision is 7.")
	case "422":
		refuse(w, 422, client.IdempotencyKeyReused, "The key was used with another body.")
	case "429", "503", "503-late":
		w.Header().Set("Retry-After", map[string]string{"429": "1", "503": "1", "503-late": "3600"}[fault])
		status, _ := strconv.Atoi(fault[:3])
		refuse(w, status, map[int]client.ProblemErrorCode{429: client.RateLimited, 503: client.Unavailable}[status], "The endpoint is busy.")
	default:
		return false
	}
	return true
}

func (f *fake) port443() string { u, _ := url.Parse(f.URL); return u.Port() }

func cut(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
	}
	_ = connection.Close()
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, code client.ProblemErrorCode, message string) {
	p := client.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: message}
	p.Error.Code, p.Error.Message = code, message
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p)
}
