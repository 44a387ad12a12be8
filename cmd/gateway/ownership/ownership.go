// Package ownership asks the environments' databases for a tenant's owner, by logins that may ask this and nothing else.
package ownership

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// timeout bounds one question, the login included.
	timeout = 3 * time.Second
	// connections to one environment's server.
	connections = 4
	// parallel questions to one server, the waiting ones included: a further question is refused, and not queued until it is too late.
	longestQueue = 512
)

// Logins are the files of a folder: the name is a TenantEnvironment's, the content the URL of a login. A changed file is taken up with the next question.
type Logins struct {
	folder string

	mu    sync.Mutex
	pools map[string]*pool
}

// pool is the connections by one file's content. It is closed by the file's next content; a question in progress is answered before.
type pool struct {
	address     string
	connections *pgxpool.Pool
	queue       chan struct{}
}

// New reads the logins from a folder; "" = there are none.
func New(folder string) *Logins { return &Logins{folder: folder, pools: map[string]*pool{}} }

// Close ends all connections.
func (l *Logins) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for environment, p := range l.pools {
		p.connections.Close()
		delete(l.pools, environment)
	}
}

// Answer is what the environments say.
type Answer struct {
	// Owned are the environments in which the subject owns the tenant.
	Owned map[string]bool
	// Silent says that an environment could not be asked.
	Silent bool
}

// Ask asks every environment, whichever of them knows the tenant: an answer, and the time it takes, tell nothing of a tenant that is another owner's.
func (l *Logins) Ask(ctx context.Context, tenantID, subject string) Answer {
	environments, err := l.environments()
	if err != nil {
		ctrl.Log.WithName("ownership").Error(err, "the folder of the owner logins cannot be read")
		return Answer{Silent: true}
	}
	answer := Answer{Owned: map[string]bool{}}
	var mu sync.Mutex
	var questions errgroup.Group
	for _, environment := range environments {
		questions.Go(func() error {
			owned, err := l.ask(ctx, environment, tenantID, subject)
			mu.Lock()
			defer mu.Unlock()
			answer.Owned[environment] = owned
			answer.Silent = answer.Silent || err != nil
			return nil
		})
	}
	_ = questions.Wait()
	return answer
}

// environments are the names of the folder's files. A mounted Secret has others beside them, whose names begin with a dot.
func (l *Logins) environments() ([]string, error) {
	if l.folder == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(l.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // an optional Secret that there is not
	}
	var names []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

func (l *Logins) ask(ctx context.Context, environment, tenantID, subject string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p, err := l.pool(ctx, environment)
	if err != nil {
		return false, report(environment, err)
	}
	select {
	case p.queue <- struct{}{}:
		defer func() { <-p.queue }()
	default:
		return false, report(environment, errors.New("too many questions at once"))
	}
	var owned *bool
	err = p.connections.QueryRow(ctx, "select tenant_credentials.owner_is($1::uuid, $2::text)", tenantID, subject).Scan(&owned)
	if err != nil {
		return false, report(environment, translate(err))
	}
	return owned != nil && *owned, nil
}

// pool is that of the file's present content.
func (l *Logins) pool(ctx context.Context, environment string) (*pool, error) {
	content, err := os.ReadFile(filepath.Join(l.folder, environment))
	if err != nil {
		return nil, errors.New("its file cannot be read")
	}
	address := strings.TrimSpace(string(content))
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.pools[environment]; p != nil {
		if p.address == address {
			return p, nil
		}
		go p.connections.Close() // waits for the questions in progress
		delete(l.pools, environment)
	}
	config, err := configuration(address)
	if err != nil {
		return nil, err
	}
	made, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	if err != nil {
		return nil, errors.New("its URL cannot be used")
	}
	p := &pool{address: address, connections: made, queue: make(chan struct{}, longestQueue)}
	l.pools[environment] = p
	return p, nil
}

// configuration checks the server's certificate against its host where the URL does not say otherwise. Its errors hold nothing of the URL, and so of the
// password.
func configuration(address string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(withDefaults(address))
	if err != nil {
		return nil, errors.New("its content is no URL of a PostgreSQL login")
	}
	config.MaxConns, config.MinConns = connections, 0
	config.MaxConnIdleTime = time.Minute
	config.ConnConfig.ConnectTimeout = timeout
	// A pooler may stand between, which keeps no prepared statement.
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "tenant-credential-gateway"
	}
	return config, nil
}

func withDefaults(text string) string {
	address, err := url.Parse(text)
	if err != nil || address.Scheme != "postgres" && address.Scheme != "postgresql" {
		return "-" // the other form, of keywords and values, is none
	}
	parameters := address.Query()
	if !parameters.Has("sslmode") {
		parameters.Set("sslmode", "verify-full")
	}
	address.RawQuery = parameters.Encode()
	return address.String()
}

// translate leaves of a driver's error what cannot hold the URL, the password or the question.
func translate(err error) error {
	var refusal *pgconn.PgError
	switch {
	case errors.As(err, &refusal):
		return fmt.Errorf("PostgreSQL returned SQLSTATE %s", refusal.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("PostgreSQL did not answer in time")
	case errors.Is(err, context.Canceled):
		return errors.New("the caller closed the connection")
	default:
		return errors.New("PostgreSQL cannot be reached, or its certificate is not accepted")
	}
}

func report(environment string, err error) error {
	ctrl.Log.WithName("ownership").Info("the owner of a tenant could not be read", "environment", environment, "why", err.Error())
	return err
}
