package serving

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/user"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
)

// failing is an endpoint whose calls fail: a POST panics, and a GET returns an error that it does not know.
type failing struct{ openapi.StrictServerInterface }

func (failing) Arrived(ctx context.Context, _ string) context.Context { return ctx }

func (failing) RotateCredentials(context.Context, openapi.RotateCredentialsRequestObject) (openapi.RotateCredentialsResponseObject, error) {
	panic("a mistake")
}

func (failing) ListRotations(context.Context, openapi.ListRotationsRequestObject) (openapi.ListRotationsResponseObject, error) {
	return nil, errors.New("an inner detail")
}

// anyone has every token accepted.
type anyone struct{}

func (anyone) Authenticate(context.Context, string) (identity.Caller, error) {
	return identity.Caller{Kind: identity.Cluster, User: &user.DefaultInfo{Name: "alice\n" + strings.Repeat("x", 300)}}, nil
}

func TestACallThatFails(t *testing.T) {
	logged := &bytes.Buffer{}
	ctrl.SetLogger(zap.New(zap.WriteTo(logged)))
	handler, err := NewHandler(Options{Endpoint: failing{}, Authenticator: anyone{}, FailedLogins: NewFailedLogins(1, 1), MaxInFlight: 1,
		WithCaller: func(ctx context.Context, _ identity.Caller) context.Context { return ctx }})
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	defer server.Close()
	for method, path := range map[string]string{http.MethodPost: "rotate-credentials", http.MethodGet: "rotations"} {
		for range 2 { // its place is free again
			request, err := http.NewRequest(method, server.URL+"/api/v1/tenants/7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01/"+path, nil)
			require.NoError(t, err)
			request.Header.Set("Authorization", "Bearer secret-token")
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			var p openapi.Problem
			require.NoError(t, json.NewDecoder(response.Body).Decode(&p))
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusInternalServerError, response.StatusCode)
			require.Equal(t, openapi.Internal, p.Error.Code)
			require.NotContains(t, p.Detail, "inner")
			require.NotContains(t, p.Detail, "mistake")
			require.Contains(t, logged.String(), response.Header.Get("X-Request-Id"))
		}
	}
	require.Contains(t, logged.String(), "a mistake")
	require.Contains(t, logged.String(), "an inner detail")
	require.NotContains(t, logged.String(), "secret-token")
	require.NotContains(t, logged.String(), strings.Repeat("x", 254), "a name is bounded")
}

func TestFailedLoginsAreCountedByAddress(t *testing.T) {
	f := NewFailedLogins(1, 2)
	a, b := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("203.0.113.8")
	f.failed(a)
	require.Zero(t, f.blocked(a, "t"))
	f.failed(a)
	wait := f.blocked(a, "t")
	require.Greater(t, wait, 500*time.Millisecond)
	require.LessOrEqual(t, wait, time.Second)
	require.Zero(t, f.blocked(b, "t"))
	f.succeeded("known")
	require.Zero(t, f.blocked(a, "known"))

	f.failed(netip.MustParseAddr("2001:db8::1"))
	f.failed(netip.MustParseAddr("2001:db8::2"))
	require.NotZero(t, f.blocked(netip.MustParseAddr("2001:db8::3"), "t"), "a network of IPv6 is one")
	require.Zero(t, f.blocked(netip.MustParseAddr("2001:db8:0:1::3"), "t"))
}

func TestAFloodOfAddressesIsBounded(t *testing.T) {
	f := NewFailedLogins(1, 1)
	for i := range mostAddresses + 1000 {
		f.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		f.succeeded(fmt.Sprint(i))
	}
	require.LessOrEqual(t, len(f.limits.Keys()), mostAddresses)
	require.LessOrEqual(t, len(f.tokens.Keys()), mostTokens)
}
