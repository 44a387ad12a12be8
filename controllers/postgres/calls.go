package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/timing"
)

// queries is what a pool and a transaction have in common.
type queries interface {
	Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error)
}

// Survey reads what the server says about itself. A server without a ledger is Wait/LedgerOutdated. It notices a pooler, so it comes before
// every other call.
func (s *Server) Survey(ctx context.Context) (Survey, error) {
	ctx, cancel := context.WithTimeout(ctx, timing.Call)
	defer cancel()
	answer, err := s.survey(ctx)
	if s.notices(err) {
		answer, err = s.survey(ctx)
	}
	if err != nil {
		return Survey{}, translate(err)
	}
	return answer, nil
}

func (s *Server) survey(ctx context.Context) (Survey, error) {
	var answer Survey
	var settings, problem, external []byte
	err := s.askOnce(ctx, `select server_version, system_identifier, installed_on, database, started, clock, ledger_version, settings, registered,
		coalesce(other_ledger, ''), exposures, problem, external_problem from tenant_credentials.survey()`,
		&answer.ServerVersion, &answer.SystemIdentifier, &answer.InstalledOn, &answer.Database, &answer.Started, &answer.Clock, &answer.LedgerVersion, &settings, &answer.Registered,
		&answer.OtherLedger, &answer.Exposures, &problem, &external)
	if err != nil {
		return Survey{}, err
	}
	if settings == nil {
		return Survey{}, failure.New(failure.Wait, reasons.LedgerOutdated, "The ledger is not configured: "+installHint+".")
	}
	var row settingsRow
	if err := json.Unmarshal(settings, &row); err != nil {
		return Survey{}, unreadable()
	}
	answer.Settings = Settings(row)
	answer.Problem, answer.ExternalProblem = said(problem, unsaidTable), said(external, unsaidRules)
	return answer, nil
}

// askOnce scans the one row of an answer. The driver's QueryRow loses the error where the server has sent too much, of another shape.
func (s *Server) askOnce(ctx context.Context, sql string, into ...any) error {
	rows, err := s.pool.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() || len(rows.FieldDescriptions()) != len(into) {
		rows.Close()
		return cmp.Or(rows.Err(), error(unreadable()))
	}
	if err := rows.Scan(into...); err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

// TryManagement does to the management table what a rotation does, on one of its rows, and undoes it. It answers in one sentence why that is refused,
// and how to fix it; "" = it is not, or the table has no row that no other session has locked.
func (s *Server) TryManagement(ctx context.Context) (problem string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timing.Call)
	defer cancel()
	connection, err := s.pool.Acquire(ctx)
	if err != nil {
		return "", translate(err)
	}
	defer connection.Release()
	defer discard(ctx, connection)
	var told []byte
	if err := connection.QueryRow(ctx, "select tenant_credentials.try_management()").Scan(&told); err != nil {
		return "", translate(err)
	}
	return said(told, unsaidTable), nil
}

// Observe reads tenants, one per ID and in the order asked; an ID that the management table lacks is reported with Found false.
func (s *Server) Observe(ctx context.Context, tenantIDs []string) ([]Tenant, error) {
	ctx, cancel := context.WithTimeout(ctx, timing.Call)
	defer cancel()
	connection, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, translate(err)
	}
	defer connection.Release()
	return readAndKeep(ctx, connection, len(tenantIDs), "select * from tenant_credentials.observe($1::text[]::uuid[])", tenantIDs)
}

// readAndKeep reads tenants and closes the connection where code of others may have run in it.
func readAndKeep(ctx context.Context, connection *pgxpool.Conn, asked int, sql string, arguments ...any) ([]Tenant, error) {
	tenants, err := readTenants(ctx, connection, asked, sql, arguments...)
	if err != nil || len(tenants) > 0 && tenants[0].ranCode { // a call that failed does not tell what has run in it
		discard(ctx, connection)
	}
	return tenants, err
}

// Adopt makes the claim on a tenant, or moves it, and returns the tenant. The holder's own adoption changes nothing. Stall/OwnershipConflict names the
// holder of the tenant, Stall/NameConflict the column that gives it another name; Wait/TenantNotFound, Wait/RoleNotFound, Stall/RoleNotAllowed.
func (s *Server) Adopt(ctx context.Context, a Adoption) (Tenant, error) {
	ctx, cancel := context.WithTimeout(ctx, timing.Call)
	defer cancel()
	connection, err := s.pool.Acquire(ctx)
	if err != nil {
		return Tenant{}, translate(err)
	}
	defer connection.Release()
	return first(readAndKeep(ctx, connection, 1, "select * from tenant_credentials.adopt($1::text::uuid, $2, $3, $4, $5, $6, $7, $8)",
		a.TenantID, a.UID, a.Cluster, a.Environment, a.Namespace, a.Name, orNull(a.ReplacesUID), orNull(a.TakeOverFrom)))
}

// OpenRotation records the intent to rotate, before anything changes. It returns the open row that exists already, and begins one again that was
// discarded where none is newer.
// Retry/Superseded: no object has adopted the tenant. Stall/OwnershipConflict: another object has.
func (s *Server) OpenRotation(ctx context.Context, o Opening) (Rotation, error) {
	ctx, cancel := context.WithTimeout(ctx, timing.Call)
	defer cancel()
	var content []byte
	err := s.pool.QueryRow(ctx, "select tenant_credentials.open($1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		o.TenantID, o.UID, o.Generation, o.Cause, o.StatedManager, o.After, o.Above, o.Reason, o.RequestedBy, o.RequestID).Scan(&content)
	if err != nil {
		return Rotation{}, translate(err)
	}
	var row rotationRow
	if err := json.Unmarshal(content, &row); err != nil {
		return Rotation{}, unreadable()
	}
	return row.rotation(), nil
}

// LoginChecked says that a login with the password of a committed rotation has succeeded. Twice is the same as once. Retry/Superseded: the
// row is neither committed nor rolled.
func (s *Server) LoginChecked(ctx context.Context, tenantID, uid string, revision int64) error {
	return s.exec(ctx, tenantID, uid, "select tenant_credentials.login_checked($1::text::uuid, $2, $3)", revision)
}

// Rolled says that every consumer of a committed rotation has the new value. Twice is the same as once. Retry/Superseded: the row is
// neither committed nor rolled.
func (s *Server) Rolled(ctx context.Context, tenantID, uid string, revision int64) error {
	return s.exec(ctx, tenantID, uid, "select tenant_credentials.rolled($1::text::uuid, $2, $3)", revision)
}

// Retire closes the login that the consumers of a rolled rotation have left. It answers whether that is done, and the sessions of it that
// are to be ended are; until then it is called again, and Complete needs it. Retry/Superseded: the row is not rolled.
func (s *Server) Retire(ctx context.Context, tenantID, uid string, revision int64, r Retirement) (bool, error) {
	return s.ask(ctx, tenantID, uid, "select tenant_credentials.retire($1::text::uuid, $2, $3, make_interval(secs => $4), $5, $6)",
		revision, r.Grace.Seconds(), r.OnceIdle, r.EndSessions)
}

// Complete marks a committed or rolled rotation as completed, raises the claim's generation to the row's, and returns the tenant. Twice is the same as once.
// Retry/Superseded: the row is neither committed, rolled nor completed, no login with its password has succeeded, or a previous login or session
// that it owes an end is left.
func (s *Server) Complete(ctx context.Context, tenantID, uid string, revision int64) (Tenant, error) {
	var left Tenant
	err := s.unblocked(ctx, tenantID, uid, func(ctx context.Context, connection *pgxpool.Conn) (err error) {
		left, err = first(readAndKeep(ctx, connection, 1, "select * from tenant_credentials.complete($1::text::uuid, $2, $3)", tenantID, uid, revision))
		return err
	})
	return left, err
}

// EndSessions notes, at its first call, that every session that began earlier is from before the committed rotation, and with sweep ends
// those. It answers whether there can be none any more; until then it is called again. Complete needs that where the rotation's
// SessionPolicy is not SessionsKept. Retry/Superseded: the row is neither committed nor rolled.
func (s *Server) EndSessions(ctx context.Context, tenantID, uid string, revision int64, sweep bool) (bool, error) {
	return s.ask(ctx, tenantID, uid, "select tenant_credentials.end_sessions($1::text::uuid, $2, $3, $4)", revision, sweep)
}

// Discard gives up a rotation that was not committed, and closes the login that was issued for it. Twice is the same as once.
// Retry/Superseded: the row is neither open, issued nor discarded.
func (s *Server) Discard(ctx context.Context, tenantID, uid string, revision int64) error {
	return s.exec(ctx, tenantID, uid, "select tenant_credentials.discard($1::text::uuid, $2, $3)", revision)
}

// ask calls a function that answers yes or no. Sessions of the tenant's own that the function waits for are ended.
func (s *Server) ask(ctx context.Context, tenantID, uid, sql string, arguments ...any) (yes bool, err error) {
	err = s.unblocked(ctx, tenantID, uid, func(ctx context.Context, connection *pgxpool.Conn) error {
		return connection.QueryRow(ctx, sql, append([]any{tenantID, uid}, arguments...)...).Scan(&yes)
	})
	return yes, err
}

func (s *Server) exec(ctx context.Context, tenantID, uid, sql string, arguments ...any) error {
	return s.unblocked(ctx, tenantID, uid, func(ctx context.Context, connection *pgxpool.Conn) error {
		_, err := connection.Exec(ctx, sql, append([]any{tenantID, uid}, arguments...)...)
		return err
	})
}

func (s *Server) unblocked(ctx context.Context, tenantID, uid string, f func(context.Context, *pgxpool.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, timing.Call)
	defer cancel()
	connection, err := s.pool.Acquire(ctx)
	if err != nil {
		return translate(err)
	}
	defer connection.Release()
	finish := s.endBlockers(ctx, tenantID, uid)
	defer finish()
	if err := f(ctx, connection); err != nil {
		return translate(err)
	}
	return nil
}

// readTenants reads as many tenants as were asked for; any other number is an error.
func readTenants(ctx context.Context, q queries, asked int, sql string, arguments ...any) ([]Tenant, error) {
	rows, err := q.Query(ctx, sql, arguments...)
	if err != nil {
		return nil, translate(err)
	}
	return tenantsOf(rows, asked)
}

func tenantsOf(rows pgx.Rows, asked int) ([]Tenant, error) {
	defer rows.Close()
	tenants := make([]Tenant, 0, asked)
	for rows.Next() {
		if len(tenants) == asked {
			return nil, unreadable()
		}
		row, err := pgx.RowToStructByName[tenantRow](rows)
		if err != nil {
			return nil, unreadable()
		}
		tenants = append(tenants, row.tenant())
	}
	if err := rows.Err(); err != nil {
		return nil, translate(err)
	}
	if len(tenants) != asked {
		return nil, unreadable()
	}
	return tenants, nil
}

// first is the answer about one tenant.
func first(tenants []Tenant, err error) (Tenant, error) {
	if err != nil {
		return Tenant{}, err
	}
	return tenants[0], nil
}

// tenantRow is the SQL type standing, by the names of its columns.
type tenantRow struct {
	TenantID            string        `db:"tenant_id"`
	Found               bool          `db:"found"`
	Role                string        `db:"role"`
	Database            string        `db:"database"`
	FlyApp              string        `db:"fly_app"`
	RoleExists          bool          `db:"role_exists"`
	RoleViolation       []byte        `db:"role_violation"`
	LoginViolation      []byte        `db:"login_violation"`
	Login               string        `db:"login"`
	FormerLogin         *string       `db:"former_login"`
	SecondViolation     []byte        `db:"second_violation"`
	VerifierDigest      *string       `db:"verifier_digest"`
	HashDigest          *string       `db:"hash_digest"`
	Claim               *claimRow     `db:"claim"`
	OpenRotation        *rotationRow  `db:"open_rotation"`
	LastRotation        *rotationRow  `db:"last_rotation"`
	EarlierRotations    []rotationRow `db:"earlier_rotations"`
	CompromisedRevision int64         `db:"compromised_revision"`
	External            *externalRow  `db:"external"`
	Clock               time.Time     `db:"clock"`
	ValidUntil          *time.Time    `db:"valid_until"`
	RanCode             bool          `db:"ran_code"`
}

func (r tenantRow) tenant() Tenant {
	t := Tenant{
		ID: r.TenantID, Found: r.Found, Role: name(r.Role), Database: name(r.Database), FlyApp: name(r.FlyApp), RoleExists: r.RoleExists,
		RoleViolation: said(r.RoleViolation, unsaidRole), LoginViolation: said(r.LoginViolation, unsaidLogin),
		Login: r.Login, FormerLogin: text(r.FormerLogin), SecondViolation: said(r.SecondViolation, unsaidSecond),
		VerifierDigest: text(r.VerifierDigest), HashDigest: text(r.HashDigest),
		Open: r.OpenRotation.pointer(), Last: r.LastRotation.pointer(), CompromisedRevision: r.CompromisedRevision,
		Clock: r.Clock, ranCode: r.RanCode,
	}
	if r.ValidUntil != nil {
		t.ValidUntil = *r.ValidUntil
	}
	if r.Claim != nil {
		c := r.Claim.claim()
		t.Claim = &c
	}
	if r.External != nil {
		t.External = r.External.access()
	}
	for _, e := range r.EarlierRotations {
		t.Earlier = append(t.Earlier, e.rotation())
	}
	return t
}

// The rows as the SQL functions settings, claim_json and rotation_json write them.
type settingsRow struct {
	Schema             string `json:"management_schema"`
	Table              string `json:"management_table"`
	ColumnID           string `json:"column_id"`
	ColumnPasswordHash string `json:"column_password_hash"`
	ColumnRole         string `json:"column_role"`
	ColumnDatabase     string `json:"column_database"`
	ColumnFlyApp       string `json:"column_fly_app"`
	ColumnOwner        string `json:"column_owner"`
	RolePrefix         string `json:"role_prefix"`
	DatabasePrefix     string `json:"database_prefix"`
	FlyAppPrefix       string `json:"fly_app_prefix"`
}

type claimRow struct {
	UID            string    `json:"uid"`
	Cluster        string    `json:"cluster"`
	Environment    string    `json:"environment"`
	Namespace      string    `json:"namespace"`
	Name           string    `json:"name"`
	Generation     int64     `json:"generation"`
	VerifierDigest string    `json:"verifierDigest"`
	HashDigest     string    `json:"hashDigest"`
	AdoptedAt      time.Time `json:"adoptedAt"`
}

func (r claimRow) claim() Claim { return Claim(r) }

type rotationRow struct {
	Revision        int64     `json:"revision"`
	State           string    `json:"state"`
	Generation      int64     `json:"generation"`
	Cause           string    `json:"cause"`
	Reason          string    `json:"reason"`
	RequestedBy     string    `json:"requestedBy"`
	RequestID       string    `json:"requestID"`
	StatedManager   string    `json:"statedManager"`
	Login           string    `json:"login"`
	VerifierDigest  string    `json:"verifierDigest"`
	HashDigest      string    `json:"hashDigest"`
	DeliveryDigest  string    `json:"deliveryDigest"`
	FlyApp          string    `json:"flyApp"`
	FlyDigest       string    `json:"flyDigest"`
	FlyVersion      uint64    `json:"flyVersion"`
	FlyInstances    []string  `json:"flyInstances"`
	OpenedAt        time.Time `json:"openedAt"`
	CommittedAt     time.Time `json:"committedAt"`
	RolledAt        time.Time `json:"rolledAt"`
	CompletedAt     time.Time `json:"completedAt"`
	SessionPolicy   string    `json:"sessionPolicy"`
	SessionsEndedAt time.Time `json:"sessionsEndedAt"`
	ClosedAt        time.Time `json:"closedAt"`
	QuietAt         time.Time `json:"quietAt"`
	LoginCheckedAt  time.Time `json:"loginCheckedAt"`
	Made            bool      `json:"made"`
}

func (r rotationRow) rotation() Rotation { return Rotation(r) }

func (r *rotationRow) pointer() *Rotation {
	if r == nil {
		return nil
	}
	rotation := r.rotation()
	return &rotation
}

func text(value *string) string {
	if value == nil {
		return ""
	}
	return *value
}

// name is a name of the management table's. One of more than 63 bytes names neither a role, a database nor an app; it is cut, and names none then either.
func name(value string) string {
	const longest = 63 // bytes
	if len(value) <= longest {
		return value
	}
	return strings.ToValidUTF8(value[:longest-len("…")], "") + "…"
}

func orNull(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}

func unreadable() *failure.Error {
	return failure.New(failure.Retry, reasons.Unexpected, "The ledger's answer cannot be read: it was installed by another version of this program.")
}
