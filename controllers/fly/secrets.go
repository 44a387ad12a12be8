package fly

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"time"

	flyapi "github.com/superfly/fly-go"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/timing"
)

// SetSecret sets one app secret; no Machine changes by it. While an answer is lost, the same bytes are sent again until ctx's
// deadline (15 s if it has none); then, or when a definite refusal follows a lost answer, the failure is
// Unknown/OutcomeUnknown: Fly may hold the value. Any other failure means that Fly has not taken it.
func (c *Client) SetSecret(ctx context.Context, app, variable string, value credential.Secret) (AppSecret, error) {
	if err := checkName(app); err != nil {
		return AppSecret{}, err
	}
	revealed := value.Reveal()
	body, err := json.Marshal(flyapi.UpdateAppSecretsRequest{Values: map[string]*string{variable: &revealed}})
	if err != nil {
		return AppSecret{}, failure.New(failure.Stall, reasons.Rejected, "the value cannot be sent as JSON")
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timing.FlyWrite)
		defer cancel()
	}
	lost := false
	for tries := 0; ; tries++ {
		secret, err := c.postSecret(ctx, app, variable, body)
		switch {
		case err == nil:
			return secret, nil
		case failure.ClassOf(err) == failure.Unknown:
			lost = true
		case !lost:
			return AppSecret{}, err
		case !passes(failure.ReasonOf(err)):
			return AppSecret{}, lostSecret(app, variable)
		}
		if !sleep(ctx, backoff(tries)) {
			return AppSecret{}, lostSecret(app, variable)
		}
	}
}

// passes says whether a refusal may end while SetSecret still waits.
func passes(reason failure.Reason) bool {
	return reason == reasons.RateLimited || reason.Unreachable() || reason == reasons.Busy
}

func lostSecret(app, variable string) error {
	return failure.New(failure.Unknown, reasons.OutcomeUnknown,
		"Fly's answer was lost; app "+app+" may or may not hold a new "+variable)
}

// backoff grows from a quarter of a second to two, half of it random.
func backoff(tries int) time.Duration {
	ceiling := min(250*time.Millisecond<<min(tries, 3), 2*time.Second)
	return ceiling/2 + rand.N(ceiling/2) //nolint:gosec // spreads retries, guards nothing
}

func (c *Client) postSecret(ctx context.Context, app, variable string, body []byte) (AppSecret, error) {
	r := request{
		action: "set secrets", id: app, method: http.MethodPost, path: "/apps/" + app + "/secrets",
		body: body, timeout: timing.FlyAttempt,
	}
	answer := secretsAnswer{Secrets: oneSecret{variable: variable}}
	if err := c.call(ctx, r, &answer); err != nil {
		return AppSecret{}, err
	}
	secret := AppSecret{Version: answer.Version, Digest: answer.Secrets.digest}
	if secret.Version == 0 {
		return AppSecret{}, answerFailure(r)
	}
	if secret.Digest != "" {
		return secret, nil
	}
	// An answer need not list what it set.
	digest, err := c.SecretDigest(ctx, app, variable)
	if err != nil || digest == "" {
		return AppSecret{}, answerFailure(r)
	}
	return AppSecret{Digest: digest, Version: secret.Version}, nil
}

// SecretDigest reads the digest of an app secret; "" = not set.
func (c *Client) SecretDigest(ctx context.Context, app, variable string) (string, error) {
	secret, err := c.secret(ctx, app, variable)
	return secret.digest, err
}

// secret reads one of the app's secrets, without its value; the zero digest = not set.
func (c *Client) secret(ctx context.Context, app, variable string) (oneSecret, error) {
	if err := checkName(app); err != nil {
		return oneSecret{}, err
	}
	r := request{
		action: "list secrets", id: app, method: http.MethodGet, path: "/apps/" + app + "/secrets", timeout: readTimeout,
	}
	answer := secretsAnswer{Secrets: oneSecret{variable: variable}}
	err := c.call(ctx, r, &answer)
	return answer.Secrets, err
}

// secretsAnswer is Fly's answer to a list of secrets, and to secrets that were set.
type secretsAnswer struct {
	Secrets oneSecret `json:"secrets"`
	Version uint64    `json:"version"`
}

// oneSecret is the one of a list that is named variable; digest "" = none is.
type oneSecret struct {
	variable, digest, updatedAt string
}

// UnmarshalJSON keeps one of any number of secrets. Two of the name are an error: only one of them can be the app's.
func (s *oneSecret) UnmarshalJSON(array []byte) error {
	*s = oneSecret{variable: s.variable}
	if bytes.Equal(array, []byte("null")) {
		return nil
	}
	found := false
	return elements(array, func(value []byte) error {
		var secret flyapi.AppSecret
		if err := json.Unmarshal(value, &secret); err != nil || secret.Name != s.variable {
			return err
		}
		if found || (secret.Digest != "" && !opaque.MatchString(secret.Digest)) {
			return errUnreadable
		}
		found, s.digest = true, secret.Digest
		if secret.UpdatedAt != nil && len(*secret.UpdatedAt) <= maxText {
			s.updatedAt = *secret.UpdatedAt
		}
		return nil
	})
}
