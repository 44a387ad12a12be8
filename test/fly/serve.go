package flyemulator

import (
	"bytes"
	"io"
	"net/http"
	"path"
	"strings"
)

// apiRoutes are the calls that the emulator knows, by the patterns that faults and the request log name them with.
func (e *Emulator) apiRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	onApp := func(pattern string, h handler) { mux.HandleFunc(pattern, e.locked(e.findApp, h)) }
	onMachine := func(pattern string, h handler) { mux.HandleFunc(pattern, e.locked(e.findMachine, h)) }
	byREST := func(pattern string, find func(*call) error, h handler) {
		mux.HandleFunc(pattern, e.locked(e.ifRESTReleases(find), h))
	}
	mutation := func(pattern string, h handler) { mux.HandleFunc(pattern, e.locked(e.findMachineForMutation, h)) }

	mux.HandleFunc("GET /v1/tokens/current", e.locked(e.authenticated, e.currentTokens))
	mux.HandleFunc(graphQLRoute, e.locked(e.authenticated, e.graphQL))
	byREST("GET /api/v1/apps/{app}/releases", e.findApp, e.listReleases)
	byREST("GET /api/v1/apps/{app}/releases/current", e.findApp, e.currentRelease)
	byREST(createReleaseRoute, e.authenticated, e.createRelease)
	byREST(updateReleaseRoute, e.authenticated, e.updateRelease)

	onApp("GET /v1/apps/{app}", e.getApp)

	onApp("GET /v1/apps/{app}/secrets", e.listSecrets)
	onApp("POST /v1/apps/{app}/secrets", e.updateSecrets)
	onApp("GET /v1/apps/{app}/secrets/{name}", e.getSecret)
	onApp("POST /v1/apps/{app}/secrets/{name}", e.setSecret)
	onApp("DELETE /v1/apps/{app}/secrets/{name}", e.deleteSecret)

	onApp("GET /v1/apps/{app}/machines", e.listMachines)
	onApp("POST /v1/apps/{app}/machines", e.createMachine)
	onMachine("GET /v1/apps/{app}/machines/{id}", e.getMachine)
	mutation("POST /v1/apps/{app}/machines/{id}", e.updateMachine)
	mutation("DELETE /v1/apps/{app}/machines/{id}", e.deleteMachine)
	onMachine("GET /v1/apps/{app}/machines/{id}/versions", e.listVersions)
	onMachine("GET /v1/apps/{app}/machines/{id}/ps", e.listProcesses)
	mux.HandleFunc("GET /v1/apps/{app}/machines/{id}/wait", e.unlocked(e.waitMachine))
	mux.HandleFunc("POST /v1/apps/{app}/machines/{id}/exec", e.unlocked(e.execMachine))

	mutation("POST /v1/apps/{app}/machines/{id}/start", e.startMachine)
	mutation("POST /v1/apps/{app}/machines/{id}/stop", e.stopMachine)
	mutation("POST /v1/apps/{app}/machines/{id}/restart", e.restartMachine)
	mutation("POST /v1/apps/{app}/machines/{id}/suspend", e.suspendMachine)
	mutation("POST /v1/apps/{app}/machines/{id}/cordon", e.cordon)
	mutation("POST /v1/apps/{app}/machines/{id}/uncordon", e.uncordon)

	onMachine("GET /v1/apps/{app}/machines/{id}/lease", e.getLease)
	onMachine("POST /v1/apps/{app}/machines/{id}/lease", e.acquireLease)
	onMachine("DELETE /v1/apps/{app}/machines/{id}/lease", e.releaseLease)

	onMachine("GET /v1/apps/{app}/machines/{id}/metadata", e.getMetadata)
	onMachine("PATCH /v1/apps/{app}/machines/{id}/metadata", e.patchMetadata)
	onMachine("POST /v1/apps/{app}/machines/{id}/metadata/{key}", e.setMetadata)
	onMachine("DELETE /v1/apps/{app}/machines/{id}/metadata/{key}", e.deleteMetadata)
	return mux
}

// serveAPI records the request, lets a fault act on it, and answers.
func (e *Emulator) serveAPI(w http.ResponseWriter, r *http.Request) {
	_, route := e.apiMux.Handler(r)
	target := e.targetOf(w, r, route)
	recorded := &recorder{ResponseWriter: w, emulator: e, request: e.record(r, target)}
	w.Header().Set("Fly-Request-Id", newULID())
	if target.App != "" && target.ofMachinesAPI() {
		http.SetCookie(w, &http.Cookie{Name: "fly_flaps_affinity", Value: "emulator", Path: "/v1/apps/" + target.App})
	}
	e.noteArrivals(w, r, target)
	if f := e.takeFault(target); f != nil {
		recorded.note(f.ID)
		e.suffer(f, recorded, r)
		return
	}
	if err := e.spend(target); err != nil {
		writeRefusal(recorded, err)
		return
	}
	e.apiMux.ServeHTTP(recorded, r)
}

// target is what a request is aimed at.
type target struct {
	Route   string // the pattern; empty: there is no such call
	App     string
	Machine string
}

// ofMachinesAPI says whether the request would go to the Machines API's own host at Fly, which alone sets cookies and has published rates.
func (t target) ofMachinesAPI() bool { return strings.Contains(t.Route, " /v1/") }

// targetOf finds the app wherever a route names it, and leaves the body as it was.
func (e *Emulator) targetOf(w http.ResponseWriter, r *http.Request, route string) target {
	switch route {
	case graphQLRoute:
		return target{Route: route, App: appInQuery(peek(w, r))}
	case createReleaseRoute:
		return target{Route: route, App: appInRelease(peek(w, r))}
	case updateReleaseRoute:
		return target{Route: route, App: e.appOfRelease(path.Base(r.URL.Path))}
	}
	return targetInPath(r, route)
}

// peek reads the body and puts it back, to be read and to end as it would have.
func peek(w http.ResponseWriter, r *http.Request) []byte {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
	return body
}

// failing ends a body as it ended when it was read first.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

func targetInPath(r *http.Request, route string) target {
	t := target{Route: route}
	parts := strings.Split(strings.Trim(strings.TrimPrefix(r.URL.Path, "/api"), "/"), "/")
	if len(parts) > 2 && parts[0] == "v1" && parts[1] == "apps" {
		t.App = parts[2]
		if len(parts) > 4 && parts[3] == "machines" {
			t.Machine = parts[4]
		}
	}
	return t
}
