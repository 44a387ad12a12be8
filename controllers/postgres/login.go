package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// VerifyLogin logs in once as the tenant, by SCRAM, at the host of the operator's URL and with its TLS settings, and leaves again.
// Retry/VerificationFailed: the server answered and refused. Retry/ConnectionFailed: it did not answer, which proves nothing.
func (s *Server) VerifyLogin(ctx context.Context, role, database, password string) error {
	config := s.pool.Config().ConnConfig.Copy()
	config.User, config.Database, config.Password = role, database, password
	config.RequireAuth = "scram-sha-256"
	config.RuntimeParams = map[string]string{"application_name": applicationName}
	connection, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return translateLogin(err)
	}
	closeCtx, cancel := detached(ctx)
	defer cancel()
	_ = connection.Close(closeCtx) // the login is proved; how the session ends does not matter
	return nil
}

// loginRefusals are the SQLSTATEs by which a server turns down the tenant, and not the operator.
var loginRefusals = map[string]string{
	"28P01": "PostgreSQL refused the tenant's new password.",
	"28000": "PostgreSQL (pg_hba.conf) does not accept the tenant's login from here, or the role may not log in.",
	"3D000": "The tenant's database does not exist.",
	"42501": "The tenant may not connect to its database.",
}

func translateLogin(err error) *failure.Error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		if detail, known := loginRefusals[answer.Code]; known {
			return failure.New(failure.Retry, failure.VerificationFailed, detail)
		}
	}
	return translate(err)
}
