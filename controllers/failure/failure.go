// Package failure says what a failed step means for the rotation that it belongs to.
//
// An adapter (postgres, fly) classes an error where it enters the program and never hands the driver's own error on:
// a driver's text may hold a statement or a request body, and with it a password.
package failure

import (
	"errors"
	"strings"
	"unicode"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
)

// Class says what may be done next.
type Class string

const (
	// Wait: something outside is missing or busy and usually appears without an edit (a tenant's row, an app, a lease). Nothing changed.
	Wait Class = "Wait"
	// Retry: the call failed and changed nothing (a refused connection, 429, a deadlock). Try again with backoff.
	Retry Class = "Retry"
	// Stall: the call cannot succeed until a user edits something in Kubernetes. Nothing changed.
	Stall Class = "Stall"
	// Unknown: the call may or may not have taken effect (a lost answer). Read again before you believe anything.
	Unknown Class = "Unknown"
)

// Reason names the cause: one of package reasons.
type Reason string

// Unreachable says that the other side has not been asked anything: no connection was made, or it broke.
func (r Reason) Unreachable() bool {
	switch r {
	case reasons.ConnectionFailed, reasons.ConnectionRefused, reasons.HostNotFound, reasons.CertificateUntrusted, reasons.CertificateMismatch, reasons.CertificateInvalid, reasons.MethodNotAccepted:
		return true
	}
	return false
}

// Error is a classed failure. Detail is one short sentence of fact that is safe to show to every reader of the object's
// status: it never holds a statement, a request or response body, a URL with credentials, or a secret.
type Error struct {
	Class  Class
	Reason Reason
	Detail string
}

// New returns a classed failure.
func New(class Class, reason Reason, detail string) *Error {
	return &Error{Class: class, Reason: reason, Detail: detail}
}

func (e *Error) Error() string { return string(e.Reason) + ": " + e.Detail }

// Printable is what of a stranger's text may stand in a detail: at most so many bytes of it, and of those no control character, none that changes the
// direction of text, and no broken one.
func Printable(text string, longest int) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, text[:min(len(text), longest)])
}

// As returns the classed failure in err's chain, or nil where there is none.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// ClassOf returns the class of err; an unclassed error is Retry.
func ClassOf(err error) Class {
	if e := As(err); e != nil {
		return e.Class
	}
	return Retry
}

// ReasonOf returns the reason of err; an unclassed error is Unexpected.
func ReasonOf(err error) Reason {
	if e := As(err); e != nil {
		return e.Reason
	}
	return reasons.Unexpected
}
