package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/systempromptio/tenant-credential-operator/hack/pgserver"
)

// The playground's customers: the owner of the tenants in sandbox, another, and a stranger that owns none. Their tokens' subjects are UUIDs.
const (
	ownerSubject    = "3f0c9a52-7b1e-4d6a-8f25-90b1c2d3e4f5"
	strangerSubject = "c1d2e3f4-a5b6-4789-9abc-def012345678"
	otherSubject    = "8d1f6b3a-2c4e-4a70-b9d5-6e7f8a9b0c1d"
	clientAudience  = "platform-api"
)

// issuer is the platform's identity provider: OpenID Connect's discovery and keys, as far as the endpoint uses them.
type issuer struct {
	url    string
	signer jose.Signer
}

// startIssuer serves it with a certificate of the playground's authority.
func startIssuer(authority pgserver.Authority) (*issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	const id = "playground"
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, err
	}
	certificate, err := servingCertificate(authority)
	if err != nil {
		return nil, err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, err
	}
	i := &issuer{url: "https://" + listener.Addr().String(), signer: signer}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", answerJSON(map[string]any{
		"issuer": i.url, "jwks_uri": i.url + "/keys", "authorization_endpoint": i.url + "/authorize", "response_types_supported": []string{"id_token"},
		"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	}))
	mux.HandleFunc("GET /keys", answerJSON(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: id, Algorithm: string(jose.RS256), Use: "sig"}}}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // until this process ends
	return i, nil
}

// token is what the platform gives its customer at a login.
func (i *issuer) token(subject string) (string, error) {
	now := time.Now()
	return jwt.Signed(i.signer).Claims(jwt.Claims{Issuer: i.url, Subject: subject, Audience: jwt.Audience{clientAudience},
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(24 * time.Hour))}).Serialize()
}

// authenticationConfiguration is the file by which the endpoint accepts this issuer's tokens: a customer is called by the token's subject.
func (i *issuer) authenticationConfiguration(authority string) string {
	return fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: %s
    audiences: [%s]
    certificateAuthority: |
      %s
  claimMappings:
    username: {claim: sub, prefix: ""}
`, i.url, clientAudience, strings.ReplaceAll(strings.TrimSpace(authority), "\n", "\n      "))
}

func servingCertificate(authority pgserver.Authority) (tls.Certificate, error) {
	certificate, key, err := authority.Issue("127.0.0.1")
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair([]byte(certificate), []byte(key))
}

func answerJSON(content any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(content); err != nil {
			fmt.Println("the issuer's answer was not sent:", err)
		}
	}
}
