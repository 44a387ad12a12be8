package fly

import (
	"context"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Client talks to the Machines API with one token. It is safe for concurrent use.
type Client struct{}

var errNotYet = failure.New(failure.Retry, failure.Unexpected, "not built yet")

// Open checks the token's shape and the URL; it does no I/O.
func Open(Config) (*Client, error) { return nil, errNotYet }

// App reads an app.
func (c *Client) App(ctx context.Context, name string) (App, error) { return App{}, errNotYet }

// SetSecret sets one app secret.
func (c *Client) SetSecret(ctx context.Context, app, variable, value string) (Secret, error) {
	return Secret{}, errNotYet
}

// SecretDigest reads the digest of an app secret; "" = not set.
func (c *Client) SecretDigest(ctx context.Context, app, variable string) (string, error) {
	return "", errNotYet
}

// Probe says, before anything is committed, whether a roll-out could begin.
func (c *Client) Probe(ctx context.Context, app, variable string) (Progress, error) {
	return Progress{}, errNotYet
}

// Advance makes one pass of a roll-out.
func (c *Client) Advance(ctx context.Context, r RollOut) (Progress, error) {
	return Progress{}, errNotYet
}
