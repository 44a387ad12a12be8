package endpoint

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

// ask is what one call asks for.
type ask struct {
	caller      identity.Caller
	reason      string
	compromised bool
	// completed: the answer is wanted when every Machine has moved.
	completed bool
	// ifMatch is the revision that is to be replaced; nil = whichever there is.
	ifMatch *int64
	// id names the call in the object. Where the client gave no key it is random.
	id string
	// key is the part of id that the client's key makes; "" = it gave none.
	key string
	// arrived is when the call did, and known the revision that this process knew of then. A rotation that was committed later is one that the call asked
	// for, too.
	arrived time.Time
	known   int64
}

// newAsk reads the call's parameters, which have been checked against openapi.yaml.
func newAsk(caller identity.Caller, request openapi.RotateCredentialsRequestObject) (ask, error) {
	a := ask{caller: caller, id: rand.Text()}
	if body := request.Body; body != nil {
		a.reason = value(body.Reason)
		a.compromised = value(body.Compromised)
		a.completed = value(body.Until) == openapi.Completed
	}
	match := strings.TrimSpace(value(request.Params.IfMatch))
	var err error
	if a.ifMatch, err = parseMatch(match); err != nil {
		return ask{}, err
	}
	if key := value(request.Params.IdempotencyKey); key != "" {
		a.key = digest(32, string(caller.Kind), caller.Name(), key)
		a.id = a.key + "." + digest(16, a.reason, strconv.FormatBool(a.compromised), strconv.FormatBool(a.completed), match)
	}
	return a, nil
}

func value[T any](pointer *T) T {
	if pointer == nil {
		var none T
		return none
	}
	return *pointer
}

// digest is so many hexadecimal digits that stand for the parts.
func digest(characters int, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])[:characters]
}

// parseMatch reads If-Match: a revision as ETag has it, or * for any.
func parseMatch(match string) (*int64, error) {
	if match == "" || match == "*" {
		return nil, nil
	}
	digits := strings.TrimSuffix(strings.TrimPrefix(match, `"`), `"`)
	revision, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || revision < 0 || match != `"`+strconv.FormatInt(revision, 10)+`"` {
		return nil, problem.New(http.StatusBadRequest, openapi.InvalidRequest, `The header If-Match is not a revision in quotation marks, such as "4". Nothing was done.`)
	}
	return &revision, nil
}

const (
	usualWait   = 20 * time.Second
	longestWait = 25 * time.Second
)

// parsePrefer reads Prefer (RFC 7240): how long the call waits, and the honoured part of the header. It leaves unknown preferences out, as the RFC says.
func parsePrefer(prefer string) (wait time.Duration, applied string) {
	wait = usualWait
	waits := false
	for preference := range strings.SplitSeq(prefer, ",") {
		preference, _, _ = strings.Cut(preference, ";")
		name, text, _ := strings.Cut(preference, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "respond-async":
			if !waits { // beside a wait it says what happens after it, which happens anyway
				wait, applied = 0, "respond-async"
			}
		case "wait":
			seconds, err := strconv.Atoi(strings.Trim(strings.TrimSpace(text), `"`))
			if err != nil || seconds < 0 || waits {
				continue
			}
			waits = true
			wait = min(time.Duration(min(seconds, 1000))*time.Second, longestWait)
			applied = "wait=" + strconv.Itoa(int(wait/time.Second))
		}
	}
	return wait, applied
}
