package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// SetExternalAccess makes the tenant's role a member of the group tenant_credentials_external, or no longer one, and has the ledger note it. Twice is the
// same as once. A role that the tenant had before is no member afterwards. An ended membership is unswept: SweepExternalAccess. To enable, the role has to pass
// the guard; only Stall/RoleNotAllowed prevents an end, where another role has granted the membership. Stall/OwnershipConflict:
// another object holds the tenant. Wait/LedgerOutdated: the server has no such group.
func (s *Server) SetExternalAccess(ctx context.Context, tenantID, uid string, enabled bool) (ExternalAccess, error) {
	return s.externalAccess(ctx, tenantID, uid, "select tenant_credentials.set_external_access($1::text::uuid, $2, $3)", enabled)
}

// SweepExternalAccess ends the external sessions that a membership which has ended had let in. It is called again until nothing is unswept, which is
// not before every login that was in progress at the end of the membership has timed out (authentication_timeout). Where nothing is, it changes
// nothing.
func (s *Server) SweepExternalAccess(ctx context.Context, tenantID, uid string) (ExternalAccess, error) {
	return s.externalAccess(ctx, tenantID, uid, "select tenant_credentials.sweep_external_access($1::text::uuid, $2)")
}

// externalAccess calls a function that may read the management table, so the connection is closed.
func (s *Server) externalAccess(ctx context.Context, tenantID, uid, sql string, arguments ...any) (ExternalAccess, error) {
	var row externalRow
	err := s.unblocked(ctx, tenantID, uid, func(ctx context.Context, connection *pgxpool.Conn) error {
		defer discard(ctx, connection)
		return connection.QueryRow(ctx, sql, append([]any{tenantID, uid}, arguments...)...).Scan(&row)
	})
	return row.access(), err
}

// externalRow is what the SQL function external_json writes.
type externalRow struct {
	Member  bool `json:"member"`
	Unended bool `json:"unended"`
	Unswept bool `json:"unswept"`
	Noted   bool `json:"noted"`
}

func (r externalRow) access() ExternalAccess { return ExternalAccess(r) }
