package fly

import (
	"encoding/base64"
	"strings"

	"github.com/superfly/fly-go/tokens"
)

// tokenProblem says what is wrong with a token's shape, or "". It never repeats any part of the token.
//
// Fly answers a token that was cut off while being pasted with the same 401 as a revoked one, so the cut is looked for here.
func tokenProblem(token string) string {
	parsed := tokens.Parse(strings.TrimSpace(token))
	macaroons, others := parsed.GetMacaroonTokens(), parsed.GetUserTokens()
	for _, part := range append(macaroons, others...) {
		if part == "" && len(macaroons)+len(others) > 1 {
			return "has an empty part between or after its commas; it may have been cut off"
		}
		if part == "" || strings.EqualFold(part, "FlyV1") || strings.EqualFold(part, "Bearer") {
			return "is empty"
		}
		if strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "contains white space or characters that no token has"
		}
	}
	for _, macaroon := range macaroons {
		_, body, _ := strings.Cut(macaroon, "_")
		if !isBase64(body) {
			return "is cut off or damaged: a part that begins like a macaroon is not base64"
		}
	}
	return ""
}

func isBase64(text string) bool {
	if text == "" {
		return false
	}
	if _, err := base64.StdEncoding.DecodeString(text); err == nil {
		return true
	}
	_, err := base64.URLEncoding.DecodeString(text)
	return err == nil
}
