package fly

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Answers of Fly are bounded before they are kept. A list of Machines is read as a stream, so that one call holds no more than one Machine of
// it at full length.
const (
	// maxAnswer bounds every answer but a list of Machines.
	maxAnswer = 1 << 20
	// maxMachine bounds one Machine with its config, of which Fly's are some 20 KB.
	maxMachine = 1 << 20
	// maxMachines bounds the Machines of one app.
	maxMachines = 2000
	// maxList bounds a list of Machines: maxMachines of 32 KiB.
	maxList = 64 << 20
)

// boundError says why an answer is not read on, and what to do about it.
type boundError struct{ fact, remedy string }

func (e *boundError) Error() string { return e.fact }

var (
	errLongAnswer = &boundError{
		"Fly sent an answer of more than 1 MiB", "check that the API URL is the Machines API of Fly"}
	errLongMachine = &boundError{
		"Fly sent a Machine of more than 1 MiB", "keep files out of its config: in the image, on a volume, or in a secret"}
	errLongList = &boundError{
		"Fly sent a list of Machines of more than 64 MiB", "make their configs smaller, or split the app"}
	errEncoded = &boundError{
		"Fly sent a compressed answer, which was not asked for", "check what stands between the operator and Fly"}
	errManyMachines = &boundError{
		fmt.Sprintf("the app has more than %d Machines", maxMachines), "split the app"}
)

// answer is the body of an answer while it is read. Reading ends with an error at the bound.
type answer struct {
	body io.Reader
	// read is how much has been read; whole, and bound to it, is how much may be.
	read, whole int64
	tooLong     error
	// part is where the present part of the answer has to have ended; 0 = it has no parts.
	part int64
	// failed is the error with which reading has ended: the answer was cut off, or is too long.
	failed error
}

func (a *answer) Read(p []byte) (int, error) {
	if a.failed != nil {
		return 0, a.failed
	}
	most, tooLong := a.whole, a.tooLong
	if a.part > 0 && a.part < most {
		most, tooLong = a.part, errLongMachine
	}
	if left := most - a.read; int64(len(p)) > left {
		p = p[:left+1] // the one that is too many
	}
	n, err := a.body.Read(p)
	if a.read += int64(n); a.read > most {
		err = tooLong
	}
	if err != nil && err != io.EOF { //nolint:errorlint // a reader's end is io.EOF itself
		a.failed = err
	}
	return n, err
}

// next begins a part at an offset of the answer.
func (a *answer) next(offset int64) { a.part = offset + maxMachine }

// decode reads the whole answer as one JSON value.
func decode(a *answer, out any) error {
	d := json.NewDecoder(a)
	if err := d.Decode(out); err != nil {
		return err
	}
	return ended(d)
}

// encoded says whether an answer is compressed. None was asked for, and 64 KB can unpack to gigabytes.
func encoded(response *http.Response) bool {
	for _, encoding := range response.Header.Values("Content-Encoding") {
		if encoding != "" && encoding != "identity" {
			return true
		}
	}
	return response.Uncompressed
}

// readFailure classes an answer that came and could not be read.
func readFailure(r request, a *answer, err error) *failure.Error {
	if a.failed != nil {
		err = a.failed
	}
	bound, isBound := err.(*boundError) //nolint:errorlint // it comes from this package, and is never wrapped
	switch {
	case isBound:
		return boundFailure(r, bound)
	case a.failed != nil:
		return transportFailure(r, true, nil)
	}
	return answerFailure(r)
}

// boundFailure is answerFailure where it is known what to do.
func boundFailure(r request, bound *boundError) *failure.Error {
	detail := fmt.Sprintf("%s (%s). To fix: %s", bound.fact, r.call(), bound.remedy)
	if r.mutates() {
		return failure.New(failure.Unknown, reasons.OutcomeUnknown, detail)
	}
	return failure.New(failure.Retry, reasons.Unexpected, detail)
}
