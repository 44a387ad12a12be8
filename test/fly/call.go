package flyemulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
)

// maxBody bounds what is read of a request, in bytes.
const maxBody = 4 << 20

// refusal is an answer other than 2xx, in the words that Fly uses.
type refusal struct {
	status  int
	message string
	header  map[string]string
	body    any // nil: the message, as the Machines API sends it
}

func (r *refusal) Error() string { return r.message }

func fail(status int, format string, args ...any) error {
	return &refusal{status: status, message: fmt.Sprintf(format, args...)}
}

var errUnauthenticated = fail(http.StatusUnauthorized, "Authenticate: token validation error")

// call is one request to the API on its way through a handler.
type call struct {
	*http.Request
	body    []byte
	app     *app
	machine *machine
}

// decode reads the body into out. An empty body leaves out as it is.
func (c *call) decode(out any) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.body, out); err != nil {
		return fail(http.StatusBadRequest, "invalid_argument: the body is not the JSON that this call takes")
	}
	return nil
}

// answer is a 2xx.
type answer struct {
	status int
	body   any
}

func ok(body any) (answer, error) { return answer{http.StatusOK, body}, nil }

func created(body any) (answer, error) { return answer{http.StatusCreated, body}, nil }

var done = map[string]bool{"ok": true}

type handler func(*call) (answer, error)

// locked runs h with mu held, its answer's encoding included, because answers share memory with the state.
func (e *Emulator) locked(prepare func(*call) error, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := newCall(r)
		if err != nil {
			writeRefusal(w, err)
			return
		}
		e.mu.Lock()
		status, body, err := func() (int, []byte, error) {
			if err := prepare(c); err != nil {
				return 0, nil, err
			}
			reply, err := h(c)
			if err != nil {
				return 0, nil, err
			}
			body, err := encode(reply.body)
			return reply.status, body, err
		}()
		e.mu.Unlock()
		if err != nil {
			writeRefusal(w, err)
			return
		}
		writeJSON(w, status, body)
	}
}

// unlocked finds the app and the Machine under the lock and runs h without it, for calls that take long.
func (e *Emulator) unlocked(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := newCall(r)
		if err == nil {
			e.mu.Lock()
			err = e.findMachine(c)
			e.mu.Unlock()
		}
		var reply answer
		if err == nil {
			reply, err = h(c)
		}
		var body []byte
		if err == nil {
			body, err = encode(reply.body)
		}
		if err != nil {
			writeRefusal(w, err)
			return
		}
		writeJSON(w, reply.status, body)
	}
}

func newCall(r *http.Request) (*call, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return nil, fail(http.StatusBadRequest, "invalid_argument: the body cannot be read")
	}
	return &call{Request: r, body: body}, nil
}

func (e *Emulator) findApp(c *call) (err error) {
	c.app, err = e.authorize(c.Request, c.PathValue("app"))
	return err
}

var machineID = regexp.MustCompile(`^[0-9a-f]{14}$`)

func (e *Emulator) findMachine(c *call) error {
	if err := e.findApp(c); err != nil {
		return err
	}
	id := c.PathValue("id")
	if !machineID.MatchString(id) {
		return fail(http.StatusBadRequest, "invalid machine ID, '%s'", id)
	}
	m, found := c.app.machines[id]
	if !found {
		return fail(http.StatusNotFound, "machine not found")
	}
	c.machine = m
	return nil
}

// findMachineForMutation also asks for the nonce of a lease that is held, and for a Machine that can be changed at all.
func (e *Emulator) findMachineForMutation(c *call) error {
	if err := e.findMachine(c); err != nil {
		return err
	}
	m := c.machine
	if m.state == stateDestroyed {
		return fail(http.StatusPreconditionFailed, "failed_precondition: machine is destroyed")
	}
	if m.hostStatus != hostOK {
		return fail(http.StatusServiceUnavailable, "unavailable: the host of machine %s is unreachable", m.id)
	}
	return e.checkLease(c)
}

func encode(body any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(body)
	return b.Bytes(), err
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone: no caller is left to tell
}

func writeRefusal(w http.ResponseWriter, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		r = &refusal{status: http.StatusInternalServerError, message: "internal: " + err.Error()}
	}
	if r.body == nil {
		r = &refusal{status: r.status, header: r.header, body: map[string]string{"error": r.message}}
	}
	body, err := encode(r.body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	for k, v := range r.header {
		w.Header().Set(k, v)
	}
	writeJSON(w, r.status, body)
}
