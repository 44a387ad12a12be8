package faultproxy

import "sync"

// Call is one call that passes a proxy.
type Call struct {
	// Name is that of the SQL function, the SQL command, or what is asked of Fly or of the API server: lock, COMMIT, login, set secret,
	// patch status.
	Name string
	// About says what it is about: the tenant's ID of an SQL call, the role of a login, the path of a request.
	About string
	// Session tells the sessions of PostgreSQL's proxies apart; 0 for any other call.
	Session int64
	// Body is that of a change to a Kubernetes object; nil for any other call, as the others carry secrets.
	Body []byte
}

// Passage is a call on its way. A Fault decides what becomes of it; one that neither answers nor refuses cuts the caller's connection.
type Passage interface {
	// Forward sends the call on and waits for the answer, whether or not the caller still does. The answer is kept.
	Forward() error
	// Answer passes the answer on, which Forward has waited for.
	Answer()
	// Refuse answers that the server cannot do it now. Nothing may have been forwarded.
	Refuse()
	// GivenUp is closed when the caller waits no longer.
	GivenUp() <-chan struct{}
}

// Fault is what happens to a call.
type Fault func(Passage)

// Rules chooses the calls that meet a fault. Several proxies share one, so that it sees all calls in their order.
type Rules struct {
	mu     sync.Mutex
	choose func(call Call, former []Call) Fault
	former []Call
	seen   chan struct{} // closed and replaced at each call
}

// NewRules returns rules that let everything pass.
func NewRules() *Rules { return &Rules{seen: make(chan struct{})} }

// Set has every call from now on judged by choose, which gets the calls since this one was set; nil lets everything pass. The fault that choose
// returns happens to the call, none where it returns nil.
func (r *Rules) Set(choose func(call Call, former []Call) Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.choose, r.former = choose, nil
}

// Calls are those since the last Set, and a channel that is closed when there is another one.
func (r *Rules) Calls() (former []Call, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Call{}, r.former...), r.seen
}

func (r *Rules) meet(call Call) Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	var fault Fault
	if r.choose != nil {
		fault = r.choose(call, r.former)
	}
	r.former = append(r.former, call)
	close(r.seen)
	r.seen = make(chan struct{})
	return fault
}
