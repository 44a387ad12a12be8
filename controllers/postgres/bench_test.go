package postgres

import (
	"context"
	"sync"
	"testing"

	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
)

// BenchmarkRotation is one whole rotation (open, transaction, complete) of one of 64 tenants, by 16 connections.
func BenchmarkRotation(b *testing.B) {
	for _, version := range versions {
		b.Run(version, func(b *testing.B) { benchmarkRotation(b, version) })
	}
}

func benchmarkRotation(b *testing.B, version string) {
	f := newFixture(b, version)
	ids := make(chan string, 64)
	for range cap(ids) {
		id, _ := f.adoptedTenant()
		ids <- id
	}
	b.ResetTimer()
	var workers sync.WaitGroup
	var left = make(chan struct{}, b.N)
	for range b.N {
		left <- struct{}{}
	}
	close(left)
	for range 16 {
		workers.Go(func() {
			for range left {
				id := <-ids
				if err := f.rotateAndComplete(b.Context(), id); err != nil {
					b.Error(err)
				}
				ids <- id
			}
		})
	}
	workers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rotations/s")
}

func (f *fixture) rotateAndComplete(ctx context.Context, id string) error {
	verifier, err := credential.Verifier(credential.NewPassword())
	if err != nil {
		return err
	}
	seen, err := f.server.Observe(ctx, []string{id})
	if err != nil {
		return err
	}
	opened, err := f.server.OpenRotation(ctx, Opening{TenantID: id, UID: "uid", Generation: 1, Cause: "Generation", StatedManager: "benchmark", After: newestOf(seen[0])})
	if err != nil {
		return err
	}
	err = f.server.InTransaction(ctx, id, "uid", func(ctx context.Context, tx Transaction) error {
		if err := tx.Stage(ctx, Staging{Revision: opened.Revision, Verifier: verifier, LoginChecked: true}); err != nil {
			return err
		}
		return tx.Commit(ctx, FlyWrite{App: "app", Version: 1, Digest: "digest"})
	})
	if err != nil {
		return err
	}
	return f.complete(ctx, id, "uid", opened.Revision)
}
