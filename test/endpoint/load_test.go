package endpoint

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// TestLoad measures, and asserts no durations: how many calls one gateway refuses per second before the slowest hundredth takes longer than
// 50 ms, and the effect of a flood of bad tokens on the rotations of others. make bench runs it; bin/endpoint.json has the figures.
func TestLoad(t *testing.T) {
	if os.Getenv("ENDPOINT_LOAD") == "" {
		t.Skip("make bench runs it")
	}
	unlimited, _ := startGateway(t, "--failed-logins-per-second", "1000000", "--failed-logins-burst", "1000000", "-zap-log-level=info")
	figures := map[string]any{
		"refusals a second, no valid token (401)":                        capacity(t, newCallers(t, unlimited, "not-a-token"), http.StatusUnauthorized),
		"refusals a second, another's tenant (403)":                      capacity(t, newCallers(t, unlimited, os.Getenv("GATEWAY_STRANGER_TOKEN")), http.StatusForbidden),
		"a rotation until it is committed, beside a flood of bad tokens": floodRatio(t, "committed"),
		"a rotation until it is completed, beside a flood of bad tokens": floodRatio(t, "completed"),
	}
	content, err := json.MarshalIndent(figures, "", "  ")
	require.NoError(t, err)
	fmt.Println(string(content))
	require.NoError(t, os.WriteFile(filepath.Join(harness.Repository, "bin", "endpoint.json"), append(content, '\n'), 0o600))
}

// step is how long each rate is held.
const step = 5 * time.Second

// capacity raises the rate until the slowest hundredth of the answers takes longer than 50 ms, and returns what it was before.
func capacity(t *testing.T, callers []caller, code int) []figure {
	t.Helper()
	hold(callers, code, 100) // connections are made, and the caches are full
	var figures []figure
	for rate := 50; rate <= 20000; rate = rate * 3 / 2 {
		f := hold(callers, code, rate)
		figures = append(figures, f)
		fmt.Printf("%d: %+v\n", code, f)
		if f.P99 > 50 || f.Others > 0 {
			break
		}
	}
	return figures
}

// figure is what was measured while so many calls a second were made.
type figure struct {
	Offered   int     `json:"offered_per_second"`
	PerSecond float64 `json:"answered_per_second"`
	Others    int     `json:"other_answers"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
}

// newCallers have a connection each.
func newCallers(t *testing.T, url, token string) []caller {
	t.Helper()
	callers := make([]caller, 32)
	for i := range callers {
		callers[i] = newCaller(t, url, token)
	}
	return callers
}

// hold calls at a rate, however long the answers take, as strangers do.
func hold(callers []caller, code, rate int) figure {
	var mu sync.Mutex
	var took []float64
	others := 0
	var calls sync.WaitGroup
	begun := time.Now()
	for i := 0; time.Since(begun) < step; {
		if i >= int(time.Since(begun).Seconds()*float64(rate)) {
			time.Sleep(time.Millisecond)
			continue
		}
		c := callers[i%len(callers)]
		calls.Go(func() {
			begun := time.Now()
			a, err := c.ask(context.Background(), http.MethodPost, rotatePath("7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01"), "")
			mu.Lock()
			defer mu.Unlock()
			if err != nil || a.Code != code {
				others++
				return
			}
			took = append(took, float64(time.Since(begun).Microseconds())/1000)
		})
		i++
	}
	calls.Wait()
	slices.Sort(took)
	f := figure{Offered: rate, PerSecond: float64(len(took)) / time.Since(begun).Seconds(), Others: others}
	if len(took) > 0 {
		f.P50, f.P99 = took[len(took)/2], took[len(took)*99/100]
	}
	return f
}

// from has a caller's connections come from an address.
func from(c caller, address string) {
	transport, is := c.http.Transport.(*http.Transport)
	if !is {
		return
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 10 * time.Second}
	transport.DialContext = dialer.DialContext
}

// floodRatio is how much longer a rotation takes while bad tokens come in as fast as they are refused, by the median of some rotations each, alternating.
func floodRatio(t *testing.T, until string) map[string]float64 {
	t.Helper()
	const each = 8
	quiet, flooded := make([]float64, each), make([]float64, each)
	for i := range each {
		quiet[i] = rotationSeconds(t, until)
		stop := flood(t)
		flooded[i] = rotationSeconds(t, until)
		stop()
	}
	slices.Sort(quiet)
	slices.Sort(flooded)
	return map[string]float64{"seconds without": quiet[each/2], "seconds with": flooded[each/2], "ratio": flooded[each/2] / quiet[each/2]}
}

func rotationSeconds(t *testing.T, until string) float64 {
	t.Helper()
	x := newOwned(t, "stopped")
	begun := time.Now()
	a := owner(t).rotate(t, x.ID, `{"until":"`+until+`"}`, "Prefer: wait=25")
	require.Equal(t, http.StatusOK, a.Code, a.Body)
	return time.Since(begun).Seconds()
}

// flood sends bad tokens from as many connections as CONNECTIONS says (16), each as fast as it is answered.
func flood(t *testing.T) (stop func()) {
	t.Helper()
	connections, err := strconv.Atoi(cmp.Or(os.Getenv("CONNECTIONS"), "16"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var senders sync.WaitGroup
	for i := range connections {
		c := newCaller(t, os.Getenv("GATEWAY_URL"), "not-a-token")
		from(c, fmt.Sprintf("127.2.0.%d", i+1))
		senders.Go(func() {
			for ctx.Err() == nil {
				_, _ = c.ask(ctx, http.MethodPost, rotatePath("7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01"), "")
			}
		})
	}
	return func() { cancel(); senders.Wait() }
}
