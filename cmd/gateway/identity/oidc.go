package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Issuers are the OpenID Connect issuers whose tokens are accepted, by URL.
type Issuers map[string]*trustedIssuer

// trustedIssuer is one of them.
type trustedIssuer struct {
	tokens oidc.AuthenticatorTokenWithHealthCheck
	// silent is true while the issuer's last answer, for its discovery document or its keys, was none.
	silent *atomic.Bool
}

// LoadIssuers reads an AuthenticationConfiguration (apiserver.config.k8s.io), as the API server itself does. The issuers are asked from then on, until
// ctx ends; one that does not answer is no error: its tokens cannot be checked until it does.
func LoadIssuers(ctx context.Context, file string) (Issuers, error) {
	if file == "" {
		return nil, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the authentication configuration: %w", err)
	}
	configuration, err := decode(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	compiler := authenticationcel.NewDefaultCompiler()
	if err := validate(compiler, configuration); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	issuers := Issuers{}
	for _, jwt := range configuration.JWT {
		if issuers[jwt.Issuer.URL], err = newIssuer(ctx, compiler, jwt); err != nil {
			return nil, fmt.Errorf("%s: issuer %s: %w", file, jwt.Issuer.URL, err)
		}
	}
	return issuers, nil
}

func decode(content []byte) (*apiserver.AuthenticationConfiguration, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	object, err := runtime.Decode(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), content)
	if err != nil {
		return nil, err
	}
	configuration, is := object.(*apiserver.AuthenticationConfiguration)
	if !is {
		return nil, fmt.Errorf("it holds a %T, and an AuthenticationConfiguration is expected", object)
	}
	return configuration, nil
}

func validate(compiler authenticationcel.Compiler, configuration *apiserver.AuthenticationConfiguration) error {
	if configuration.Anonymous != nil {
		return errors.New("anonymous: the endpoint answers no anonymous caller: leave it out")
	}
	return validation.ValidateAuthenticationConfiguration(compiler, configuration, nil).ToAggregate()
}

func newIssuer(ctx context.Context, compiler authenticationcel.Compiler, jwt apiserver.JWTAuthenticator) (*trustedIssuer, error) {
	roots, err := authorities(jwt.Issuer.CertificateAuthority)
	if err != nil {
		return nil, err
	}
	i := &trustedIssuer{silent: &atomic.Bool{}}
	transport := utilnet.SetTransportDefaults(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}})
	i.tokens, err = oidc.New(ctx, oidc.Options{
		JWTAuthenticator:     jwt,
		Client:               &http.Client{Transport: listening{transport, i.silent}, Timeout: 10 * time.Second},
		Compiler:             compiler,
		SupportedSigningAlgs: oidc.AllValidSigningAlgorithms(), // each of them asymmetric
	})
	return i, err
}

func authorities(pem string) (*x509.CertPool, error) {
	if pem == "" {
		return nil, nil // the operating system's
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("certificateAuthority holds no certificate")
	}
	return pool, nil
}

// listening notes whether an issuer answers: the authenticator says of a key that could not be fetched the same as of a forged signature.
type listening struct {
	http.RoundTripper
	silent *atomic.Bool
}

func (l listening) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(request)
	l.silent.Store(err != nil || response.StatusCode != http.StatusOK)
	return response, err
}

// of is the issuer that a token claims to be from, nil for none of them. The claim is not verified: it says which issuer is asked.
func (issuers Issuers) of(token string) *trustedIssuer {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(issuers) == 0 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claimed struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claimed) != nil {
		return nil
	}
	return issuers[claimed.Issuer]
}

func (i *trustedIssuer) authenticate(ctx context.Context, token string) (Caller, error) {
	if err := i.tokens.HealthCheck(); err != nil { // its keys have never been fetched
		return Caller{}, ErrUnavailable
	}
	response, known, err := i.tokens.AuthenticateToken(ctx, token)
	switch {
	case err != nil && i.silent.Load() && strings.Contains(err.Error(), "failed to verify signature"):
		return Caller{}, ErrUnavailable
	case err != nil:
		ctrl.Log.WithName("identity").V(1).Info("an issuer's token was refused", "error", err.Error())
		return Caller{}, ErrRefused
	case !known, response.User.GetName() == "": // a claim that is null makes a user without a name
		return Caller{}, ErrRefused
	default:
		return Caller{Kind: Customer, User: response.User}, nil
	}
}
