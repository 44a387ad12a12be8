package postgres

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/network"
)

// verdict is what an SQLSTATE means for the rotation. For the class TC, whose errors our migrations raise, detail is said where the DETAIL of the error
// says no more, or is none that those functions write (worded). No text of the server's is ever said.
type verdict struct {
	class  failure.Class
	reason failure.Reason
	detail string
}

const (
	installHint = "run manager install-sql"
	// ledgerClass is that of the SQLSTATEs of our own functions.
	ledgerClass = "TC"
)

// verdicts has whole SQLSTATEs, and classes (their first two characters) for the rest of a class.
// Source: PostgreSQL documentation, appendix A; TC is our own class, raised by the functions in migrations/.
var verdicts = map[string]verdict{
	"TC001": {failure.Retry, reasons.Unexpected, "The isolation level has to be read committed."},
	"TC002": {failure.Retry, reasons.Superseded, "The ledger does not allow this step of a rotation."},
	"TC003": {failure.Retry, reasons.Unexpected, "A staged rotation cannot be committed."},
	"TC004": {failure.Retry, reasons.Unexpected, "Rows of the ledger are never deleted."},
	"TC005": {failure.Wait, reasons.LedgerOutdated, "A function on the management table has been changed: install again."},
	"TC010": {failure.Wait, reasons.TenantNotFound, "The management table has no row for the tenant."},
	"TC011": {failure.Wait, reasons.RoleNotFound, "The tenant's role does not exist."},
	"TC012": {failure.Stall, reasons.RoleNotAllowed, "The tenant's role is not allowed."},
	"TC013": {failure.Stall, reasons.NameConflict, "Another tenant has the role or the app already."},
	"TC014": {failure.Stall, reasons.OwnershipConflict, "Another object holds the tenant, or none does."},
	"TC017": {failure.Retry, reasons.Superseded, "The ledger is not in the state that was read before."},
	"TC018": {failure.Retry, reasons.Unexpected, "The value is not a SCRAM-SHA-256 verifier."},
	"TC019": {failure.Retry, reasons.Rejected, "The management table refused the new hash."},
	"TC020": {failure.Wait, reasons.LedgerOutdated, "The ledger is not configured: " + installHint + "."},
	"TC022": {failure.Wait, reasons.Busy, "A prepared transaction holds the tenant's role."},
	"TC023": {failure.Stall, reasons.NameConflict, "Another ledger of this server has the roles."},
	"TC024": {failure.Retry, reasons.Rejected, "Code on the management table has left a cursor WITH HOLD, which would run with the rights of the operator's login."},
	"TC025": {failure.Retry, reasons.PermissionDenied, "Only a statement of the operator's own may call this."},
	"TC026": {failure.Retry, reasons.Rejected, "The revision is not one that a status can have seen."},
	"TC021": {failure.Stall, reasons.RoleNotAllowed, "A login of the installation cannot be used."},
	"TC028": {failure.Stall, reasons.Rejected, "A rotation would fail, or the ledger is newer than this program."},
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
	"55P03": {failure.Unknown, reasons.Busy, "The lock was not granted within its time: another client works on the tenant."},
	"57":    {failure.Retry, reasons.ConnectionFailed, "PostgreSQL is shutting down or starting up."},
	"57014": {failure.Retry, reasons.Busy, "PostgreSQL gave the statement up after its time limit."},
}

// translate classes what pgx returned; what is classed stays as it is. The result holds nothing of the driver's text.
func translate(err error) *failure.Error {
	if classed := failure.As(err); classed != nil {
		return classed
	}
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
	if strings.HasPrefix(answer.Code, ledgerClass) {
		if sentence, ok := worded(answer.Code, []byte(answer.Detail)); ok {
			return failure.New(v.class, v.reason, sentence)
		}
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

// installCodes are what an installation raises, with a sentence: those functions are psql's, too.
var installCodes = []string{"TC021", "TC023", "TC028"}

// serverMessage is the server's own text, "" where the error is not the server's, or its text is none for people. Only for statements that hold no
// secret, and for the DBA's terminal.
func serverMessage(err error) string {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || strings.HasPrefix(answer.Code, ledgerClass) && !slices.Contains(installCodes, answer.Code) {
		return ""
	}
	return shown(answer.Message)
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

// shown is what of a server's text goes into a status.
func shown(text string) string {
	const longest = 1000 // bytes
	return failure.Printable(text, longest)
}
