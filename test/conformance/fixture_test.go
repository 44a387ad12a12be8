package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"testing"
)

// fixture is one test's view of the target. It removes everything that it sets and creates.
type fixture struct {
	testing.TB
	*target
	path string // of the app
	sets map[string]bool
}

func newFixture(t testing.TB) *fixture { return fixtureOn(t, fly) }

func fixtureOn(t testing.TB, g *target) *fixture {
	return &fixture{TB: t, target: g, path: "/v1/apps/" + g.app, sets: map[string]bool{}}
}

// try makes a call and accepts any answer.
func (f *fixture) try(r request) answer {
	f.Helper()
	a, err := f.send(context.WithoutCancel(f.Context()), r) // a cleanup makes calls when the test's own context is over
	if err != nil {
		f.Errorf("%v", err)
		f.FailNow()
	}
	return a
}

// call makes a call that has to be answered with the status.
func (f *fixture) call(status int, r request) answer {
	f.Helper()
	a := f.try(r)
	if a.status != status {
		f.Errorf("%s %s was answered with %d, not %d: %s", r.method, r.path, a.status, status, f.redact(string(a.body)))
		f.FailNow()
	}
	return a
}

// read decodes the answer to a GET.
func (f *fixture) read(path string, into any) {
	f.Helper()
	f.decode(f.call(200, request{method: "GET", path: path}), into)
}

func (f *fixture) decode(a answer, into any) {
	f.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		f.Errorf("an answer is not what it has to be: %v", err) // the body may hold what must not be shown
		f.FailNow()
	}
}

// newValue is a value that no secret has had.
func (f *fixture) newValue() string {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // crypto/rand promises not to fail
	value := "value-" + hex.EncodeToString(random)
	f.hidden = append(f.hidden, value)
	return value
}

// The names of the secrets that the tests set.
const (
	first  = "CONFORMANCE_FIRST"
	second = "CONFORMANCE_SECOND"
	unset  = "CONFORMANCE_NEVER_SET"
)

type secret struct{ Name, Digest string }

// written is the answer to a write of secrets. Decoding fails if the version is no whole number that an uint64 holds.
type written struct {
	Version uint64   `json:"version"`
	Secrets []secret `json:"secrets"`
	raw     []byte
}

func (w written) digest(name string) string { return digestOf(w.Secrets, name) }

func digestOf(list []secret, name string) string {
	for _, s := range list {
		if s.Name == name {
			return s.Digest
		}
	}
	return ""
}

// set sets a secret, which is unset when the test ends.
func (f *fixture) set(name, value string) written {
	f.Helper()
	if !f.sets[name] {
		f.sets[name] = true
		f.Cleanup(func() { f.write(name, nil) })
	}
	return f.write(name, &value)
}

// write is the call that the operator makes; a nil value unsets.
func (f *fixture) write(name string, value *string) written {
	f.Helper()
	a := f.call(200, request{method: "POST", path: f.path + "/secrets", body: map[string]any{"values": map[string]*string{name: value}}})
	w := written{raw: a.body}
	f.decode(a, &w)
	return w
}

// secrets is the list of them, and the bytes that it came in.
func (f *fixture) secrets() ([]secret, []byte) {
	f.Helper()
	a := f.call(200, request{method: "GET", path: f.path + "/secrets"})
	var out struct{ Secrets []secret }
	f.decode(a, &out)
	return out.Secrets, a.body
}
