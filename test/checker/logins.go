package checker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

const (
	// logInsAtOnce is bounded by the server: a login costs it 4096 rounds of SHA-256.
	logInsAtOnce = 8
	// logInTimeout bounds one login, so that a server that hangs is reported.
	logInTimeout = 20 * time.Second
)

// logIn tries what Fly has for every adopted tenant at its server, as the app would.
func (w *world) logIn(ctx context.Context) []Violation {
	return w.eachTenant(func(t *tenant) string {
		url, readable := w.delivered(t)
		if t.claim == nil || !readable {
			return "" // flyAgrees has said so
		}
		if err := t.try(ctx, url); err != nil {
			return fmt.Sprintf("the login with the %s of app %s is refused: %s", t.holder().variable(), t.app, sqlState(err))
		}
		return ""
	})
}

// eachTenant asks for every tenant, several at once, what is wrong.
func (w *world) eachTenant(ask func(*tenant) string) []Violation {
	var mu sync.Mutex
	var found []Violation
	group := errgroup.Group{}
	group.SetLimit(logInsAtOnce)
	for _, t := range w.tenants {
		group.Go(func() error {
			if text := ask(t); text != "" {
				mu.Lock()
				defer mu.Unlock()
				found = append(found, Violation{t.label(), text})
			}
			return nil
		})
	}
	_ = group.Wait() // the functions return no error
	return found
}

// delivered is the login that Fly has for the tenant.
func (w *world) delivered(t *tenant) (login, bool) {
	s := w.apps[t.app].secret(t.holder().variable())
	if s == nil || !t.holder().deliversToFly() {
		return login{}, false
	}
	return parseURL(s.Value)
}

// try logs in at the address of the superuser's URL: the one that apps use may be known at Fly only.
func (t *tenant) try(ctx context.Context, l login) error {
	ctx, cancel := context.WithTimeout(ctx, logInTimeout)
	defer cancel()
	config, err := pgx.ParseConfig(t.environment.SuperuserURL)
	if err != nil {
		return errors.New("the URL cannot be parsed")
	}
	config.User, config.Password, config.Database = l.user, l.password, l.database
	connection, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	return connection.Close(ctx)
}

// refused says whether an error is the server's "password authentication failed".
func refused(err error) bool {
	var p *pgconn.PgError
	return errors.As(err, &p) && p.Code == "28P01"
}
