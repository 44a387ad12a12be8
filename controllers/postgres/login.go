package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// VerifyLogin logs in once as the tenant, by SCRAM, at the host of the operator's URL and with its TLS settings, sees that the session acts
// as the tenant's role, and leaves again. Retry/VerificationFailed: the server answered and refused, or the session acts as another role.
// Retry/ConnectionFailed: it did not answer, which proves nothing.
func (s *Server) VerifyLogin(ctx context.Context, l Login) error {
	config := s.pool.Config().ConnConfig.Copy()
	config.User, config.Database, config.Password = l.Name, l.Database, l.Password
	config.RequireAuth = "scram-sha-256"
	config.RuntimeParams = map[string]string{"application_name": applicationName}
	connection, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return translateLogin(err)
	}
	defer func() {
		closeCtx, cancel := detached(ctx)
		defer cancel()
		_ = connection.Close(closeCtx) // the login is proved; how the session ends does not matter
	}()
	if l.Name == l.Role {
		return nil
	}
	var actsAs string
	if err := connection.QueryRow(ctx, "select current_user").Scan(&actsAs); err != nil {
		return translate(err)
	}
	if actsAs != l.Role {
		return failure.New(failure.Retry, failure.VerificationFailed, "Its sessions act as role "+actsAs+", not as "+l.Role+".")
	}
	return nil
}

// Login is one attempt to log in as a tenant.
type Login struct {
	// Name is who logs in: Role, or its second login.
	Name, Role string
	// Database is the tenant's.
	Database, Password string
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
