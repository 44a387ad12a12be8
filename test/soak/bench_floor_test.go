package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

const (
	floorUID = "floor"
	atOnce   = 16 // as many as the operator has workers
)

// floor makes the calls of a rotation from plain goroutines, without Kubernetes: nothing is read that a rotation does not need, nothing reported.
type floor struct {
	postgres *postgres.Server
	fly      *fly.Client
	port     int32
	first    int // the tenants' numbers begin here
	tenants  []tenant
}

// newFloor has the calls made with the operator's own login and token.
func (b *bench) newFloor(t *testing.T) *floor {
	t.Helper()
	server, err := postgres.Connect(t.Context(), postgres.Config{URL: b.secret(t, "postgres-"+environment, "url"), MaxConnections: maxConnections})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	client, err := fly.Open(fly.Config{Token: b.secret(t, "fly-"+environment, "token"), URL: b.api, Organization: "example-" + environment})
	require.NoError(t, err)
	port, err := strconv.ParseInt(os.Getenv("PGPORT"), 10, 32)
	require.NoError(t, err)
	first := len(b.tenants) - benchTenants
	f := &floor{postgres: server, fly: client, port: int32(port), first: first, tenants: b.tenants[first:]}
	for i, x := range f.tenants {
		_, err := server.Adopt(t.Context(), postgres.Adoption{TenantID: x.id, UID: floorUID, Cluster: floorUID, Environment: environment,
			Namespace: floorUID, Name: fmt.Sprintf("floor-%d", i)})
		require.NoError(t, err)
	}
	return f
}

func (b *bench) secret(t *testing.T, name, key string) credential.Secret {
	t.Helper()
	var s corev1.Secret
	require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Namespace: "tcred-system", Name: name}, &s))
	return credential.SecretOf(string(s.Data[key]))
}

// rate is how many tenants a second are rotated, each of them once.
func (f *floor) rate(t *testing.T, rotate func(context.Context, int) error) float64 {
	t.Helper()
	began := time.Now()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(atOnce)
	for i := range f.tenants {
		group.Go(func() error { return rotate(ctx, i) })
	}
	require.NoError(t, group.Wait())
	return float64(len(f.tenants)) / time.Since(began).Seconds()
}

// rotate is a rotation: the calls of the SQL API, a login with the new password, and those of Fly.
func (f *floor) rotate(ctx context.Context, i int) error { return f.rotation(ctx, i, true) }

// rotateSQL is a rotation's calls of the SQL API alone.
func (f *floor) rotateSQL(ctx context.Context, i int) error { return f.rotation(ctx, i, false) }

func (f *floor) rotation(ctx context.Context, i int, whole bool) error {
	x := f.tenants[i]
	password := credential.NewPassword()
	verifier, err := credential.Verifier(password)
	if err != nil {
		return err
	}
	seen, err := f.postgres.Observe(ctx, []string{x.id})
	if err != nil {
		return err
	}
	var app fly.App
	var before fly.Progress
	if whole {
		if app, err = f.fly.App(ctx, x.app()); err != nil {
			return err
		}
		if before, err = f.fly.Probe(ctx, app, variable); err != nil {
			return err
		}
	}
	opening := postgres.Opening{TenantID: x.id, UID: floorUID, Generation: 1, Cause: "GenerationRaised", StatedManager: floorUID}
	if last := seen[0].Last; last != nil {
		opening.After, opening.Generation = last.Revision, last.Revision+1
	}
	opened, err := f.postgres.OpenRotation(ctx, opening)
	if err != nil {
		return err
	}
	destination := credential.Destination{Scheme: "postgresql", Host: "127.0.0.1", Port: f.port, Role: x.role(), Database: database(f.first + i), Variable: variable}
	var write postgres.FlyWrite
	err = f.postgres.InTransaction(ctx, x.id, floorUID, func(ctx context.Context, tx postgres.Transaction) error {
		if err := tx.Stage(ctx, postgres.Staging{Revision: opened.Revision, Verifier: verifier, DeliveryDigest: destination.Digest(), SessionPolicy: postgres.SessionsKept}); err != nil {
			return err
		}
		if whole {
			secret, err := f.fly.SetSecret(ctx, x.app(), variable, destination.URL(x.role(), password))
			if err != nil {
				return err
			}
			write = postgres.FlyWrite{App: x.app(), Version: secret.Version, Digest: secret.Digest}
		}
		return tx.Commit(ctx, write)
	})
	if err != nil {
		return err
	}
	if whole {
		login := postgres.Login{TenantID: x.id, UID: floorUID, Name: x.role(), Role: x.role(), Database: database(f.first + i), Password: password}
		if err := f.postgres.VerifyLogin(ctx, login); err != nil {
			return err
		}
	}
	if err := f.postgres.LoginChecked(ctx, x.id, floorUID, opened.Revision); err != nil {
		return err
	}
	if whole {
		if err := f.deliver(ctx, before, fly.Rollout{App: app, Variable: variable, Revision: opened.Revision, SecretVersion: write.Version}); err != nil {
			return err
		}
	}
	_, err = f.postgres.Complete(ctx, x.id, floorUID, opened.Revision)
	return err
}

// deliver moves the Machines, or makes sure that none was made meanwhile.
func (f *floor) deliver(ctx context.Context, before fly.Progress, rollout fly.Rollout) error {
	if before.Total == 0 {
		_, err := f.fly.Instances(ctx, rollout.App)
		return err
	}
	for {
		progress, err := f.fly.Advance(ctx, rollout)
		if err != nil {
			return err
		}
		if progress.Done() {
			break
		}
	}
	if warning := f.fly.RecordRelease(ctx, rollout, "GenerationRaised"); warning != "" {
		return errors.New(warning)
	}
	return nil
}
