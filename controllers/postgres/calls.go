package postgres

import (
	"context"
	"io"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

var errNotYet = failure.New(failure.Retry, failure.Unexpected, "not there yet")

// Survey reads what the server says about itself. A server without a ledger is Wait/LedgerOutdated.
func (s *Server) Survey(ctx context.Context) (Survey, error) { return Survey{}, errNotYet }

// Observe reads tenants, one per ID and in the order asked; an ID that the management table lacks is reported with Found false.
func (s *Server) Observe(ctx context.Context, tenantIDs []string) ([]Tenant, error) {
	return nil, errNotYet
}

// Adopt makes or moves the claim on a tenant.
func (s *Server) Adopt(ctx context.Context, a Adoption) (Claim, error) { return Claim{}, errNotYet }

// OpenRotation records the intent to rotate. It returns the open row that exists already.
func (s *Server) OpenRotation(ctx context.Context, o Opening) (Rotation, error) {
	return Rotation{}, errNotYet
}

// Complete marks a committed rotation as completed. Doing it twice is the same as once.
func (s *Server) Complete(ctx context.Context, tenantID, uid string, revision int64) error {
	return errNotYet
}

// Discard gives up an open rotation.
func (s *Server) Discard(ctx context.Context, tenantID, uid string, revision int64) error {
	return errNotYet
}

// VerifyLogin logs in as the tenant at the operator's host.
func (s *Server) VerifyLogin(ctx context.Context, role, database, password string) error {
	return errNotYet
}

// Transaction is the stretch under the tenant's lock.
type Transaction struct{ tenant Tenant }

// InTransaction runs f under the tenant's lock.
func (s *Server) InTransaction(ctx context.Context, tenantID, uid string, f func(context.Context, *Transaction) error) error {
	return errNotYet
}

// Tenant is what was read under the lock.
func (t *Transaction) Tenant() Tenant { return t.tenant }

// Stage sets the role's verifier and the stored hash.
func (t *Transaction) Stage(ctx context.Context, revision int64, verifier, deliveryDigest string) error {
	return errNotYet
}

// Commit records Fly's answer.
func (t *Transaction) Commit(ctx context.Context, w FlyWrite) error { return errNotYet }

// Install brings the ledger up to date with a DBA's URL.
func Install(ctx context.Context, dbaURL string, i Installation) error { return errNotYet }

// Script writes the SQL that Install would run.
func Script(w io.Writer, i Installation) error { return errNotYet }
