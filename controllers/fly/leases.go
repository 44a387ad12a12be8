package fly

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/timing"
)

// lease keeps every other client from changing a Machine.
type lease struct {
	Nonce     string `json:"nonce"`
	ExpiresAt int64  `json:"expires_at"` // seconds since 1970
}

func (l *lease) held(now time.Time) bool {
	return l != nil && l.ExpiresAt > now.Unix()
}

// acquire takes the Machine's lease and returns its nonce. It asks once: fly-go's AcquireLease repeats every refusal for a
// minute. Another's lease is failure Wait/LeaseHeld; it is never broken.
func (c *Client) acquire(ctx context.Context, app, id string) (string, error) {
	r := machineRequest(app, id, "lease machine", http.MethodPost, "/lease?ttl="+seconds(timing.Lease))
	var answer struct {
		Data lease `json:"data"`
	}
	err := c.call(ctx, r, &answer)
	switch {
	case failure.ReasonOf(err) == reasons.Busy:
		return "", failure.New(failure.Wait, reasons.LeaseHeld, "another client holds the lease of Machine "+id)
	case failure.ClassOf(err) == failure.Unknown:
		// At worst there is a lease whose nonce no client knows. It runs out.
		return "", failure.New(failure.Retry, reasons.ConnectionFailed, "Fly's answer was lost (lease of Machine "+id+")")
	case err != nil:
		return "", err
	case !opaque.MatchString(answer.Data.Nonce): // it goes into a header
		return "", failure.New(failure.Retry, reasons.Unexpected, "Fly gave a lease without a nonce (Machine "+id+")")
	}
	return answer.Data.Nonce, nil
}

// release gives the lease back, also when ctx is over. A failure costs only time: the lease runs out.
func (c *Client) releaseLease(ctx context.Context, app, id, nonce string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	r := machineRequest(app, id, "release machine", http.MethodDelete, "/lease")
	r.nonce = nonce
	_ = c.call(ctx, r, nil)
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
