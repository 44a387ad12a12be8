package postgres

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/timing"
)

// loginTimeout bounds an attempt to log in as a tenant, for each address of the server.
const loginTimeout = 5 * time.Second

// Login is one attempt to log in as a tenant.
type Login struct {
	// TenantID and UID are the tenant's and its holder's, so that a failure can name the tenant's settings; "" = it names none.
	TenantID, UID string
	// Name is the login: Role, or its second login.
	Name, Role string
	// Database is the tenant's.
	Database string
	Password credential.Secret
}

// VerifyLogin logs in once as the tenant, by SCRAM, at the host of the operator's URL and with its TLS settings, sees that the session acts
// as the tenant's role, and leaves again. nil: that works, or the server had let the login in and then had no connection left for it.
// Retry/VerificationFailed: the server, or a pooler before it, answered and refused, the session acts as another role, or the tenant's
// settings make the server send too much. Retry/ConnectionFailed: it could not be asked, which proves nothing.
//
// The session is the tenant's: any object that it looks up by an unqualified name may be the tenant's own, and so are its settings. So
// nothing but a keyword is asked of it, and its answers are bounded.
func (s *Server) VerifyLogin(ctx context.Context, l Login) error {
	var a attempt
	err := a.logIn(ctx, s.pool.Config().ConnConfig.Config.Copy(), l)
	a.end()
	refusal := a.judge(err, l)
	if refusal == nil {
		return nil
	}
	if a.answered() && !refusedBeforeSettings(err) {
		refusal.Detail += s.describeSettings(ctx, l)
	}
	return refusal
}

// attempt is what an attempt to log in has opened.
type attempt struct {
	mu       sync.Mutex
	ended    bool
	meters   []*meter
	accepted atomic.Bool // the password
}

func (a *attempt) logIn(ctx context.Context, config *pgconn.Config, l Login) error {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout*time.Duration(1+len(config.Fallbacks)))
	defer cancel()
	config.User, config.Database, config.Password = l.Name, l.Database, l.Password.Reveal()
	config.RequireAuth = "scram-sha-256"
	// A pooler refuses most other parameters. These go before those of the role and the database.
	config.RuntimeParams = map[string]string{"application_name": applicationName, "client_encoding": "UTF8"}
	config.ConnectTimeout = min(config.ConnectTimeout, loginTimeout)
	config.DialFunc = a.dial(config.DialFunc)
	config.MaxProtocolMessageBodyLen = loginBytes
	config.BuildFrontend = a.frontend
	config.ValidateConnect = refuseStandby
	connection, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close(ctx) }() // the login is proved; how the session ends does not matter
	if l.Name == l.Role {
		return nil
	}
	actsAs, err := askOne(ctx, connection, "select current_user") // a keyword: no object of the tenant's can stand in for it
	if err != nil {
		return err
	}
	if actsAs != l.Role {
		return failure.New(failure.Retry, reasons.VerificationFailed, "Its sessions act as role "+Identifier(actsAs)+", not as "+Identifier(l.Role)+".")
	}
	return nil
}

// dial opens connections that are bounded, and none once the attempt has ended: the driver goes on in the background after a failure.
func (a *attempt) dial(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.ended {
			_ = connection.Close()
			return nil, net.ErrClosed
		}
		m := newMeter(connection, loginBytes)
		a.meters = append(a.meters, m)
		return m, nil
	}
}

// frontend is one that notices when the server accepts the password: a later refusal is not of the password.
func (a *attempt) frontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return pgproto3.NewFrontend(&statusReader{r: r, accepted: func() { a.accepted.Store(true) }}, w)
}

// answered says whether the server has sent anything.
func (a *attempt) answered() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.meters {
		if m.received.Load() > 0 {
			return true
		}
	}
	return false
}

// end closes every connection without waiting for the server.
func (a *attempt) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	for _, m := range a.meters {
		_ = m.Close()
	}
}

// refuseStandby goes by what the server reports at every login: asked in the session, pg_is_in_recovery may be a function of the tenant's. A
// pooler may not report it, and then nothing is known against the server.
func refuseStandby(_ context.Context, connection *pgconn.PgConn) error {
	if connection.ParameterStatus("in_hot_standby") == "on" {
		return pgconn.ErrStandbyConnection
	}
	return nil
}

// loginRefusals are what a server turns down of the tenant, and not of the operator, by SQLSTATE.
var loginRefusals = map[string]string{
	"28P01": "PostgreSQL refused the tenant's new password.",
	"28000": "PostgreSQL (pg_hba.conf) does not accept the tenant's login from here, or the role may not log in.",
	"3D000": "The tenant's database does not exist.",
	"42501": "The tenant may not connect to its database.",
	"55000": "The tenant's database accepts no connections.",
	"08P01": "A pooler before PostgreSQL (PgBouncer answers so) refused the tenant's login: it may still have the previous verifier.",
}

// judge classes how the attempt ended; nil = the login is proved.
func (a *attempt) judge(err error, l Login) *failure.Error {
	var answer *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case failure.As(err) != nil:
		return failure.As(err)
	case errors.Is(err, errNoAnswer):
		return failure.New(failure.Retry, reasons.VerificationFailed, "The server's answer at the tenant's login cannot be read.")
	case tooMuch(err):
		return failure.New(failure.Retry, reasons.VerificationFailed, "The server sends more than 256 KiB at the tenant's login.")
	case !errors.As(err, &answer):
		return translate(err)
	case answer.Code == "53300" && a.accepted.Load() && l.Name == l.Role: // too_many_connections: of the role, of the database, or those not reserved
		return nil
	case a.unasked(answer.Code):
		return failure.New(failure.Retry, reasons.ConnectionFailed, "The tenant's login could not be tried: "+described(answer.Code)+".")
	default:
		return failure.New(failure.Retry, reasons.VerificationFailed, a.refusal(answer.Code))
	}
}

// unasked says that the server has not looked at the login: it lacks resources (class 53), is starting, stopping or recovering (57P01 to 57P03), has
// ended a session that was idle (57P05), or has given up before it had the password (57014, after authentication_timeout). After that, 57014 is
// the tenant's own statement_timeout.
func (a *attempt) unasked(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", "57P05":
		return true
	case "57014":
		return !a.accepted.Load()
	default:
		return strings.HasPrefix(code, "53")
	}
}

// refusal says what the server answered, and after what.
func (a *attempt) refusal(code string) string {
	if detail, known := loginRefusals[code]; known {
		return detail
	}
	if a.accepted.Load() {
		return "The tenant's password is accepted, and then its session ends: " + described(code) + "."
	}
	return "PostgreSQL, or a pooler before it, refused the tenant's login: " + described(code) + "."
}

// described names an SQLSTATE's class (PostgreSQL documentation, appendix A), because only the server's log has the rest.
func described(code string) string {
	class := map[string]string{
		"08": "connection exception", "0A": "feature not supported", "22": "data exception", "28": "invalid authorization", "3D": "invalid catalog name",
		"42": "access rule violation", "53": "insufficient resources", "54": "program limit exceeded", "55": "object not in prerequisite state",
		"57": "operator intervention", "58": "system error", "F0": "configuration file error", "P0": "PL/pgSQL error", "XX": "internal error",
	}[code[:min(len(code), 2)]]
	return "SQLSTATE " + cmp.Or(printable(code), "unknown") + " (" + cmp.Or(class, "of another class") + ")"
}

// refusedBeforeSettings says whether the server refused before it looked at any setting of the login's.
func refusedBeforeSettings(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && (answer.Code == "28P01" || answer.Code == "28000" || answer.Code == "3D000")
}

// describeSettings is a sentence, with a blank before it, that names the settings of the tenant's logins and database, because they may be
// why a login fails; "" where there is none, or they cannot be read.
func (s *Server) describeSettings(ctx context.Context, l Login) string {
	ctx, cancel := context.WithTimeout(ctx, timing.Call)
	defer cancel()
	if l.TenantID == "" {
		return ""
	}
	var names []string
	err := s.pool.QueryRow(ctx, "select tenant_credentials.login_settings($1::text::uuid, $2)", l.TenantID, l.UID).Scan(&names)
	if err != nil || len(names) == 0 {
		return ""
	}
	return " The login has settings of its own: " + strings.Join(names, ", ") +
		" (ALTER ROLE " + Identifier(l.Role) + " RESET ALL, ALTER DATABASE " + Identifier(l.Database) + " RESET ALL)."
}
