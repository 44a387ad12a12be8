// Package failure says what a failed step means for the rotation that it belongs to.
//
// An adapter (postgres, fly) classes an error where it enters the program and never hands the driver's own error on:
// a driver's text may hold a statement or a request body, and with it a password.
package failure

import (
	"errors"
	"strings"
	"unicode"
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

// Reason names the cause. The values that a user meets are condition reasons and are documented in api/v1alpha1.
type Reason string

// The reasons that the adapters can report.
const (
	ConnectionFailed     Reason = "ConnectionFailed"     // the server cannot be reached, or is shutting down
	ConnectionRefused    Reason = "ConnectionRefused"    // nothing listens at the address
	HostNotFound         Reason = "HostNotFound"         // the host's name does not resolve
	CertificateUntrusted Reason = "CertificateUntrusted" // the server's certificate is from an authority that is not trusted
	CertificateMismatch  Reason = "CertificateMismatch"  // the server's certificate is for another host
	CertificateInvalid   Reason = "CertificateInvalid"   // the server's certificate has expired, or ca.crt holds none
	MethodNotAccepted    Reason = "MethodNotAccepted"    // the server asks for another authentication than SCRAM-SHA-256
	AuthenticationFailed Reason = "AuthenticationFailed" // the operator's own login or token was refused
	PermissionDenied     Reason = "PermissionDenied"     // it was accepted, but may not do this
	TenantNotFound       Reason = "TenantNotFound"       // no row in the management table
	RoleNotFound         Reason = "RoleNotFound"         // no such login role
	RoleNotAllowed       Reason = "RoleNotAllowed"       // the role guard refuses the role
	NameConflict         Reason = "NameConflict"         // another tenant has claimed the same role or app
	OwnershipConflict    Reason = "OwnershipConflict"    // another object or cluster holds the tenant
	VerificationFailed   Reason = "VerificationFailed"   // the tenant's own login was refused
	LedgerOutdated       Reason = "LedgerOutdated"       // the ledger is missing, older than this program, or installed for other names
	Busy                 Reason = "Busy"                 // a lock, a serialization failure or a deadlock
	Superseded           Reason = "Superseded"           // an earlier read is no longer true: decide again
	SecretNotOwned       Reason = "SecretNotOwned"       // a Secret of that name is there, and is not the operator's
	FlyAppNotFound       Reason = "FlyAppNotFound"
	RateLimited          Reason = "RateLimited"
	LeaseHeld            Reason = "LeaseHeld"
	HostUnreachable      Reason = "HostUnreachable"
	MachineUnhealthy     Reason = "MachineUnhealthy"
	SecretHidden         Reason = "SecretHidden" // a Machine's own config keeps the app's secret from its processes
	OutcomeUnknown       Reason = "OutcomeUnknown"
	Rejected             Reason = "Rejected"   // the other side understood the request and refused it
	Unexpected           Reason = "Unexpected" // an answer that this program does not know
)

// Unreachable says that the other side has not been asked anything: no connection was made, or it broke.
func (r Reason) Unreachable() bool {
	switch r {
	case ConnectionFailed, ConnectionRefused, HostNotFound, CertificateUntrusted, CertificateMismatch, CertificateInvalid, MethodNotAccepted:
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
	return Unexpected
}
