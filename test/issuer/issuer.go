// Package issuer is an OpenID Connect issuer for tests: discovery, keys, and tokens of every kind, the bad ones among them. It knows nothing of
// their recipients.
package issuer

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// Issuer is one that runs, over TLS.
type Issuer struct {
	// URL is its name, and where its discovery document is.
	URL string
	// CA is the authority of its certificate, as PEM.
	CA string

	server *httptest.Server

	mu      sync.Mutex
	keys    map[string]*rsa.PrivateKey
	current string
	down    bool
	fetched int
}

// New starts one on a free port of the loopback interface.
func New() *Issuer {
	i := &Issuer{keys: map[string]*rsa.PrivateKey{}}
	i.Rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /keys", i.publish)
	i.server = httptest.NewTLSServer(mux)
	i.URL = i.server.URL
	i.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw}))
	return i
}

// Close ends it.
func (i *Issuer) Close() { i.server.Close() }

// Down has it answer every request with an error; Up ends that.
func (i *Issuer) Down() { i.answering(false) }

// Up ends Down.
func (i *Issuer) Up() { i.answering(true) }

func (i *Issuer) answering(answering bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = !answering
}

// Rotate makes a new key, signs with it from now on, and publishes it alone. It returns the key's name.
func (i *Issuer) Rotate() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system's random numbers never fail
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current = fmt.Sprintf("key-%d", time.Now().UnixNano())
	i.keys = map[string]*rsa.PrivateKey{i.current: key}
	return i.current
}

// Fetched is how often the keys were fetched.
func (i *Issuer) Fetched() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetched
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	i.answer(w, map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (i *Issuer) publish(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	i.fetched++
	var keys []map[string]string
	for name, key := range i.keys {
		keys = append(keys, map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": name,
			"n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())})
	}
	i.mu.Unlock()
	i.answer(w, map[string]any{"keys": keys})
}

func (i *Issuer) answer(w http.ResponseWriter, content any) {
	i.mu.Lock()
	down := i.down
	i.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(content) // the client has gone
}

// Claims of a token that is good for an hour.
func (i *Issuer) Claims(audience, subject string) map[string]any {
	now := time.Now()
	return map[string]any{"iss": i.URL, "aud": audience, "sub": subject, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix()}
}

// Token is signed by the present key.
func (i *Issuer) Token(audience, subject string) string { return i.Sign(i.Claims(audience, subject)) }

// Sign signs claims by the present key.
func (i *Issuer) Sign(claims map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return signRSA(i.keys[i.current], map[string]string{"alg": "RS256", "kid": i.current}, claims)
}

// SignAs signs claims by the present key, under the name of another one.
func (i *Issuer) SignAs(name string, claims map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return signRSA(i.keys[i.current], map[string]string{"alg": "RS256", "kid": name}, claims)
}

// Forge signs claims by a key of its own, under the present key's name.
func (i *Issuer) Forge(claims map[string]any) string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // as in Rotate
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return signRSA(key, map[string]string{"alg": "RS256", "kid": i.current}, claims)
}

// Unsigned is a token of the algorithm none.
func (i *Issuer) Unsigned(claims map[string]any) string {
	return unsigned(map[string]string{"alg": "none"}, claims) + "."
}

// Confused is signed by HS256 with the public key as the secret, which a careless verifier takes for the issuer's.
func (i *Issuer) Confused(claims map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	public := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&i.keys[i.current].PublicKey)})
	content := unsigned(map[string]string{"alg": "HS256", "kid": i.current}, claims)
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(content))
	return content + "." + encode(mac.Sum(nil))
}

// With is claims with others in the place of some.
func With(claims map[string]any, others map[string]any) map[string]any {
	changed := maps.Clone(claims)
	maps.Copy(changed, others)
	return changed
}

func signRSA(key *rsa.PrivateKey, header map[string]string, claims map[string]any) string {
	content := unsigned(header, claims)
	digest := sha256.Sum256([]byte(content))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err) // as in Rotate
	}
	return content + "." + encode(signature)
}

func unsigned(header map[string]string, claims map[string]any) string {
	return encode(marshal(header)) + "." + encode(marshal(claims))
}

func marshal(content any) []byte {
	text, err := json.Marshal(content)
	if err != nil {
		panic(err) // claims of a test that are no JSON
	}
	return text
}

func encode(content []byte) string { return base64.RawURLEncoding.EncodeToString(content) }
