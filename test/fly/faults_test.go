package flyemulator_test

import (
	"io"
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

const setRoute = `"route":"POST /v1/apps/{name}/secrets"` // however the placeholder is called

// setSecret tries to set DATABASE_URL and returns what the client sees.
func (f *fixture) trySet(value string) (reply, error) {
	return f.try(f.api.URL, "POST", appPath+"/secrets", `{"values":{"DATABASE_URL":"`+value+`"}}`, "Authorization: Bearer "+token)
}

func (f *fixture) current() string {
	f.t.Helper()
	state, _ := f.Inspect(f.t.Context(), "acme")
	if len(state.Secrets) == 0 {
		return ""
	}
	return state.Secrets[0].Value
}

func TestFaultsThatLoseTheAnswer(t *testing.T) {
	for mode, test := range map[string]struct {
		takesEffect bool
		failsWith   error
	}{
		"reset-before":  {false, syscall.ECONNRESET},
		"reset-after":   {true, syscall.ECONNRESET},
		"drop-response": {true, io.EOF},
	} {
		t.Run(mode, func(t *testing.T) {
			f := newFixture(t)
			f.arrange(200, "POST", "/admin/faults", `{`+setRoute+`,"app":"acme","mode":"`+mode+`"}`)
			_, err := f.trySet("a")
			require.ErrorIs(t, err, test.failsWith)
			require.Equal(t, test.takesEffect, f.current() == "a")
			r, err := f.trySet("b")
			require.NoError(t, err, "the fault was for one request only")
			require.Equal(t, 200, r.status)

			requests := f.Requests()
			require.Zero(t, requests[0].Status)
			require.Equal(t, "fault-1", requests[0].Fault)
			require.Equal(t, 200, requests[1].Status)
		})
	}
}

func TestFaultsThatAnswer(t *testing.T) {
	f := newFixture(t)
	f.arrange(200, "POST", "/admin/faults",
		`{`+setRoute+`,"skip":1,"count":2,"status":503,"body":"<html>","headers":{"Retry-After":"7"}}`)
	statuses := []int{}
	for range 4 {
		r, err := f.trySet("a")
		require.NoError(t, err)
		statuses = append(statuses, r.status)
		if r.status == 503 {
			require.Equal(t, "<html>", r.body)
			require.Equal(t, "7", r.header.Get("Retry-After"))
		}
	}
	require.Equal(t, []int{200, 503, 503, 200}, statuses)
	require.Equal(t, 2, f.Faults()[0].Fired)
}

func TestAFaultForAllRequestsUntilItIsLifted(t *testing.T) {
	f := newFixture(t)
	f.addMachine("started")
	f.arrange(200, "POST", "/admin/faults", `{"route":"*","count":-1,"mode":"status","status":200,"body":"[]"}`)
	require.Equal(t, "[]", f.call(200, "GET", appPath+"/machines", "").body, "a list that is wrongly empty")
	require.Equal(t, "[]", f.call(200, "GET", appPath, "").body)
	f.arrange(200, "DELETE", "/admin/faults", "")
	require.NotEqual(t, "[]", f.call(200, "GET", appPath+"/machines", "").body)
}

func TestAHangingRequestEndsWithTheFault(t *testing.T) {
	for mode, takesEffect := range map[string]bool{"hang": false, "hang-after": true} {
		f := newFixture(t)
		_, err := f.AddFault(flyemulator.Fault{Route: "*", Mode: mode})
		require.NoError(t, err)
		ended := make(chan error)
		go func() {
			_, err := f.trySet("a")
			ended <- err
		}()
		eventually(t, func() bool { return f.Faults()[0].Fired == 1 }, "the request has come")
		if takesEffect {
			eventually(t, func() bool { return f.current() == "a" }, "it takes effect")
		}
		f.ClearFaults()
		require.Error(t, <-ended, mode)
		require.Equal(t, takesEffect, f.current() == "a", mode)
	}
}

func TestAFaultThatCanNeverFireIsRefused(t *testing.T) {
	f := newFixture(t)
	f.arrange(400, "POST", "/admin/faults", `{"route":"POST /v1/nothing","status":500}`)
	f.arrange(400, "POST", "/admin/faults", `{"route":"*","mode":"nonsense"}`)
	f.arrange(400, "POST", "/admin/faults", `{"route":"*"}`)
	f.arrange(400, "POST", "/admin/faults", `{"route":"*","status":500,"colour":"red"}`)
}

func TestTheRequestLog(t *testing.T) {
	f := newFixture(t)
	path := f.addMachine("started")
	f.call(200, "POST", path+"/cordon", "", "fly-machine-lease-nonce: "+f.lease(path, "30"))
	f.call(409, "POST", path+"/uncordon", "")
	f.call(404, "GET", "/v1/nothing", "")
	requests := f.Requests()
	require.Len(t, requests, 4)
	require.Equal(t, "POST /v1/apps/{app}/machines/{id}/cordon", requests[1].Route)
	require.True(t, requests[1].LeaseNonce)
	require.True(t, requests[1].Write)
	require.Equal(t, "acme", requests[1].App)
	require.False(t, requests[2].LeaseNonce)
	require.Equal(t, http.StatusConflict, requests[2].Status)
	require.False(t, requests[3].Write)
	f.arrange(200, "DELETE", "/admin/requests", "")
	require.JSONEq(t, `[]`, f.arrange(200, "GET", "/admin/requests", "").body)
}

func TestRateLimits(t *testing.T) {
	f := newFixture(t)
	f.set(func(s *flyemulator.Switches) { s.RateLimits, s.RetryAfter = true, true })
	for range 3 {
		f.call(200, "GET", appPath+"/secrets", "")
	}
	require.Equal(t, "1", f.call(429, "GET", appPath+"/secrets", "").header.Get("Retry-After"))
	f.call(200, "GET", appPath+"/machines", "") // another action
	f.arrange(200, "POST", "/admin/clock", `{"advance_ms":1000}`)
	f.call(200, "GET", appPath+"/secrets", "")
	f.set(func(s *flyemulator.Switches) { s.RetryAfter = false })
	require.Empty(t, f.call(429, "GET", appPath+"/secrets", "").header.Get("Retry-After"))
	f.set(func(s *flyemulator.Switches) { s.RateLimits = false })
	f.call(200, "GET", appPath+"/secrets", "")
}

// An answer may repeat what was sent; and the admin API remembers the request, with any fault of it.
func TestArrivals(t *testing.T) {
	f := newFixture(t)
	f.arrange(200, "POST", "/admin/faults", `{`+setRoute+`,"status":422,"body":"{\"error\":{request}}"}`)
	f.arrange(200, "POST", "/admin/faults", `{`+setRoute+`,"mode":"reset-before"}`)
	refused, err := f.trySet("refused")
	require.NoError(t, err)
	require.Equal(t, 422, refused.status)
	var answer struct{ Error string }
	refused.decode(&answer)
	require.JSONEq(t, `{"values":{"DATABASE_URL":"refused"}}`, answer.Error)
	_, err = f.trySet("cut off")
	require.ErrorIs(t, err, syscall.ECONNRESET)
	_, err = f.try(f.api.URL, "POST", appPath+"/secrets", `{"values":{"DATABASE_URL":"unauthorized"}}`)
	require.NoError(t, err)
	_, err = f.try(f.api.URL, "POST", appPath+"/secrets", `{"values":{"DATABASE_URL":"brok`, "Authorization: Bearer "+token)
	require.NoError(t, err)
	_, err = f.trySet("set")
	require.NoError(t, err)
	f.call(201, "POST", appPath+"/secrets/OTHER", `{"value":"single"}`)
	require.Equal(t, "set", f.current())
	require.Equal(t, []flyemulator.Arrival{
		{App: "acme", Name: "DATABASE_URL", Value: "refused"},
		{App: "acme", Name: "DATABASE_URL", Value: "cut off"},
		{App: "acme", Name: "DATABASE_URL", Value: "unauthorized"},
		{App: "acme", Value: `{"values":{"DATABASE_URL":"brok`},
		{App: "acme", Name: "DATABASE_URL", Value: "set"},
		{App: "acme", Name: "OTHER", Value: "single"},
	}, f.Arrivals())
}
