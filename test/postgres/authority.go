package pgserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Authority issues certificates, as a company's own authority does. Its certificates are good for a day.
type Authority struct {
	// Certificate is the authority's own (PEM).
	Certificate string
	parent      *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one.
func NewAuthority() (Authority, error) {
	parent := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Authority{}, fmt.Errorf("make the authority's key: %w", err)
	}
	a := Authority{parent: parent, key: key}
	a.Certificate, err = a.sign(parent, &key.PublicKey)
	return a, err
}

// Issue makes a certificate for a name, or an IP address, and its key (PEM).
func (a Authority) Issue(name string) (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: a.parent.NotAfter}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	if certificate, err = a.sign(template, &private.PublicKey); err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", fmt.Errorf("encode a key: %w", err)
	}
	return certificate, encode("PRIVATE KEY", der), nil
}

func (a Authority) sign(template *x509.Certificate, key *ecdsa.PublicKey) (string, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.parent, key, a.key)
	if err != nil {
		return "", fmt.Errorf("sign a certificate: %w", err)
	}
	return encode("CERTIFICATE", der), nil
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
