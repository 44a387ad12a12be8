package checker

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
)

// Satisfies says whether a password is the one that a verifier was made from. A verifier is PostgreSQL's
// SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> (PostgreSQL documentation, pg_authid), its keys are those of RFC 5802.
func Satisfies(verifier, password string) bool {
	parts := strings.Split(verifier, "$")
	if len(parts) != 3 || parts[0] != "SCRAM-SHA-256" {
		return false
	}
	count, salt64, _ := strings.Cut(parts[1], ":")
	stored64, server64, _ := strings.Cut(parts[2], ":")
	iterations, err := strconv.Atoi(count)
	if err != nil || iterations < 1 {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if err != nil {
		return false
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return false
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	return base64.StdEncoding.EncodeToString(stored[:]) == stored64 &&
		base64.StdEncoding.EncodeToString(keyed(salted, "Server Key")) == server64
}

func keyed(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// digest is what the ledger keeps of a verifier: the hexadecimal SHA-256; "" of nothing.
func digest(verifier string) string {
	if verifier == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(verifier))
	return hex.EncodeToString(sum[:])
}
