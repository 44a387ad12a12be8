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

// verdict is what an HTTP status means when the request changed nothing.
type verdict struct {
	class  failure.Class
	reason failure.Reason
	fact   string
}

// verdicts holds the statuses with a meaning of their own. Fly's texts for them are in the Machines API specification; the
// program relies on the status alone.
var verdicts = map[int]verdict{
	http.StatusUnauthorized:        {failure.Retry, reasons.AuthenticationFailed, "Fly rejected the token"},
	http.StatusForbidden:           {failure.Retry, reasons.PermissionDenied, "the Fly token may not do this, or the app is in another organization"},
	http.StatusNotFound:            {failure.Wait, reasons.FlyAppNotFound, "Fly has no such app"},
	http.StatusRequestTimeout:      {failure.Retry, reasons.ConnectionFailed, "Fly gave no answer in time"},
	http.StatusConflict:            {failure.Wait, reasons.Busy, "something else is changing it at Fly"},
	http.StatusPreconditionFailed:  {failure.Wait, reasons.Busy, "Fly can not do this in the present state"},
	http.StatusTooManyRequests:     {failure.Retry, reasons.RateLimited, "Fly asks to come back later"},
	http.StatusBadRequest:          {failure.Retry, reasons.Rejected, "Fly refused the request"},
	http.StatusUnprocessableEntity: {failure.Retry, reasons.Rejected, "Fly refused the request"},
}

// statusFailure classes an answer that is not 2xx. After 408 or 5xx on a mutation it is not known whether it took effect.
func statusFailure(r request, status int) *failure.Error {
	where := fmt.Sprintf(" (HTTP %d, %s of %s)", status, r.action, r.id)
	if r.mutates() && (status == http.StatusRequestTimeout || status >= 500) {
		return failure.New(failure.Unknown, reasons.OutcomeUnknown, "Fly gave no definite answer"+where)
	}
	if status == http.StatusNotFound && r.ofMachine {
		return failure.New(failure.Wait, reasons.Superseded, "the Machine is gone"+where)
	}
	if v, ok := verdicts[status]; ok {
		return failure.New(v.class, v.reason, v.fact+where)
	}
	switch {
	case status >= 500:
		return failure.New(failure.Retry, reasons.ConnectionFailed, "Fly is not well"+where)
	case status >= 400:
		return failure.New(failure.Retry, reasons.Rejected, "Fly refused the request"+where)
	}
	return failure.New(failure.Retry, reasons.Unexpected, "Fly gave an answer that this program does not know"+where)
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
	where := fmt.Sprintf(" (%s of %s)", r.action, r.id)
	switch {
	case !sent:
		reason, clause := network.Explain(err)
		if clause != "" {
			clause = ": " + clause
		}
		return failure.New(failure.Retry, reason, "Fly cannot be reached"+clause+where)
	case r.mutates():
		return failure.New(failure.Unknown, reasons.OutcomeUnknown, "the answer of Fly was lost"+where)
	}
	return failure.New(failure.Retry, reasons.ConnectionFailed, "the answer of Fly was lost"+where)
}

// answerFailure classes a 2xx whose body cannot be read: a mutation took effect, but its outcome is not known.
func answerFailure(r request) *failure.Error {
	detail := fmt.Sprintf("Fly gave an answer that can not be read (%s of %s)", r.action, r.id)
	if r.mutates() {
		return failure.New(failure.Unknown, reasons.OutcomeUnknown, detail)
	}
	return failure.New(failure.Retry, reasons.Unexpected, detail)
}
