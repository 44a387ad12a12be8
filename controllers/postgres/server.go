package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/network"
	"github.com/systempromptio/tenant-credential-operator/controllers/timing"
)

const (
	applicationName       = "tenant-credential-operator"
	defaultMaxConnections = 16
	connectTimeout        = 5 * time.Second
	// A COMMIT waits for the server of a foreign table without any limit, and idles for neither of these. If we have died meanwhile, the server
	// ends it within this.
	connectionCheckInterval = "5s"
)

// Config says how to reach one server.
type Config struct {
	// URL is that of the operator's own login, postgres://…; without sslmode, verify-full is used, without require_auth,
	// scram-sha-256.
	URL credential.Secret
	// CA has the certificates (PEM) of the authorities that the server's certificate may be from; nil means those of the system. With it the
	// certificate is always checked.
	CA []byte
	// MaxConnections bounds the pool; 0 means 16.
	MaxConnections int32
}

// Server is one environment's PostgreSQL server. It is safe for concurrent use.
type Server struct {
	pool *pgxpool.Pool
	// pooled: a pooler stands before the server, for all that is known.
	pooled atomic.Bool
}

// Connect prepares a pool; it dials nothing yet. A URL that cannot be used is Stall/AuthenticationFailed, and is not repeated in
// the error.
func Connect(ctx context.Context, c Config) (*Server, error) {
	roots, err := network.Roots(c.CA)
	if err != nil {
		return nil, err
	}
	secured, err := withTLS(c.URL.Reveal(), roots != nil)
	if err != nil {
		return nil, err
	}
	config, parseErr := pgxpool.ParseConfig(secured)
	if parseErr != nil {
		return nil, unusableURL()
	}
	trust(&config.ConnConfig.Config, roots)
	config.MaxConns = defaultMaxConnections
	if c.MaxConnections > 0 {
		config.MaxConns = c.MaxConnections
	}
	config.MinConns, config.MinIdleConns = 0, 0
	config.PrepareConn = reuse
	secure(config.ConnConfig)
	s := &Server{}
	config.BeforeConnect = s.adaptToPooler
	var poolErr error
	if s.pool, poolErr = pgxpool.NewWithConfig(ctx, config); poolErr != nil {
		return nil, unusableURL()
	}
	return s, nil
}

// Close ends the pool's connections; it waits for those in use.
func (s *Server) Close() { s.pool.Close() }

// secure sets what no URL may weaken. Parameters are always bound: a URL that asked for the simple protocol would put a verifier into
// the text of a statement, and with it into logs. No statement is prepared for a second use: that takes another round trip, most connections see each
// statement once, and a pooler may not know it.
func secure(config *pgx.ConnConfig) {
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	if config.RequireAuth == "" {
		config.RequireAuth = "scram-sha-256"
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	maps.Copy(config.RuntimeParams, session)
	bound(&config.Config)
	config.ValidateConnect = requirePrimary
}

// session are the settings of the operator's own sessions. Settings that are sent when a session begins override those of ALTER ROLE, ALTER DATABASE
// and the server's configuration, so that none of those changes what the operator's statements mean, keeps its sessions from working, or
// has the server write a verifier into its log.
var session = map[string]string{
	"application_name":                    applicationName,
	"statement_timeout":                   timing.Statement.String(),
	"idle_in_transaction_session_timeout": timing.IdleInTransaction.String(),
	"idle_session_timeout":                "0",
	"client_connection_check_interval":    connectionCheckInterval,
	// The functions' queries are always the same, and planning them takes longer than running them.
	"plan_cache_mode": "force_generic_plan",
	// The planner takes the functions' queries for expensive, and compiling them takes longer than running them, too.
	"jit": "off",

	"role":                           "none",
	"local_preload_libraries":        "",
	"search_path":                    "pg_catalog, pg_temp",
	"default_transaction_isolation":  "read committed",
	"default_transaction_read_only":  "off",
	"default_transaction_deferrable": "off",
	"row_security":                   "on",
	"standard_conforming_strings":    "on",
	"transform_null_equals":          "off",
	"array_nulls":                    "on",
	"client_encoding":                "UTF8",
	"client_min_messages":            "error",
	"DateStyle":                      "ISO, MDY",
	"IntervalStyle":                  "postgres",
	"TimeZone":                       "UTC",
	"bytea_output":                   "hex",

	// The parse tree of ALTER ROLE holds the verifier; so do the parameters of the statement that fails.
	"debug_print_parse":                 "off",
	"debug_print_rewritten":             "off",
	"debug_print_plan":                  "off",
	"log_parameter_max_length_on_error": "0",
}

// requirePrimary refuses a standby, which may be behind: after a failover the old address may lead to one, and its answers would look like
// lost rotations. The driver's own check calls a function by a name that is not qualified. A session that lacks one of its settings has been
// begun by a pooler.
func requirePrimary(ctx context.Context, connection *pgconn.PgConn) error {
	answer, err := askOne(ctx, connection, "select case when pg_catalog.current_setting('plan_cache_mode') operator(pg_catalog.<>) '"+
		session["plan_cache_mode"]+"' then 'pooled' else pg_catalog.pg_is_in_recovery()::pg_catalog.text end")
	switch {
	case err != nil:
		return err
	case answer == "pooled":
		return errSettingsIgnored
	case answer != "false":
		return pgconn.ErrStandbyConnection
	default:
		return nil
	}
}

// trust has the server's certificate checked against roots; nil = those of the system.
func trust(config *pgconn.Config, roots *x509.CertPool) {
	if roots == nil {
		return
	}
	configs := []*tls.Config{config.TLSConfig}
	for _, fallback := range config.Fallbacks {
		configs = append(configs, fallback.TLSConfig)
	}
	for _, c := range configs {
		if c != nil { // nil for a Unix socket
			c.RootCAs = roots
		}
	}
}

// withTLS adds sslmode=verify-full where the URL says nothing about it (the environment's PGSSLMODE does not count). With roots of its own a
// certificate is meant to be checked: then require means verify-ca, as it does in libpq, and a mode that checks nothing is refused.
func withTLS(text string, roots bool) (string, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return "", unusableURL()
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || (u.Host == "" && !query.Has("host")) { // no host: PGHOST of the environment would count
		return "", unusableURL()
	}
	switch mode := query.Get("sslmode"); {
	case !query.Has("sslmode"):
		query.Set("sslmode", "verify-full")
	case roots && mode == "require":
		query.Set("sslmode", "verify-ca")
	case roots && mode != "verify-ca" && mode != "verify-full":
		return "", failure.New(failure.Stall, reasons.AuthenticationFailed,
			"The login's URL has an sslmode that does not check the server's certificate, and certificates to check it with are given. Leave sslmode out, or write verify-full.")
	default:
		return u.String(), nil
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// unusableURL does not say what is wrong in detail: the parser's own message repeats parts of the URL.
func unusableURL() *failure.Error {
	return failure.New(failure.Stall, reasons.AuthenticationFailed,
		"The login's URL cannot be used. It has the form postgres://<login>:<password>@<host>:<port>/<database>, with special characters percent-encoded.")
}
