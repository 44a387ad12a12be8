package faultmatrix

import (
	"slices"
	"strings"

	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
)

// step is a row of the matrix: one call of a rotation on the wire, or a place inside the SQL function stage.
type step struct {
	name string
	// is recognizes the call, given those before it, all about the tenant, since the generation was raised.
	is func(call faultproxy.Call, former []faultproxy.Call) bool
	// inside is where the server is held in the call; nil = the call itself is what the fault happens to.
	inside gate
	// begun: by this step the ledger has an open row, and the rotation is finished after any change of the spec.
	begun bool
	// compromised: the rotation closes the tenant's logins first; else it is an ordinary one.
	compromised bool
	// overlap: the tenant has two logins, and the new password goes to the idle one.
	overlap bool
	// elsewhere: the management table is a foreign table, on a server of the platform's own.
	elsewhere bool
	// locked: the transaction holds the tenant's lock when the call is made.
	locked bool
}

// steps are those of a rotation in their order, from the look at the tenant to the last report. The places inside stage come
// before the answer to stage.
var steps = []step{
	{name: "observe", is: first("observe")},
	{name: "get app", is: first("get app")},
	{name: "probe Machines", is: first("list machines")},
	{name: "add finalizer", is: all(first("patch object"), says(`"finalizers":[`))},
	{name: "open", is: first("open")},
	{name: "lock", is: first("lock"), begun: true},
	{name: "guard", is: first("stage"), inside: guardGate{"guard"}, begun: true, locked: true},
	{name: "alter", is: first("stage"), inside: alterGate{}, begun: true, locked: true},
	{name: "hash", is: first("stage"), inside: triggerGate("hash"), begun: true, locked: true},
	{name: "ledger", is: first("stage"), inside: triggerGate("ledger"), begun: true, locked: true},
	{name: "stage", is: first("stage"), begun: true, locked: true},
	{name: "Fly write", is: first("set secret"), begun: true, locked: true},
	{name: "commit()", is: first("commit"), begun: true, locked: true},
	{name: "COMMIT", is: first("COMMIT"), begun: true, locked: true},
	{name: "verify", is: first("login", "COMMIT"), begun: true},
	{name: "login checked", is: first("login_checked"), begun: true},
	{name: "status: committed", is: first("patch status", "COMMIT"), begun: true},
	{name: "close", is: first("close"), begun: true, compromised: true, locked: true},
	{name: "close: COMMIT", is: first("COMMIT", "close"), begun: true, compromised: true, locked: true},
	{name: "close: sweep", is: first("close", "close"), begun: true, compromised: true, locked: true},
	{name: "roll out: observe", is: first("observe", "COMMIT"), begun: true},
	{name: "roll out: get app", is: first("get app", "COMMIT"), begun: true},
	{name: "roll out: digest", is: first("list secrets", "COMMIT"), begun: true},
	{name: "roll out: list", is: first("list machines", "COMMIT"), begun: true},
	{name: "roll out: lease", is: first("lease machine"), begun: true},
	{name: "roll out: get", is: first("get machine"), begun: true},
	{name: "roll out: update", is: first("update machine"), begun: true},
	{name: "roll out: release", is: first("release machine"), begun: true},
	{name: "status: rolling", is: first("patch status", "release machine"), begun: true},
	{name: "complete: digest", is: all(later("COMMIT"), right("list machines"), named("list secrets")), begun: true},
	{name: "release: create", is: first("create release"), begun: true},
	{name: "release: name", is: first("PATCH"), begun: true},
	{name: "complete", is: first("complete"), begun: true},
	{name: "remove finalizer", is: all(named("patch object"), says(`"finalizers":null`)), begun: true},
	{name: "status: Ready", is: all(named("patch status"), says(`"reason":"Rotated"`)), begun: true},

	{name: "overlap: open", is: first("open"), overlap: true},
	{name: "issue: lock", is: first("lock"), begun: true, overlap: true},
	{name: "issue", is: first("issue"), begun: true, overlap: true, locked: true},
	{name: "issue: COMMIT", is: first("COMMIT"), begun: true, overlap: true, locked: true},
	{name: "issue: login", is: first("login", "COMMIT"), begun: true, overlap: true},
	{name: "deliver: lock", is: first("lock", "login"), begun: true, overlap: true},
	{name: "deliver: stage", is: first("stage"), begun: true, overlap: true, locked: true},
	{name: "deliver: Fly write", is: first("set secret"), begun: true, overlap: true, locked: true},
	{name: "deliver: COMMIT", is: first("COMMIT", "stage"), begun: true, overlap: true, locked: true},
	{name: "overlap: update", is: first("update machine"), begun: true, overlap: true},
	{name: "rolled", is: first("rolled"), begun: true, overlap: true},
	{name: "retire: close", is: first("retire"), begun: true, overlap: true},
	{name: "retire: sweep", is: first("retire", "retire"), begun: true, overlap: true},
	{name: "overlap: complete", is: first("complete"), begun: true, overlap: true},

	{name: "foreign COMMIT", is: afterWriting("COMMIT"), begun: true, locked: true, elsewhere: true},
	{name: "deliver: foreign", is: afterWriting("COMMIT"), begun: true, overlap: true, locked: true, elsewhere: true},
}

type recognition = func(call faultproxy.Call, former []faultproxy.Call) bool

// first is the first call of a name after those calls, one after the other.
func first(name string, after ...string) recognition {
	return func(call faultproxy.Call, former []faultproxy.Call) bool {
		waiting := after
		for _, f := range former {
			switch {
			case len(waiting) > 0 && f.Name == waiting[0]:
				waiting = waiting[1:]
			case len(waiting) == 0 && f.Name == name:
				return false
			}
		}
		return len(waiting) == 0 && call.Name == name
	}
}

// afterWriting is the call of a name that a foreign table makes in a transaction in which it has written.
func afterWriting(name string) recognition {
	return func(call faultproxy.Call, before []faultproxy.Call) bool {
		for _, f := range slices.Backward(before) {
			if f.Session == call.Session && (f.Name == "START" || f.Name == "UPDATE") {
				return f.Name == "UPDATE" && call.Name == name
			}
		}
		return false
	}
}

func named(name string) recognition {
	return func(call faultproxy.Call, _ []faultproxy.Call) bool { return call.Name == name }
}

// says looks into the body of a change to the object.
func says(text string) recognition {
	return func(call faultproxy.Call, _ []faultproxy.Call) bool { return strings.Contains(string(call.Body), text) }
}

// later is any call after one of that name.
func later(name string) recognition {
	return func(_ faultproxy.Call, former []faultproxy.Call) bool {
		for _, f := range former {
			if f.Name == name {
				return true
			}
		}
		return false
	}
}

// right is the call right after one of that name.
func right(name string) recognition {
	return func(_ faultproxy.Call, former []faultproxy.Call) bool {
		return len(former) > 0 && former[len(former)-1].Name == name
	}
}

func all(parts ...recognition) recognition {
	return func(call faultproxy.Call, former []faultproxy.Call) bool {
		for _, part := range parts {
			if !part(call, former) {
				return false
			}
		}
		return true
	}
}
