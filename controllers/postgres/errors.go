package postgres

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/network"
)

// verdict is what an SQLSTATE means for the rotation. An empty detail stands for the server's own message, which is used for the
// class TC only: those messages are written in our migrations.
type verdict struct {
	class  failure.Class
	reason failure.Reason
	detail string
}

const installHint = "run manager install-sql"

// verdicts has whole SQLSTATEs, and classes (their first two characters) for the rest of a class.
// Source: PostgreSQL documentation, appendix A; TC is our own class, raised by the functions in migrations/.
var verdicts = map[string]verdict{
	"TC001": {failure.Retry, reasons.Unexpected, ""},        // isolation level
	"TC002": {failure.Retry, reasons.Superseded, ""},        // a step that the ledger does not allow
	"TC003": {failure.Retry, reasons.Unexpected, ""},        // commit of a staged row
	"TC004": {failure.Retry, reasons.Unexpected, ""},        // removal of a row
	"TC005": {failure.Wait, reasons.LedgerOutdated, ""},     // a function on the management table was changed
	"TC010": {failure.Wait, reasons.TenantNotFound, ""},     // no row in the management table
	"TC011": {failure.Wait, reasons.RoleNotFound, ""},       // no such role
	"TC012": {failure.Stall, reasons.RoleNotAllowed, ""},    // the role guard
	"TC013": {failure.Stall, reasons.NameConflict, ""},      // role or app is another tenant's
	"TC014": {failure.Stall, reasons.OwnershipConflict, ""}, // another object holds the tenant
	"TC017": {failure.Retry, reasons.Superseded, ""},        // the row is not in the state that was read before
	"TC018": {failure.Retry, reasons.Unexpected, ""},        // not a verifier
	"TC019": {failure.Retry, reasons.Rejected, ""},          // the management table refused the hash
	"TC020": {failure.Wait, reasons.LedgerOutdated, ""},     // no settings
	"TC022": {failure.Wait, reasons.Busy, ""},               // a prepared transaction holds the role
	"TC023": {failure.Stall, reasons.NameConflict, ""},      // installation: another ledger of the server has the roles
	"TC024": {failure.Retry, reasons.Rejected, ""},          // code on the management table left a cursor
	"TC025": {failure.Retry, reasons.PermissionDenied, ""},  // not a statement of the operator's own
	"TC026": {failure.Retry, reasons.Rejected, ""},          // a revision that cannot be
	"TC021": {failure.Stall, reasons.RoleNotAllowed, ""},    // installation: the operator's login cannot be used
	"TC028": {failure.Stall, reasons.Rejected, ""},          // installation: the management table, or a newer ledger, is in its way
	"08":    {failure.Retry, reasons.ConnectionFailed, "PostgreSQL answered, and could not reach the server of a foreign table."},
	"08P01": {failure.Retry, reasons.ConnectionFailed, "A pooler before PostgreSQL (PgBouncer answers so) refused the operator's login or its settings."},
	"08007": {failure.Unknown, reasons.OutcomeUnknown, "PostgreSQL did not say whether the transaction was committed."},
	"22":    {failure.Retry, reasons.Rejected, "PostgreSQL refused a value."},
	"23":    {failure.Retry, reasons.Rejected, "A constraint of the database refused the change."},
	"25006": {failure.Retry, reasons.ConnectionFailed, "The server is read-only: it is a standby, or in recovery."},
	"28":    {failure.Retry, reasons.AuthenticationFailed, "PostgreSQL (pg_hba.conf) does not accept the operator's login from here."},
	"28P01": {failure.Retry, reasons.AuthenticationFailed, "PostgreSQL refused the operator's password."},
	"3D000": {failure.Retry, reasons.ConnectionFailed, "The database of the login's URL does not exist."},
	"3F000": {failure.Wait, reasons.LedgerOutdated, "The database has no ledger: " + installHint + "."},
	"40":    {failure.Retry, reasons.Busy, "The transaction met another one and was rolled back."},
	"40003": {failure.Unknown, reasons.OutcomeUnknown, "PostgreSQL did not say whether the statement was completed."},
	"42501": {failure.Retry, reasons.PermissionDenied, "The operator's login may not do this: " + installHint + " for it."},
	"42883": {failure.Wait, reasons.LedgerOutdated, "The ledger is older than this program: " + installHint + "."},
	"42P01": {failure.Wait, reasons.LedgerOutdated, "The ledger or the management table is not what this program needs: " + installHint + "."},
	"42703": {failure.Wait, reasons.LedgerOutdated, "The management table lacks a column that the ledger was installed with: " + installHint + "."},
	"53":    {failure.Retry, reasons.ConnectionFailed, "PostgreSQL has no connections, memory or disk left."},
	"55P03": {failure.Unknown, reasons.Busy, "The lock was not granted within its time: somebody else works on the tenant."},
	"57":    {failure.Retry, reasons.ConnectionFailed, "PostgreSQL is shutting down or starting up."},
	"57014": {failure.Retry, reasons.Busy, "PostgreSQL gave the statement up after its time limit."},
}

// translate classes what pgx returned. The result holds nothing of the driver's text.
func translate(err error) *failure.Error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return judge(answer)
	}
	if tooMuch(err) {
		return failure.New(failure.Retry, reasons.ConnectionFailed, "PostgreSQL sent more than this program accepts in answer to one call.")
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return failure.New(failure.Retry, reasons.ConnectionFailed, "PostgreSQL did not answer in time, or the call was given up.")
	}
	if errors.Is(err, pgconn.ErrStandbyConnection) {
		return failure.New(failure.Retry, reasons.ConnectionFailed, verdicts["25006"].detail)
	}
	var connecting *pgconn.ConnectError
	if errors.As(err, &connecting) {
		return unreached(connecting)
	}
	return failure.New(failure.Retry, reasons.ConnectionFailed, "The connection to PostgreSQL was lost.")
}

// otherMethod is what the driver says where the server asks for another authentication than the one that is accepted; it has no type for it.
var otherMethod = regexp.MustCompile(`server requested ([a-z0-9-]+) authentication`)

// unreached says why there is no connection, where no server has answered with an SQLSTATE.
func unreached(err error) *failure.Error {
	const accepted = ", and only scram-sha-256 is accepted: it alone proves the password, and does not tell it to the server."
	if asked := otherMethod.FindStringSubmatch(err.Error()); asked != nil {
		return failure.New(failure.Retry, reasons.MethodNotAccepted, "PostgreSQL (pg_hba.conf), or a pooler before it, asks for the authentication "+asked[1]+accepted)
	}
	if strings.Contains(err.Error(), "server did not complete authentication") {
		return failure.New(failure.Retry, reasons.MethodNotAccepted,
			"PostgreSQL (pg_hba.conf), or a pooler before it, lets the login in without its password (trust, peer or a certificate)"+accepted)
	}
	if strings.Contains(err.Error(), "server refused TLS connection") {
		return failure.New(failure.Retry, reasons.ConnectionFailed, "PostgreSQL offers no TLS, and sslmode of the login's URL asks for it (verify-full where it says nothing).")
	}
	reason, clause := network.Explain(err)
	if clause == "" {
		return failure.New(failure.Retry, reason, "PostgreSQL cannot be reached (address or TLS).")
	}
	return failure.New(failure.Retry, reason, "PostgreSQL cannot be reached: "+clause+".")
}

func judge(answer *pgconn.PgError) *failure.Error {
	v, known := verdicts[answer.Code]
	if !known && len(answer.Code) == 5 {
		v, known = verdicts[answer.Code[:2]]
	}
	if !known {
		return failure.New(failure.Retry, reasons.Unexpected, "PostgreSQL answered with SQLSTATE "+printable(answer.Code)+".")
	}
	if v.detail == "" {
		return failure.New(v.class, v.reason, shown(answer.Message))
	}
	return failure.New(v.class, v.reason, v.detail)
}

// translateCommit classes the answer to COMMIT: unless the server itself said no, it may have been committed.
func translateCommit(err error) *failure.Error {
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return failure.New(failure.Retry, reasons.Unexpected, "The transaction had failed and was rolled back.")
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == "25006" { // read_only_sql_transaction, in one that was sealed
		return failure.New(failure.Retry, reasons.Rejected, "Code that the management table has put off until COMMIT tried to change something, and was refused.")
	}
	if errors.As(err, &answer) && answer.SeverityUnlocalized == "ERROR" { // FATAL may come after the commit, while it waits for a standby
		return judge(answer)
	}
	return failure.New(failure.Unknown, reasons.OutcomeUnknown, "The answer to COMMIT was lost.")
}

// serverMessage is the server's own text, "" where the error is not the server's. Only for statements that hold no secret.
func serverMessage(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Message
	}
	return ""
}

// printable keeps what an SQLSTATE is made of.
func printable(code string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, code[:min(len(code), 5)])
}

// shown is what of a server's text goes into a status: a trigger's author can raise an error of our class with any text.
func shown(text string) string {
	const longest = 1000 // bytes
	return failure.Printable(text, longest)
}
