package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
)

func TestRotated(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{commit: 50 * time.Millisecond, prove: 50 * time.Millisecond, complete: -1})
	a := g.rotate(x, staff(t), `{"reason":"laptop lost"}`)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	r := a.rotation(t)
	require.Equal(t, openapi.Rotated, r.Status)
	require.Equal(t, "Credentials rotated. Retrieve via: fly secrets list -a sp-"+x.id[:8], r.Message)
	require.Equal(t, "postgresql://tenant_x:********@db.internal:5432/site_x", r.InternalDatabaseUrl)
	require.Empty(t, r.ExternalDatabaseUrl)
	require.EqualValues(t, 1, r.Revision)
	require.Equal(t, `"1"`, a.header.Get("ETag"))
	require.Equal(t, "/api/v1/tenants/"+x.id+"/rotations/1", r.Links.Self)
	require.Equal(t, openapi.Machines{Total: 4}, *r.Machines)
	request := x.object().Spec.RotationRequest
	require.Equal(t, "laptop lost", request.Reason)
	require.Equal(t, "system:serviceaccount:tenants:staff", request.RequestedBy)
}

func TestPrefer(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{ignore: true})
	a := g.rotate(x, staff(t), "", "Prefer", "respond-async")
	require.Equal(t, http.StatusAccepted, a.status)
	require.Equal(t, "respond-async", a.header.Get("Preference-Applied"))
	require.Equal(t, x.path("rotations", "1"), a.header.Get("Location"))
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Equal(t, openapi.Rotating, a.rotation(t).Status)
	require.Equal(t, `"0"`, a.header.Get("ETag"))

	a = g.rotate(x, staff(t), "", "Prefer", "return=minimal", "Prefer", "wait=1")
	require.Equal(t, http.StatusAccepted, a.status)
	require.Equal(t, "wait=1", a.header.Get("Preference-Applied"))
	require.GreaterOrEqual(t, a.took, 900*time.Millisecond)
	require.Less(t, a.took, 10*time.Second)

	a = g.call(http.MethodGet, a.header.Get("Location"), staff(t), "")
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, openapi.Rotating, a.rotation(t).Status)
}

func TestUntilCompleted(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{complete: 300 * time.Millisecond})
	a := g.rotate(x, staff(t), `{"until":"completed"}`)
	require.Equal(t, http.StatusOK, a.status)
	require.NotNil(t, a.rotation(t).CompletionTime)
	require.Equal(t, openapi.Machines{Total: 4, Updated: 4}, *a.rotation(t).Machines)

	x = newTenant(t, behaviour{complete: -1})
	a = g.rotate(x, staff(t), `{"until":"completed"}`, "Prefer", "wait=1")
	require.Equal(t, http.StatusAccepted, a.status)
	require.Equal(t, openapi.Rotating, a.rotation(t).Status)
	require.EqualValues(t, 1, a.rotation(t).Revision)
	require.NotNil(t, a.rotation(t).CommitTime)
}

func TestNothingIsSaidToBeRotatedUntilALoginHasSucceeded(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{prove: -1})
	a := g.rotate(x, staff(t), "", "Prefer", "wait=1")
	require.Equal(t, http.StatusAccepted, a.status)
	require.Equal(t, openapi.Rotating, a.rotation(t).Status)
	require.Equal(t, `"1"`, a.header.Get("ETag"))
}

func TestTheSameKeyIsTheSameRotation(t *testing.T) {
	g := newGateway(t, nil)
	token := staff(t)
	x := newTenant(t, behaviour{})
	first := g.rotate(x, token, `{"reason":"a"}`, "Idempotency-Key", "one")
	require.Equal(t, http.StatusOK, first.status)
	again := g.rotate(x, token, `{"reason":"a"}`, "Idempotency-Key", "one")
	require.Equal(t, http.StatusOK, again.status)
	require.Equal(t, first.rotation(t).Revision, again.rotation(t).Revision)
	requireProblem(t, g.rotate(x, token, `{"reason":"b"}`, "Idempotency-Key", "one"), http.StatusUnprocessableEntity, openapi.IdempotencyKeyReused)
	second := g.rotate(x, token, "", "Idempotency-Key", "two")
	require.EqualValues(t, 2, second.rotation(t).Revision)
	third := g.rotate(x, accountToken(t, "tenants", "service", "tenant-credential-gateway"), "", "Idempotency-Key", "two")
	require.EqualValues(t, 3, third.rotation(t).Revision, "another caller's key is another one")
	again = g.rotate(x, token, `{"reason":"a"}`, "Idempotency-Key", "one")
	require.Equal(t, http.StatusOK, again.status)
	require.EqualValues(t, 1, again.rotation(t).Revision)
	require.EqualValues(t, 3, x.object().Status.Revision)

	list := g.call(http.MethodGet, x.path("rotations"), token, "")
	var body openapi.RotationList
	require.NoError(t, json.Unmarshal(list.body, &body))
	require.Len(t, body.Rotations, 3)
	require.EqualValues(t, 3, body.Rotations[0].Revision)
	requireProblem(t, g.call(http.MethodGet, x.path("rotations", "9"), token, ""), http.StatusNotFound, openapi.RotationNotFound)
	require.Equal(t, openapi.Rotated, g.call(http.MethodGet, x.path("rotations", "1"), token, "").rotation(t).Status)
}

func TestASupersededRotation(t *testing.T) {
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{complete: -1})
	require.Equal(t, http.StatusOK, g.rotate(x, staff(t), "", "Idempotency-Key", "one").status)
	require.Equal(t, http.StatusOK, g.rotate(x, staff(t), "").status)
	a := g.rotate(x, staff(t), "", "Idempotency-Key", "one")
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, openapi.Superseded, a.rotation(t).Status)
	require.EqualValues(t, 1, a.rotation(t).Revision)
}

// A hundred calls that arrive together are one rotation, on two gateways, with and without keys, however fast the operator is.
func TestManyCallsAreOneRotation(t *testing.T) {
	gateways := []*gateway{newGateway(t, nil), newGateway(t, nil)}
	token := staff(t)
	for _, commit := range []time.Duration{0, 5 * time.Millisecond, 300 * time.Millisecond} {
		for _, keys := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, keys %v", commit, keys), func(t *testing.T) {
				x := newTenant(t, behaviour{commit: commit})
				answers := make([]answer, 100)
				var calls sync.WaitGroup
				for i := range answers {
					calls.Go(func() {
						var header []string
						if keys {
							header = []string{"Idempotency-Key", fmt.Sprintf("key-%d", i)}
						}
						answers[i], _ = gateways[i%2].try(context.Background(), http.MethodPost, x.path("rotate-credentials"), token, "", header...)
					})
				}
				calls.Wait()
				for i, a := range answers {
					require.Equal(t, http.StatusOK, a.status, "%d: %s", i, a.body)
					require.EqualValues(t, 1, a.rotation(t).Revision)
				}
				require.EqualValues(t, 1, x.object().Status.Revision)
				if keys {
					for i := range answers {
						a := gateways[0].rotate(x, token, "", "Idempotency-Key", fmt.Sprintf("key-%d", i))
						require.Equal(t, http.StatusOK, a.status)
						require.EqualValues(t, 1, a.rotation(t).Revision, "a repeat is answered by the rotation that the call joined")
					}
					require.EqualValues(t, 1, x.object().Status.Revision)
				}
			})
		}
	}
}

func TestACompromise(t *testing.T) {
	g := newGateway(t, nil)
	token := staff(t)
	x := newTenant(t, behaviour{ignore: true})
	require.Equal(t, http.StatusAccepted, g.rotate(x, token, "", "Idempotency-Key", "one", "Prefer", "respond-async").status)
	require.Equal(t, http.StatusAccepted, g.rotate(x, token, `{"compromised":true,"reason":"leak"}`, "Idempotency-Key", "two", "Prefer", "respond-async").status)
	first := x.object().Spec.RotationRequest
	require.True(t, first.Compromised)
	require.Len(t, first.JoinedIDs, 1)
	require.Equal(t, http.StatusAccepted, g.rotate(x, token, "", "Prefer", "respond-async").status)
	require.Equal(t, first, x.object().Spec.RotationRequest, "another call waits for it")
	fleet.behave(x.key, behaviour{})
	fleet.look(context.Background(), x.key)
	for _, call := range []struct{ key, body string }{{"one", ""}, {"two", `{"compromised":true,"reason":"leak"}`}} {
		a := g.rotate(x, token, call.body, "Idempotency-Key", call.key)
		require.Equal(t, http.StatusOK, a.status)
		require.EqualValues(t, 1, a.rotation(t).Revision)
	}
	require.EqualValues(t, 1, x.object().Status.Revision)
	require.Equal(t, http.StatusOK, g.rotate(x, token, "").status)
	require.False(t, x.object().Spec.RotationRequest.Compromised, "what one request said is not in the next one")
	require.Empty(t, x.object().Spec.RotationRequest.Reason)
}

// existingClient behaves as the platform's callers do today.
type existingClient struct {
	http  *http.Client
	url   string
	token func(refused bool) string
}

func (c existingClient) rotate(ctx context.Context, id string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, refused := range []bool{false, true} {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/api/v1/tenants/"+id+"/rotate-credentials", nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+c.token(refused))
		response, err := c.http.Do(request)
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			return nil, err
		}
		if response.StatusCode == http.StatusUnauthorized && !refused {
			continue
		}
		if response.StatusCode/100 != 2 {
			var failure struct {
				Error struct{ Code, Message string } `json:"error"`
			}
			if err := json.Unmarshal(content, &failure); err != nil {
				return nil, err
			}
			return nil, errors.New(failure.Error.Code)
		}
		var body struct {
			Status, Message *string
			Internal        *string `json:"internal_database_url"`
			External        *string `json:"external_database_url"`
		}
		if err := json.Unmarshal(content, &body); err != nil {
			return nil, err
		}
		if body.Status == nil || body.Message == nil || body.Internal == nil || body.External == nil {
			return nil, errors.New("a required string is missing")
		}
		return map[string]string{"status": *body.Status, "message": *body.Message, "internal": *body.Internal}, nil
	}
	return nil, errors.New("refused twice")
}

func TestTheClientOfToday(t *testing.T) {
	t.Parallel() // with the other ones that wait as long as a call does
	g := newGateway(t, nil)
	x := newTenant(t, behaviour{commit: 200 * time.Millisecond, complete: time.Second})
	good := staff(t)
	transport := g.client.Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2, transport.TLSNextProto = false, map[string]func(string, *tls.Conn) http.RoundTripper{} // HTTP/1.1
	transport.TLSClientConfig.NextProtos = nil
	c := existingClient{http: &http.Client{Transport: transport}, url: g.url, token: func(refused bool) string {
		if refused {
			return good
		}
		return secrets.add("an-expired.token.of-the-client")
	}}
	got, err := c.rotate(t.Context(), x.id)
	require.NoError(t, err)
	require.Equal(t, "rotated", got["status"])
	require.Contains(t, got["internal"], ":********@")
	x = newTenant(t, behaviour{ignore: true}) // the operator is down
	got, err = c.rotate(t.Context(), x.id)
	require.NoError(t, err)
	require.Equal(t, "rotating", got["status"])
	_, err = c.rotate(t.Context(), uuid.NewString())
	require.EqualError(t, err, "tenant_not_found")
}

// A connection is cut in the middle of a wait, and the call is repeated at another gateway.
func TestACallIsRepeatedAtAnotherGateway(t *testing.T) {
	one, two := newGateway(t, nil), newGateway(t, nil)
	token := staff(t)
	x := newTenant(t, behaviour{commit: 500 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	cut := make(chan error)
	go func() {
		_, err := one.try(ctx, http.MethodPost, x.path("rotate-credentials"), token, "", "Idempotency-Key", "k")
		cut <- err
	}()
	require.Eventually(t, func() bool { return x.object().Spec.RotationRequest != nil }, 10*time.Second, 5*time.Millisecond)
	cancel()
	require.Error(t, <-cut)
	a := two.rotate(x, token, "", "Idempotency-Key", "k")
	require.Equal(t, http.StatusOK, a.status)
	require.EqualValues(t, 1, a.rotation(t).Revision)
	a = two.rotate(x, token, "", "Idempotency-Key", "k")
	require.EqualValues(t, 1, a.rotation(t).Revision)
	require.EqualValues(t, 1, x.object().Status.Revision)
}

// A process that is about to end answers the calls that wait, so that their callers lose nothing.
func TestAGracefulStop(t *testing.T) {
	g := newGateway(t, func(o *options) { o.linger = time.Second })
	token := staff(t)
	x := newTenant(t, behaviour{ignore: true})
	answered := make(chan answer)
	go func() {
		a, err := g.try(context.Background(), http.MethodPost, x.path("rotate-credentials"), token, "", "Idempotency-Key", "k")
		assert.NoError(t, err)
		answered <- a
	}()
	require.Eventually(t, func() bool { return x.object().Spec.RotationRequest != nil }, 10*time.Second, 5*time.Millisecond)
	begun := time.Now()
	g.stop()
	a := <-answered
	require.Less(t, time.Since(begun), time.Second)
	require.Equal(t, http.StatusAccepted, a.status)
	require.Equal(t, x.path("rotations", "1"), a.header.Get("Location"))
	a = g.rotate(x, token, "", "Idempotency-Key", "k")
	require.Equal(t, http.StatusAccepted, a.status, "and takes calls until the load balancers have heard of it, which do not wait")
	err := <-g.ended
	require.NoError(t, err)
	g.ended <- err
}
