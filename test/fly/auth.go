package flyemulator

import (
	"net/http"
	"slices"
	"strings"
)

// Token says what a bearer of a token may touch.
type Token struct {
	// Organization is the slug of the only organization that the token is good for.
	Organization string `json:"organization"`
	// Apps limits the token to these apps; nil means the whole organization.
	Apps []string `json:"apps"`
	// NoReleases keeps the token from making releases, as one may be that is narrowed down to the Machines API.
	NoReleases bool `json:"no_releases"`
}

func (t Token) allows(a *app) bool {
	return t.Organization == a.organization && (t.Apps == nil || slices.Contains(t.Apps, a.name))
}

// PutToken makes a token valid. A comma list makes each of its parts valid.
func (e *Emulator) PutToken(token string, t Token) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, part := range tokenParts(token) {
		e.tokens[part] = t
	}
}

// DeleteToken revokes a token.
func (e *Emulator) DeleteToken(token string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, part := range tokenParts(token) {
		delete(e.tokens, part)
	}
}

// tokenParts splits "FlyV1 fm2_a,fm2_b" or "Bearer x" into the tokens it carries.
func tokenParts(s string) []string {
	s = strings.TrimSpace(s)
	for _, scheme := range []string{"Bearer ", "FlyV1 "} {
		if len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			s = s[len(scheme):]
		}
	}
	var parts []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// grants returns what the request's tokens allow; none means that the caller is not authenticated. The caller holds mu.
func (e *Emulator) grants(r *http.Request) []Token {
	var found []Token
	for _, part := range tokenParts(r.Header.Get("Authorization")) {
		if t, ok := e.tokens[part]; ok {
			found = append(found, t)
		}
	}
	return found
}

// mayRelease says whether the request's tokens may make releases. The caller holds mu.
func (e *Emulator) mayRelease(r *http.Request) bool {
	return slices.ContainsFunc(e.grants(r), func(t Token) bool { return !t.NoReleases })
}

// authorize finds the app that a request names. The order is Fly's: 401 before 404 before 403. The caller holds mu.
func (e *Emulator) authorize(r *http.Request, name string) (*app, error) {
	grants := e.grants(r)
	if len(grants) == 0 {
		return nil, errUnauthenticated
	}
	a, ok := e.apps[name]
	if !ok {
		return nil, fail(http.StatusNotFound, "app not found")
	}
	if !slices.ContainsFunc(grants, func(t Token) bool { return t.allows(a) }) {
		return nil, fail(http.StatusForbidden, "unauthorized")
	}
	return a, nil
}
