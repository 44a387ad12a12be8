package network

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// The kinds that another computer can show are tried at real servers, in the adapters' tests. Here is what a stranger could make of them.
func TestExplain(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 5432}
	names := &x509.Certificate{DNSNames: make([]string, 400)}
	for i := range names.DNSNames {
		names.DNSNames[i] = fmt.Sprintf("a\x1b[31m\u202e%d.example.com", i)
	}
	past := &x509.Certificate{NotBefore: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2025, 1, 2, 0, 0, 0, 0, time.UTC)}
	for name, test := range map[string]struct {
		err    error
		reason failure.Reason
		clause string
	}{
		"no route":             {&net.OpError{Addr: at, Err: syscall.EHOSTUNREACH}, reasons.ConnectionFailed, "10.0.0.1:5432: no route to host"},
		"refused":              {&net.OpError{Addr: at, Err: syscall.ECONNREFUSED}, reasons.ConnectionRefused, "10.0.0.1:5432 refuses the connection"},
		"the resolver is down": {&net.DNSError{Name: "db", Err: "server misbehaving", IsTemporary: true}, reasons.ConnectionFailed, ""},
		"no such name":         {&net.DNSError{Name: "db", IsNotFound: true}, reasons.HostNotFound, "the name db does not resolve"},
		"expired": {x509.CertificateInvalidError{Cert: past, Reason: x509.Expired, Detail: "current time 2026-11-27T12:00:00Z is after 2025-01-02T00:00:00Z"}, reasons.CertificateInvalid,
			"its certificate cannot be used (x509: certificate has expired or is not yet valid: valid from 2025-01-01T00:00:00Z to 2025-01-02T00:00:00Z)"},
		"not for a server": {x509.CertificateInvalidError{Cert: past, Reason: x509.IncompatibleUsage}, reasons.CertificateInvalid,
			"its certificate cannot be used (x509: certificate specifies an incompatible key usage)"},
		"something else":           {errors.New("password=hunter2"), reasons.ConnectionFailed, ""},
		"nothing":                  {nil, reasons.ConnectionFailed, ""},
		"one host among untrusted": {errors.Join(errors.New("x"), x509.UnknownAuthorityError{}), reasons.CertificateUntrusted, "its certificate is not from an authority that is trusted (x509: certificate signed by unknown authority)"},
	} {
		t.Run(name, func(t *testing.T) {
			reason, clause := Explain(test.err)
			require.Equal(t, test.reason, reason)
			require.Equal(t, test.clause, clause)
		})
	}
	_, clause := Explain(x509.HostnameError{Certificate: names, Host: "db"})
	require.Less(t, len(clause), 400)
	require.False(t, strings.ContainsAny(clause, "\x1b\u202e"), clause)
}
