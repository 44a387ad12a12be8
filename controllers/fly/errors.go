package fly

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/network"
)

// verdict is what an HTTP status means when the request changed nothing. The meaning stands behind the status.
type verdict struct {
	class   failure.Class
	reason  failure.Reason
	meaning string
}

// verdicts holds the statuses with a meaning of their own. Fly's texts for them are in the Machines API specification; the
// program relies on the status alone.
var verdicts = map[int]verdict{
	http.StatusUnauthorized:        {failure.Retry, reasons.AuthenticationFailed, "the token was rejected"},
	http.StatusForbidden:           {failure.Retry, reasons.PermissionDenied, "the token lacks the permission, or the app is in another organization"},
	http.StatusNotFound:            {failure.Wait, reasons.FlyAppNotFound, "no such app"},
	http.StatusRequestTimeout:      {failure.Retry, reasons.ConnectionFailed, "no answer in time"},
	http.StatusConflict:            {failure.Wait, reasons.Busy, "another change is in progress"},
	http.StatusPreconditionFailed:  {failure.Wait, reasons.Busy, "not possible in the present state"},
	http.StatusTooManyRequests:     {failure.Retry, reasons.RateLimited, "rate limit"},
	http.StatusBadRequest:          {failure.Retry, reasons.Rejected, "the request was refused"},
	http.StatusUnprocessableEntity: {failure.Retry, reasons.Rejected, "the request was refused"},
}

// statusFailure classes an answer that is not 2xx. After 408 or 5xx on a mutation it is not known whether it took effect.
func statusFailure(r request, status int) *failure.Error {
	returned := fmt.Sprintf("Fly returned HTTP %d for %s", status, r.call())
	if r.mutates() && (status == http.StatusRequestTimeout || status >= 500) {
		return failure.New(failure.Unknown, reasons.OutcomeUnknown, returned+" (the outcome is unknown)")
	}
	if status == http.StatusNotFound && r.ofMachine {
		return failure.New(failure.Wait, reasons.Superseded, returned+" (the Machine is gone)")
	}
	if v, ok := verdicts[status]; ok {
		return failure.New(v.class, v.reason, returned+" ("+v.meaning+")")
	}
	switch {
	case status >= 500:
		return failure.New(failure.Retry, reasons.ConnectionFailed, returned)
	case status >= 400:
		return failure.New(failure.Retry, reasons.Rejected, returned+" (the request was refused)")
	}
	return failure.New(failure.Retry, reasons.Unexpected, returned+" (this program does not know this status)")
}

// errNoSuchCall is the failure of a call by REST that the API does not have. It changed nothing.
var errNoSuchCall = failure.New(failure.Retry, reasons.Rejected, "Fly's API has no such call")

// lacksCall says whether an answer means that the API has no such call. A 404 can also mean that the API has no such app or release. That
// one explains itself, and the answer to an unknown path does not: the public CLI goes by this for other calls of the same server, and it is
// not established for releases [?]. An unclear 404 counts as an unknown path, because the caller then asks another API, which knows.
func lacksCall(response *http.Response) bool {
	switch response.StatusCode {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusNotFound:
		return !explained(response.Body)
	}
	return false
}

// maxRefusal bounds what is read of a refusal, whose text is not kept.
const maxRefusal = 4 << 10

// explained says whether a refusal is a JSON object with an error or a message.
func explained(body io.Reader) bool {
	var refusal struct{ Error, Message string }
	content, err := io.ReadAll(io.LimitReader(body, maxRefusal))
	return err == nil && json.Unmarshal(content, &refusal) == nil && refusal.Error+refusal.Message != ""
}

// transportFailure classes a call without an answer. One that never got a connection has changed nothing.
func transportFailure(r request, sent bool, err error) *failure.Error {
	lost := "Fly's answer to " + r.call() + " was lost"
	switch {
	case !sent:
		reason, clause := network.Explain(err)
		if clause != "" {
			clause = ": " + clause
		}
		return failure.New(failure.Retry, reason, "Fly cannot be reached"+clause+" ("+r.call()+")")
	case r.mutates():
		return failure.New(failure.Unknown, reasons.OutcomeUnknown, lost)
	}
	return failure.New(failure.Retry, reasons.ConnectionFailed, lost)
}

// answerFailure classes a 2xx whose body cannot be read: a mutation took effect, but its outcome is not known.
func answerFailure(r request) *failure.Error {
	detail := fmt.Sprintf("Fly gave an answer to %s that cannot be read", r.call())
	if r.mutates() {
		return failure.New(failure.Unknown, reasons.OutcomeUnknown, detail)
	}
	return failure.New(failure.Retry, reasons.Unexpected, detail)
}
