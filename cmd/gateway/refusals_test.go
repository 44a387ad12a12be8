package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
)

func TestAuthentication(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{ignore: true})
	for name, test := range map[string]struct{ authorization, challenge string }{
		"no token":                      {"", `Bearer realm="tenant-credential-gateway"`},
		"another scheme":                {"Basic YTpi", `Bearer realm="tenant-credential-gateway"`},
		"an empty token":                {"Bearer ", `Bearer realm="tenant-credential-gateway"`},
		"two tokens":                    {"Bearer a b", `Bearer realm="tenant-credential-gateway"`},
		"a token of no kind":            {"Bearer " + secrets.add("not.a.token-of-any-kind"), `Bearer realm="tenant-credential-gateway", error="invalid_token"`},
		"a token for the API server":    {"Bearer " + accountToken(t, "tenants", "staff"), `Bearer realm="tenant-credential-gateway", error="invalid_token"`},
		"a token for another service":   {"Bearer " + accountToken(t, "tenants", "staff", "another"), `Bearer realm="tenant-credential-gateway", error="invalid_token"`},
		"the administrator's signature": {"Bearer " + changedSignature(staff(t)), `Bearer realm="tenant-credential-gateway", error="invalid_token"`},
	} {
		t.Run(name, func(t *testing.T) {
			var header []string
			if test.authorization != "" {
				header = []string{"Authorization", test.authorization}
			}
			a := g.call(http.MethodPost, x.path("rotate-credentials"), "", "", header...)
			requireProblem(t, a, http.StatusUnauthorized, openapi.Unauthenticated)
			require.Equal(t, test.challenge, a.header.Get("WWW-Authenticate"))
		})
	}
	require.Nil(t, x.object().Spec.RotationRequest)
	require.Equal(t, http.StatusAccepted, g.call(http.MethodPost, x.path("rotate-credentials"), "", "", "Authorization", "bEARER "+staff(t), "Prefer", "respond-async").status)
}

func changedSignature(token string) string {
	return secrets.add(token[:len(token)-6] + strings.Map(func(r rune) rune {
		if r == 'A' {
			return 'B'
		}
		return 'A'
	}, token[len(token)-6:]))
}

func TestRights(t *testing.T) {
	g := newGateway(t, nil)
	mine, others := newTenant(t, behaviour{}), newTenantIn(t, "others", "sandbox", uuid.NewString(), behaviour{ignore: true})
	unknown := &tenant{t: t, id: uuid.NewString()}
	service, stranger := accountToken(t, "tenants", "service", "tenant-credential-gateway"), accountToken(t, "tenants", "stranger", "tenant-credential-gateway")
	require.Equal(t, http.StatusOK, g.rotate(mine, service, "").status)
	for _, path := range []struct{ method, path, body string }{
		{http.MethodPost, "rotate-credentials", ""}, {http.MethodGet, "rotations", ""}, {http.MethodGet, "rotations/1", ""},
		{http.MethodGet, "external-db-access", ""}, {http.MethodPost, "external-db-access", `{"enabled":true}`}, {http.MethodPut, "external-db-access", `{"enabled":true}`},
	} {
		foreign := g.call(path.method, others.path(path.path), service, path.body)
		requireProblem(t, foreign, http.StatusForbidden, openapi.Forbidden)
		none := g.call(path.method, unknown.path(path.path), service, path.body)
		require.Equal(t, none.status, foreign.status)
		require.Equal(t, string(none.body), string(foreign.body), "another's tenant and none look alike")
		require.Equal(t, none.header.Get("WWW-Authenticate"), foreign.header.Get("WWW-Authenticate"))
		requireProblem(t, g.call(path.method, mine.path(path.path), stranger, path.body), http.StatusForbidden, openapi.Forbidden)
		requireProblem(t, g.call(path.method, unknown.path(path.path), staff(t), path.body), http.StatusNotFound, openapi.TenantNotFound)
	}
	require.Nil(t, others.object().Spec.RotationRequest)
	require.Nil(t, others.object().Spec.ExternalAccess)
}

// An editor of a namespace names a stranger's tenant in an object there.
func TestAnObjectProvesNothingUntilTheOperatorHasAcceptedIt(t *testing.T) {
	g := newGateway(t, nil)
	victim := newTenantIn(t, "others", "sandbox", uuid.NewString(), behaviour{ignore: true})
	service := accountToken(t, "tenants", "service", "tenant-credential-gateway")
	intruder := newTenantIn(t, "tenants", "sandbox", victim.id, behaviour{ignore: true})
	forbidden := func(why string) {
		t.Helper()
		require.Eventually(t, func() bool { return g.rotate(victim, service, "").status == http.StatusForbidden }, 10*time.Second, 20*time.Millisecond, why)
		require.Nil(t, intruder.object().Spec.RotationRequest)
	}
	for _, reason := range []string{reasons.OwnershipConflict, reasons.TenantNotBound, reasons.NamespaceNotAllowed} {
		intruder.restate(func(c *v1alpha1.TenantCredential) {
			set(c, v1alpha1.StalledCondition, metav1.ConditionTrue, reason, "held by others/acme")
		})
		forbidden(reason)
	}
	intruder.restate(func(c *v1alpha1.TenantCredential) { c.Status.Conditions, c.Status.Postgres = nil, nil })
	forbidden("not looked at")
	// The victim's own right is as before, and the intruder makes nothing ambiguous.
	require.Equal(t, http.StatusAccepted, g.rotate(victim, staff(t), "", "Prefer", "respond-async").status)
}

func TestATenantOfSeveralEnvironments(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{ignore: true})
	second := newTenantIn(t, "others", "prod", x.id, behaviour{ignore: true})
	require.Eventually(t, func() bool {
		return g.call(http.MethodGet, x.path("rotations"), staff(t), "").status == http.StatusConflict
	}, 10*time.Second, 20*time.Millisecond)
	requireProblem(t, g.rotate(x, staff(t), ""), http.StatusConflict, openapi.AmbiguousTenant)
	service := accountToken(t, "tenants", "service", "tenant-credential-gateway")
	require.Equal(t, http.StatusAccepted, g.rotate(x, service, "", "Prefer", "respond-async").status, "a right to one of them is to that one")
	require.NotNil(t, x.object().Spec.RotationRequest)
	require.Nil(t, second.object().Spec.RotationRequest)
}

func TestRequestsThatAreNotValid(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{ignore: true})
	token := staff(t)
	for name, test := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		code               openapi.ProblemErrorCode
	}{
		"no UUID":                     {path: "/api/v1/tenants/acme/rotate-credentials"},
		"a UUID in braces":            {path: "/api/v1/tenants/%7B7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01%7D/rotate-credentials"},
		"a UUID without dashes":       {path: "/api/v1/tenants/7dd06cd654f74f8fa8f13d3f4b1c7a01/rotate-credentials"},
		"no JSON":                     {body: `{"reason"`},
		"more than one document":      {body: `{} {"reason":"x"}`},
		"a list":                      {body: `[]`},
		"null":                        {body: `null`},
		"an unknown member":           {body: `{"until":"committed","force":true}`},
		"another type":                {body: `{"compromised":"yes"}`},
		"an empty reason":             {body: `{"reason":""}`},
		"a long reason":               {body: `{"reason":"` + strings.Repeat("a", 257) + `"}`},
		"a reason of two lines":       {body: `{"reason":"a\nb"}`},
		"another until":               {body: `{"until":"later"}`},
		"a form":                      {body: `a=b`, header: []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"a broken If-Match":           {header: []string{"If-Match", "4"}},
		"an empty key":                {header: []string{"Idempotency-Key", ""}},
		"a long key":                  {header: []string{"Idempotency-Key", strings.Repeat("k", 65)}},
		"a key with a blank":          {header: []string{"Idempotency-Key", "a b"}},
		"two keys":                    {header: []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}},
		"a large body":                {body: `{"reason":"` + strings.Repeat("a", 5000) + `"}`, status: http.StatusRequestEntityTooLarge, code: openapi.RequestTooLarge},
		"revision 0":                  {method: http.MethodGet, path: x.path("rotations", "0")},
		"no revision":                 {method: http.MethodGet, path: x.path("rotations", "last")},
		"an access without a body":    {path: x.path("external-db-access")},
		"an access without its state": {path: x.path("external-db-access"), body: `{}`},
		"an unknown path":             {path: "/api/v1/tenants", status: http.StatusNotFound, code: openapi.NotFound},
		"another method":              {method: http.MethodDelete, status: http.StatusMethodNotAllowed, code: openapi.MethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			method, path, status, code := test.method, test.path, test.status, test.code
			if method == "" {
				method = http.MethodPost
			}
			if path == "" {
				path = x.path("rotate-credentials")
			}
			if status == 0 {
				status, code = http.StatusBadRequest, openapi.InvalidRequest
			}
			a := g.call(method, path, token, test.body, test.header...)
			requireProblem(t, a, status, code)
			if status == http.StatusMethodNotAllowed {
				require.Equal(t, "POST", a.header.Get("Allow"))
			}
		})
	}
	require.Nil(t, x.object().Spec.RotationRequest)
}

func TestAHeaderThatIsTooLarge(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{ignore: true})
	request, err := http.NewRequest(http.MethodPost, g.url+x.path("rotate-credentials"), nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+strings.Repeat("a", 40<<10))
	response, err := g.client.Do(request)
	if err == nil { // HTTP/2 ends the stream instead
		_ = response.Body.Close()
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
	}
}

func TestWhatCannotBeAskedNow(t *testing.T) {
	g := newGateway(t, func(o *options) { o.minInterval = time.Minute })
	token := staff(t)
	x := newTenant(t, behaviour{})
	require.Equal(t, http.StatusOK, g.rotate(x, token, "").status)
	a := g.rotate(x, token, "")
	requireProblem(t, a, http.StatusTooManyRequests, openapi.RateLimited)
	require.Regexp(t, `^([1-5]?[0-9]|60)$`, a.header.Get("Retry-After"))
	requireProblem(t, g.rotate(x, token, "", "If-Match", `"0"`), http.StatusPreconditionFailed, openapi.RevisionMismatch)
	require.Equal(t, http.StatusOK, g.rotate(x, token, `{"compromised":true}`, "If-Match", `"1"`).status, "a compromise does not wait")

	x = newTenant(t, behaviour{})
	x.change(func(c *v1alpha1.TenantCredential) { c.Spec.Suspend = true })
	p := requireProblem(t, g.rotate(x, token, ""), http.StatusConflict, openapi.Suspended)
	require.Contains(t, p.Detail, fmt.Sprintf("kubectl patch tcred %s -n tenants", x.key.Name))

	x = newTenant(t, behaviour{})
	x.restate(func(c *v1alpha1.TenantCredential) {
		set(c, v1alpha1.StalledCondition, metav1.ConditionTrue, reasons.FlyAppNotFound, "App sp-1 was not found.")
	})
	p = requireProblem(t, g.rotate(x, token, ""), http.StatusConflict, openapi.Stalled)
	require.Contains(t, p.Detail, "App sp-1 was not found.")

	x = newTenant(t, behaviour{})
	x.change(func(c *v1alpha1.TenantCredential) { c.Finalizers = []string{v1alpha1.Finalizer} })
	require.NoError(t, admin.Delete(t.Context(), x.object()))
	requireProblem(t, g.rotate(x, token, ""), http.StatusConflict, openapi.Deleting)
	x.change(func(c *v1alpha1.TenantCredential) { c.Finalizers = nil })

	x = newTenantIn(t, "tenants", "down", uuid.NewString(), behaviour{})
	ready(t, "down", metav1.ConditionFalse)
	require.Eventually(t, func() bool { return g.rotate(x, token, "").status == http.StatusServiceUnavailable }, 10*time.Second, 20*time.Millisecond)
	requireProblem(t, g.call(http.MethodPut, x.path("external-db-access"), token, `{"enabled":true}`), http.StatusServiceUnavailable, openapi.Unavailable)
}

func TestItStandsStillDuringTheWait(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{stall: reasons.RoleNotAllowed})
	a := g.rotate(x, staff(t), "")
	p := requireProblem(t, a, http.StatusConflict, openapi.Stalled)
	require.Contains(t, p.Detail, "stays requested")
	require.Less(t, a.took, 15*time.Second)
	require.NotNil(t, x.object().Spec.RotationRequest)
}

// A flood of bad tokens of one address is refused before it reaches the API server; a caller that was there before goes on.
func TestAFloodOfBadTokens(t *testing.T) {
	g := newGateway(t, func(o *options) { o.failedRate, o.failedBurst = 0.001, 5 })
	x := newTenant(t, behaviour{ignore: true})
	good := staff(t)
	require.Equal(t, http.StatusOK, g.call(http.MethodGet, x.path("rotations"), good, "").status)
	counts := map[int]int{}
	for i := range 50 {
		a := g.call(http.MethodGet, x.path("rotations"), secrets.add(fmt.Sprintf("bad.token.number-%08d", i)), "")
		counts[a.status]++
		if a.status == http.StatusTooManyRequests {
			requireProblem(t, a, http.StatusTooManyRequests, openapi.RateLimited)
		}
	}
	require.Equal(t, map[int]int{http.StatusUnauthorized: 5, http.StatusTooManyRequests: 45}, counts)
	require.Equal(t, http.StatusOK, g.call(http.MethodGet, x.path("rotations"), good, "").status)
	require.Equal(t, http.StatusTooManyRequests, g.call(http.MethodGet, x.path("rotations"), accountToken(t, "tenants", "service", "tenant-credential-gateway"), "").status)
	require.Equal(t, http.StatusUnauthorized, g.call(http.MethodGet, x.path("rotations"), "", "").status, "no token costs nothing")
}

func TestMoreCallsThanItAnswers(t *testing.T) {
	g := newGateway(t, func(o *options) { o.maxInFlight = 1 })
	x := newTenant(t, behaviour{ignore: true})
	token := staff(t)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		_, _ = g.try(ctx, http.MethodPost, x.path("rotate-credentials"), token, "")
	}()
	require.Eventually(t, func() bool { return x.object().Spec.RotationRequest != nil }, 10*time.Second, 10*time.Millisecond)
	requireProblem(t, g.call(http.MethodGet, x.path("rotations"), token, ""), http.StatusServiceUnavailable, openapi.Unavailable)
	cancel()
	<-waiting
	require.Eventually(t, func() bool {
		return g.call(http.MethodGet, x.path("rotations"), token, "").status == http.StatusOK
	}, 10*time.Second, 10*time.Millisecond, "a caller that has gone gives its place back")
}
