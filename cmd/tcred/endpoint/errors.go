package endpoint

import "github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"

// Refusal is the endpoint's own "no": a problem (RFC 9457) with a code.
type Refusal struct {
	Status  int
	Code    client.ProblemErrorCode
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// Unexpected is an answer that is not of the contract: a proxy's, or another program's.
type Unexpected struct {
	fact string
	// passing: a proxy says that the endpoint cannot be reached just now.
	passing bool
}

func (u *Unexpected) Error() string { return u.fact }

// Unreachable says that no answer came, or not the whole of one.
type Unreachable struct {
	fact string
	// final: another attempt would end in the same way.
	final bool
	// sent: the endpoint may have received the request.
	sent bool
}

func (u *Unreachable) Error() string { return u.fact }

// Unknown says that the endpoint may have received the request, and no answer says so. The same request with the same key finds out.
type Unknown struct{ last error }

func (u *Unknown) Error() string {
	return u.last.Error() + ". The endpoint may or may not have received the request"
}

// Unwrap returns how the last attempt ended.
func (u *Unknown) Unwrap() error { return u.last }
