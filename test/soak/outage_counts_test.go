package soak

import (
	"bytes"
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// dials are those of the operator, at a port where no server listens.
type dials struct {
	listener net.Listener
	mu       sync.Mutex
	at       []time.Time
}

func listen(t *testing.T) *dials {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PGPORT"))
	require.NoError(t, err)
	d := &dials{listener: listener}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go d.note(connection)
		}
	}()
	return d
}

// note counts clients that introduce themselves as the operator, and hangs up: the tenants' apps dial too.
func (d *dials) note(connection net.Conn) {
	defer connection.Close()
	startup := make([]byte, 1024)
	_ = connection.SetReadDeadline(time.Now().Add(time.Second))
	n, _ := connection.Read(startup) // a client that says nothing does not count
	if bytes.Contains(startup[:n], []byte(applicationName)) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.at = append(d.at, time.Now())
	}
}

func (d *dials) end() (count, peak int) {
	_ = d.listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.at), peakPerSecond(d.at)
}

// peakPerSecond is the largest number within any second; at is in order.
func peakPerSecond(at []time.Time) int {
	peak, first := 0, 0
	for i := range at {
		for at[i].Sub(at[first]) >= time.Second {
			first++
		}
		peak = max(peak, i-first+1)
	}
	return peak
}

// statusWrites counts the writes of each object's status: versions that leave the spec as it was.
type statusWrites struct {
	mu          sync.Mutex
	generation  map[string]int64
	version     map[string]string
	count       map[string]int
	ready       []time.Time // when each was Ready for the first time since restart
	settled     map[string]bool
	rateLimited int
}

func (w *statusWrites) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count, w.settled, w.ready = map[string]int{}, map[string]bool{}, nil
}

func (w *statusWrites) see(o *v1alpha1.TenantCredential, _ bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.generation == nil {
		w.generation, w.version, w.count, w.settled = map[string]int64{}, map[string]string{}, map[string]int{}, map[string]bool{}
	}
	if w.generation[o.Name] == o.Generation && w.version[o.Name] != o.ResourceVersion {
		w.count[o.Name]++
	}
	w.generation[o.Name], w.version[o.Name] = o.Generation, o.ResourceVersion
	if settled(o) && !w.settled[o.Name] && o.AskedGeneration() > 0 {
		w.settled[o.Name] = true
		w.ready = append(w.ready, time.Now())
	}
	for _, c := range o.Status.Conditions {
		if c.Reason == "RateLimited" {
			w.rateLimited++
		}
	}
}

func (w *statusWrites) perObject(objects int) (mean float64, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	total := 0
	for _, n := range w.count {
		total += n
		most = max(most, n)
	}
	return float64(total) / float64(objects), most
}

func (w *statusWrites) readySince(back time.Time) (first, half float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := func(i int) float64 { return w.ready[i].Sub(back).Round(100 * time.Millisecond).Seconds() }
	return at(0), at(len(w.ready) / 2)
}

// connectionPeaks are the most connections that were seen at once: the operator's own, and those with which it tries a tenant's password.
type connectionPeaks struct{ own, asTenant int }

func (c *connectionPeaks) sample(ctx context.Context, s *system) {
	connection, err := s.connect(ctx)
	if err != nil {
		panic(err) // the server is up, and this is its superuser
	}
	defer connection.Close(context.Background())
	for ctx.Err() == nil {
		var own, asTenant int
		err := connection.QueryRow(ctx, "SELECT count(*) FILTER (WHERE usename = $1), count(*) FILTER (WHERE usename <> $1 AND application_name = $2) FROM pg_stat_activity",
			operatorLogin, applicationName).Scan(&own, &asTenant)
		if err == nil {
			c.own, c.asTenant = max(c.own, own), max(c.asTenant, asTenant)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
