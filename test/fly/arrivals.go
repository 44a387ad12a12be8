package flyemulator

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// Arrival is a value that a request meant to set, with any outcome of the request: refused, cut off, lost. A search for values
// that must not stand elsewhere has to know these, too.
type Arrival struct {
	App   string `json:"app"`
	Name  string `json:"name"`  // of the secret; empty: the body could not be read as what the call takes
	Value string `json:"value"` // or the whole body
}

// noteArrivals remembers what a request would set, before anything befalls it.
func (e *Emulator) noteArrivals(w http.ResponseWriter, r *http.Request, t target) {
	if r.Method != http.MethodPost || !strings.HasPrefix(t.Route, "POST /v1/apps/{app}/secrets") {
		return
	}
	arrived := readArrivals(peek(w, r), t.App, strings.TrimPrefix(r.URL.Path, "/v1/apps/"+t.App+"/secrets"))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.arrivals = append(e.arrivals, arrived...)
}

// readArrivals reads both forms: many values, and one for the name in the path.
func readArrivals(body []byte, app, name string) []Arrival {
	var in struct {
		Values map[string]*string `json:"values"`
		Value  *string            `json:"value"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return []Arrival{{App: app, Value: string(body)}}
	}
	var list []Arrival
	if in.Value != nil {
		list = append(list, Arrival{app, strings.TrimPrefix(name, "/"), *in.Value})
	}
	for name, value := range in.Values {
		if value != nil {
			list = append(list, Arrival{app, name, *value})
		}
	}
	return list
}

// Arrivals lists every value that a request ever meant to set through the API.
func (e *Emulator) Arrivals() []Arrival {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Concat([]Arrival{}, e.arrivals)
}
