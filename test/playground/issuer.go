package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/systempromptio/tenant-credential-operator/test/issuer"
)

// The playground's customers: the owner of the tenants in sandbox, another, and a stranger that owns none. Their tokens' subjects are UUIDs.
const (
	ownerSubject    = "3f0c9a52-7b1e-4d6a-8f25-90b1c2d3e4f5"
	strangerSubject = "c1d2e3f4-a5b6-4789-9abc-def012345678"
	otherSubject    = "8d1f6b3a-2c4e-4a70-b9d5-6e7f8a9b0c1d"
	clientAudience  = "platform-api"
)

// customerToken is what the platform gives its customer at a login. It is good for as long as a playground may run.
func customerToken(i *issuer.Issuer, subject string) string {
	claims := i.Claims(clientAudience, subject)
	claims["exp"] = time.Now().Add(30 * 24 * time.Hour).Unix()
	return i.Sign(claims)
}

// authenticationConfiguration is the file by which the endpoint accepts the issuer's tokens: a customer is called by the token's subject.
func authenticationConfiguration(i *issuer.Issuer) string {
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
`, i.URL, clientAudience, strings.ReplaceAll(strings.TrimSpace(i.CA), "\n", "\n      "))
}
