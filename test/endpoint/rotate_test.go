package endpoint

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// An owner rotates, and the app has the new password when the answer says so.
func TestOwnerRotates(t *testing.T) {
	t.Parallel()
	x := newOwned(t, "started")
	old := x.URL()
	a := owner(t).rotate(t, x.ID, `{"until":"completed","reason":"laptop lost"}`, "Prefer: wait=25")
	for r := a.rotation(t); a.Code == http.StatusAccepted; r = a.rotation(t) { // a busy machine may need longer than a call may wait
		var err error
		a, err = owner(t).ask(t.Context(), http.MethodGet, r.Links.Self, "")
		require.NoError(t, err)
		if a.Code == http.StatusOK && a.rotation(t).Status == "rotating" {
			a.Code = http.StatusAccepted
		}
	}
	require.Equal(t, http.StatusOK, a.Code, a.Body)
	r := a.rotation(t)
	require.Equal(t, "rotated", r.Status)
	require.Equal(t, "Credentials rotated. Retrieve via: fly secrets list -a "+x.App(), r.Message)
	require.EqualValues(t, 1, r.Revision)
	require.Equal(t, `"1"`, a.Header.Get("ETag"))
	require.Regexp(t, `^postgresql://`+x.Role()+`:\*{8}@127\.0\.0\.1:`, r.InternalURL)
	require.Empty(t, r.ExternalURL)
	require.Equal(t, 1, r.Machines.Total)
	require.Equal(t, 1, r.Machines.Updated)
	platform.RequireRefused(t, old)
	platform.RequireAccepted(t, x.URL())
	require.Equal(t, "laptop lost", x.Get().Status.LastRotation.Reason)
	require.Equal(t, os.Getenv("GATEWAY_OWNER"), x.Get().Status.LastRotation.RequestedBy)
}

// 100 calls that arrive together are one rotation.
func TestAHundredCallsAreOneRotation(t *testing.T) {
	t.Parallel()
	x := newOwned(t, "started")
	c := owner(t)
	_, err := c.ask(t.Context(), http.MethodGet, "/api/v1/tenants/"+x.ID+"/rotations", "") // opens the connection that all of them use
	require.NoError(t, err)
	goOn := platform.Sandbox().Hold(t, "SELECT FROM management.tenants WHERE id = '"+x.ID+"' FOR UPDATE") // else the last calls could come after the rotation
	answers := make([]answer, 100)
	var together, sent sync.WaitGroup
	sent.Add(len(answers))
	for i := range answers {
		together.Go(func() {
			once := sync.OnceFunc(sent.Done) // a client may send a request again, or never
			defer once()
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { once() }})
			a, err := c.ask(ctx, http.MethodPost, rotatePath(x.ID), "", "Prefer: wait=25")
			if err == nil {
				answers[i] = a
			}
		})
	}
	sent.Wait()
	goOn()
	together.Wait()
	for _, a := range answers {
		require.Contains(t, []int{http.StatusOK, http.StatusAccepted}, a.Code, a.Body)
		require.EqualValues(t, 1, a.rotation(t).Revision)
	}
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
}

// A caller whose connection is cut repeats the call with its key, and is answered by the rotation that it asked for. So is one that had joined it.
func TestTheSameKeyIsTheSameRotation(t *testing.T) {
	t.Parallel()
	x := newOwned(t, "started")
	c := owner(t)
	cut, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	for _, key := range []string{"first", "second"} {
		both.Go(func() {
			_, _ = c.ask(cut, http.MethodPost, rotatePath(x.ID), `{"until":"completed"}`, "Idempotency-Key: "+key)
		})
	}
	require.Eventually(t, func() bool { return x.Get().Status.Revision == 1 }, patience, 20*time.Millisecond)
	cancel()
	both.Wait()
	x.WaitReady()
	for _, key := range []string{"first", "second"} {
		a := c.rotate(t, x.ID, `{"until":"completed"}`, "Idempotency-Key: "+key)
		require.Equal(t, http.StatusOK, a.Code, a.Body)
		require.EqualValues(t, 1, a.rotation(t).Revision)
	}
	reused := c.rotate(t, x.ID, `{"until":"completed","compromised":true}`, "Idempotency-Key: first")
	require.Equal(t, http.StatusUnprocessableEntity, reused.Code, reused.Body)
	require.Equal(t, "idempotency_key_reused", reused.code(t))
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
}

// A client as the platform has: an empty body without a type, four required strings in every 2xx, 30 s in all, one repeat after a 401.
func TestTheClientThatThereIs(t *testing.T) {
	t.Parallel()
	x := newOwned(t, "started", "started", "started", "started")
	deadline, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	expired := newCaller(t, os.Getenv("GATEWAY_URL"), "expired")
	a, err := expired.ask(deadline, http.MethodPost, rotatePath(x.ID), "")
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, a.Code)
	require.NotEmpty(t, a.Header.Get("WWW-Authenticate"))
	a, err = owner(t).ask(deadline, http.MethodPost, rotatePath(x.ID), "")
	require.NoError(t, err)
	require.GreaterOrEqual(t, a.Code, 200)
	require.Less(t, a.Code, 300, a.Body)
	for _, member := range []string{"status", "message", "internal_database_url", "external_database_url"} {
		require.Contains(t, a.Body, `"`+member+`":"`)
	}
	x.WaitReady()
	require.Equal(t, map[string]int{"completed": 1}, x.Rows())
	require.Equal(t, 4, x.Get().Status.Fly.Machines.Updated)
}
