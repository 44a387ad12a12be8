package flyemulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// adminRoutes serve what tests and the playground arrange and look into.
func (e *Emulator) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	route := func(pattern string, f func(*http.Request, func(any) error) (any, error)) {
		mux.HandleFunc(pattern, admin(f))
	}
	route("PUT /admin/tokens/{token}", e.adminPutToken)
	route("DELETE /admin/tokens/{token}", e.adminDeleteToken)
	route("GET /admin/apps", e.adminListApps)
	route("PUT /admin/apps/{app}", e.adminPutApp)
	route("GET /admin/apps/{app}", e.adminGetApp)
	route("DELETE /admin/apps/{app}", e.adminDeleteApp)
	route("POST /admin/apps/{app}/rest", e.adminRest)
	route("PUT /admin/apps/{app}/secrets/{name}", e.adminPutSecret)
	route("DELETE /admin/apps/{app}/secrets/{name}", e.adminDeleteSecret)
	route("POST /admin/apps/{app}/releases", e.adminAddRelease)
	route("POST /admin/apps/{app}/machines", e.adminAddMachine)
	route("PATCH /admin/apps/{app}/machines/{id}", e.adminChangeMachine)
	route("DELETE /admin/apps/{app}/machines/{id}", e.adminDestroyMachine)
	route("POST /admin/apps/{app}/machines/{id}/lease", e.adminHoldLease)
	route("GET /admin/faults", func(*http.Request, func(any) error) (any, error) { return e.Faults(), nil })
	route("POST /admin/faults", e.adminAddFault)
	route("DELETE /admin/faults/{id}", func(r *http.Request, _ func(any) error) (any, error) {
		e.LiftFault(r.PathValue("id"))
		return done, nil
	})
	route("DELETE /admin/faults", func(*http.Request, func(any) error) (any, error) { e.ClearFaults(); return done, nil })
	route("GET /admin/switches", func(*http.Request, func(any) error) (any, error) { return e.Switches(), nil })
	route("PUT /admin/switches", e.adminSetSwitches)
	route("GET /admin/requests", func(*http.Request, func(any) error) (any, error) { return e.Requests(), nil })
	route("DELETE /admin/requests", func(*http.Request, func(any) error) (any, error) { e.ClearRequests(); return done, nil })
	route("GET /admin/arrivals", func(*http.Request, func(any) error) (any, error) { return e.Arrivals(), nil })
	route("POST /admin/clock", e.adminClock)
	return mux
}

var errNoSuch = errors.New("there is no such app or Machine")

// admin answers 200 with what f returns, 404 for errNoSuch and 400 with the text of any other error. A member that f does not
// know is an error too: a misspelt one would silently arrange nothing.
func admin(f func(r *http.Request, decode func(any) error) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := f(r, func(into any) error {
			decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
			decoder.DisallowUnknownFields()
			return decoder.Decode(into)
		})
		status := http.StatusOK
		switch {
		case errors.Is(err, errNoSuch):
			status, body = http.StatusNotFound, map[string]string{"error": err.Error()}
		case err != nil:
			status, body = http.StatusBadRequest, map[string]string{"error": err.Error()}
		}
		text, err := encode(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		writeJSON(w, status, text)
	}
}

// found turns "there was one" into an answer.
func found(exists bool) (any, error) {
	if !exists {
		return nil, errNoSuch
	}
	return done, nil
}

func (e *Emulator) adminPutToken(r *http.Request, decode func(any) error) (any, error) {
	var t Token
	if err := decode(&t); err != nil {
		return nil, err
	}
	e.PutToken(r.PathValue("token"), t)
	return done, nil
}

func (e *Emulator) adminDeleteToken(r *http.Request, _ func(any) error) (any, error) {
	e.DeleteToken(r.PathValue("token"))
	return done, nil
}

func (e *Emulator) adminListApps(*http.Request, func(any) error) (any, error) { return e.Apps(), nil }

func (e *Emulator) adminPutApp(r *http.Request, decode func(any) error) (any, error) {
	var in struct {
		Organization string `json:"organization"`
		Variable     string `json:"variable"`
	}
	if err := decode(&in); err != nil {
		return nil, err
	}
	e.PutApp(r.PathValue("app"), in.Organization, in.Variable)
	return done, nil
}

func (e *Emulator) adminGetApp(r *http.Request, _ func(any) error) (any, error) {
	state, exists := e.Inspect(r.Context(), r.PathValue("app"))
	if !exists {
		return nil, errNoSuch
	}
	return state, nil
}

func (e *Emulator) adminDeleteApp(r *http.Request, _ func(any) error) (any, error) {
	return found(e.DeleteApp(r.PathValue("app")))
}

func (e *Emulator) adminRest(r *http.Request, _ func(any) error) (any, error) {
	return found(e.Rest(r.PathValue("app")))
}

func (e *Emulator) adminPutSecret(r *http.Request, decode func(any) error) (any, error) {
	var in struct {
		Value string `json:"value"`
	}
	if err := decode(&in); err != nil {
		return nil, err
	}
	return found(e.PutSecret(r.PathValue("app"), r.PathValue("name"), &in.Value))
}

func (e *Emulator) adminDeleteSecret(r *http.Request, _ func(any) error) (any, error) {
	return found(e.PutSecret(r.PathValue("app"), r.PathValue("name"), nil))
}

func (e *Emulator) adminAddRelease(r *http.Request, decode func(any) error) (any, error) {
	var in NewRelease
	if err := decode(&in); err != nil {
		return nil, err
	}
	return found(e.AddRelease(r.PathValue("app"), in) > 0)
}

func (e *Emulator) adminAddMachine(r *http.Request, decode func(any) error) (any, error) {
	var in NewMachine
	if err := decode(&in); err != nil {
		return nil, err
	}
	id, err := e.AddMachine(r.PathValue("app"), in)
	return map[string]string{"id": id}, err
}

func (e *Emulator) adminChangeMachine(r *http.Request, decode func(any) error) (any, error) {
	var in MachineChange
	if err := decode(&in); err != nil {
		return nil, err
	}
	return found(e.ChangeMachine(r.PathValue("app"), r.PathValue("id"), in))
}

func (e *Emulator) adminDestroyMachine(r *http.Request, _ func(any) error) (any, error) {
	return found(e.DestroyMachine(r.PathValue("app"), r.PathValue("id")))
}

func (e *Emulator) adminHoldLease(r *http.Request, decode func(any) error) (any, error) {
	var in struct {
		Owner string `json:"owner"`
		TTL   int    `json:"ttl"` // seconds
	}
	if err := decode(&in); err != nil {
		return nil, err
	}
	return found(e.HoldLease(r.PathValue("app"), r.PathValue("id"), in.Owner, time.Duration(in.TTL)*time.Second))
}

func (e *Emulator) adminAddFault(_ *http.Request, decode func(any) error) (any, error) {
	var in Fault
	if err := decode(&in); err != nil {
		return nil, err
	}
	id, err := e.AddFault(in)
	return map[string]string{"id": id}, err
}

// adminSetSwitches changes the switches that are named and leaves the others.
func (e *Emulator) adminSetSwitches(_ *http.Request, decode func(any) error) (any, error) {
	var raw json.RawMessage // read before the lock is taken: the client may be slow
	err := decode(&raw)
	if err != nil {
		return nil, err
	}
	e.SetSwitches(func(s *Switches) {
		next := *s
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.DisallowUnknownFields()
		if err = decoder.Decode(&next); err == nil {
			*s = next
		}
	})
	if err != nil {
		return nil, err
	}
	return e.Switches(), nil
}

func (e *Emulator) adminClock(_ *http.Request, decode func(any) error) (any, error) {
	var in struct {
		AdvanceMS int `json:"advance_ms"`
	}
	if err := decode(&in); err != nil {
		return nil, err
	}
	e.AdvanceClock(time.Duration(in.AdvanceMS) * time.Millisecond)
	return done, nil
}
