// Package network explains why a server cannot be reached, and reads the certificates that a server's may be from. Both adapters use it.
package network

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Explain says why no connection was made: a reason, and a clause to follow "… cannot be reached: ", "" where nothing is known. It repeats the
// texts of net and crypto/x509 alone, which hold names, addresses and what the server's certificate says, and no secret.
func Explain(err error) (reason failure.Reason, clause string) {
	var name *net.DNSError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return reasons.CertificateUntrusted, quoted("its certificate is not from an authority that is trusted", authority)
	case errors.As(err, &host):
		return reasons.CertificateMismatch, quoted("its certificate is for another host", host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return reasons.CertificateInvalid, validity(invalid.Cert)
	case errors.As(err, &invalid):
		return reasons.CertificateInvalid, quoted("its certificate cannot be used", invalid)
	case errors.As(err, &name) && name.IsNotFound:
		return reasons.HostNotFound, fmt.Sprintf("the name %s does not resolve", bounded(name.Name))
	case errors.Is(err, syscall.ECONNREFUSED):
		return reasons.ConnectionRefused, address(err) + " refuses the connection"
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return reasons.ConnectionFailed, address(err) + ": " + number.Error()
	}
	return reasons.ConnectionFailed, ""
}

// validity stands for x509's own text, which has the present time in it: a status would be another one at each look.
func validity(certificate *x509.Certificate) string {
	return fmt.Sprintf("its certificate cannot be used (x509: certificate has expired or is not yet valid: valid from %s to %s)",
		certificate.NotBefore.UTC().Format(time.RFC3339), certificate.NotAfter.UTC().Format(time.RFC3339))
}

func quoted(fact string, err error) string { return fact + " (" + bounded(err.Error()) + ")" }

// address is where a connection was to go.
func address(err error) string {
	var failed *net.OpError
	if errors.As(err, &failed) && failed.Addr != nil {
		return bounded(failed.Addr.String())
	}
	return "the address"
}

// bounded is what of a text goes into a status: a certificate can hold any names, and as many as its author likes.
func bounded(text string) string {
	const longest = 300 // bytes
	shown := failure.Printable(text, longest)
	if len(text) > longest {
		shown += "…"
	}
	return shown
}

// Roots reads certificates (PEM). Stall/CertificateInvalid says that there is none, or that one cannot be read; nil in, nil out: the system's.
func Roots(certificates []byte) (*x509.CertPool, error) {
	if certificates == nil {
		return nil, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certificates) {
		return nil, failure.New(failure.Stall, reasons.CertificateInvalid, "ca.crt has no certificate (PEM, -----BEGIN CERTIFICATE-----) that can be read.")
	}
	return roots, nil
}
