package tenantcredential_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

const (
	setSecret = "set secret"
	smokeTime = 10 * time.Second // as in controllers/fly
)

var (
	flySide    = side{"Fly", failure.New(failure.Retry, reasons.ConnectionFailed, "refused"), failure.New(failure.Retry, reasons.ConnectionFailed, "lost")}
	secretSide = side{"Fly", failure.New(failure.Retry, reasons.RateLimited, "refused"), failure.New(failure.Unknown, reasons.OutcomeUnknown, "lost")}
)

// flyApp is one app at Fly.
type flyApp struct {
	missing  bool
	version  uint64
	secrets  map[string]string
	machines []*machine
}

// machine runs with the secrets that its last update brought, whatever they are by now.
type machine struct {
	id              string
	instance        int
	env             map[string]string
	revision        int64
	version         uint64
	running         bool
	since           time.Time
	refused         bool // at its start, and it tries again and again
	sick            bool // of itself
	leased          bool // by another client
	onNextStart     bool
	unhealthyBefore bool
}

func newApp(name string) *flyApp {
	a := &flyApp{version: 1 << 60, secrets: map[string]string{}}
	for i := range 2 {
		a.machines = append(a.machines, &machine{id: fmt.Sprintf("%s-%d", name, i), running: true, env: map[string]string{}})
	}
	return a
}

func (a *flyApp) set(variable, value string) fly.AppSecret {
	a.version++
	a.secrets[variable] = value
	return fly.AppSecret{Digest: a.digest(variable), Version: a.version}
}

func (a *flyApp) digest(variable string) string {
	if value, set := a.secrets[variable]; set {
		return digest("fly " + value)[:16]
	}
	return ""
}

// passwordOf is the password in a DATABASE_URL.
func passwordOf(value string) string {
	u, err := url.Parse(value)
	if err != nil || u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

// userOf is the login in a DATABASE_URL.
func userOf(value string) string {
	u, err := url.Parse(value)
	if err != nil || u.User == nil {
		return ""
	}
	return u.User.Username()
}

// works says whether an app with this DATABASE_URL can log in now.
func (w *world) works(value string) bool {
	return matches(w.ledger.now.verifiers[userOf(value)], passwordOf(value))
}

func (w *world) failing(m *machine, variable string) bool {
	m.refused = m.refused && !w.works(m.env[variable])
	return m.running && (m.sick || m.refused)
}

// boot starts a Machine.
func (w *world) boot(m *machine, variable string) {
	m.running, m.since = true, time.Now()
	m.refused = !w.works(m.env[variable])
}

// update replaces a Machine: only that brings it the app's secrets.
func (m *machine) update(a *flyApp) {
	m.instance++
	m.env = maps.Clone(a.secrets)
}

func (m *machine) instanceID() string { return fmt.Sprintf("%s-%d", m.id, m.instance) }

// deploy is the user's own: whatever Fly has, all Machines get.
func (w *world) deploy() {
	a := w.apps[w.ledger.now.app]
	for _, m := range a.machines {
		m.update(a)
		if m.running {
			w.boot(m, "DATABASE_URL")
		}
	}
}

// deployWhatWaits is the user who sees that Machines wait for a deploy.
func (w *world) deployWhatWaits() {
	last := w.ledger.now.last()
	if last == nil || last.State != postgres.StateCommitted {
		return
	}
	for _, m := range w.apps[w.ledger.now.app].machines {
		if slices.Contains(last.FlyInstances, m.instanceID()) {
			w.deploy()
			return
		}
	}
}

// flyOf is Fly as a process sees it.
type flyOf struct{ p *process }

// ask is a call about an app.
func (c flyOf) ask(ctx context.Context, s side, name, app string, f func(*flyApp) error) error {
	return c.p.call(ctx, s, name, func() error {
		a := c.p.w.apps[app]
		if a == nil || a.missing {
			return failure.New(failure.Wait, reasons.FlyAppNotFound, "404")
		}
		return f(a)
	})
}

func (c flyOf) App(ctx context.Context, name string) (app fly.App, err error) {
	err = c.ask(ctx, flySide, "app", name, func(a *flyApp) error {
		app = fly.App{Name: name, MachineCount: len(a.machines)}
		return nil
	})
	return app, err
}

func (c flyOf) SecretDigest(ctx context.Context, app, variable string) (d string, err error) {
	err = c.ask(ctx, flySide, "secret digest", app, func(a *flyApp) error {
		d = a.digest(variable)
		return nil
	})
	return d, err
}

func (c flyOf) SetSecret(ctx context.Context, app, variable string, sent credential.Secret) (secret fly.AppSecret, err error) {
	value := sent.Reveal() // it leaves the program here
	c.p.w.passwords[passwordOf(value)] = true
	err = c.ask(ctx, secretSide, setSecret, app, func(a *flyApp) error {
		c.p.w.secretArrived(c.p.session, app, value)
		secret = a.set(variable, value)
		return nil
	})
	return secret, err
}

func (c flyOf) Probe(ctx context.Context, app fly.App, variable string) (p fly.Progress, err error) {
	err = c.ask(ctx, flySide, "probe", app.Name, func(a *flyApp) error {
		for _, m := range a.machines {
			if m.leased {
				return failure.New(failure.Wait, reasons.LeaseHeld, "leased")
			}
			c.p.unwell[m.id] = c.p.w.failing(m, variable)
		}
		p.Total = len(a.machines)
		return nil
	})
	return p, err
}

// Advance looks at every Machine and moves at most one: the rules of controllers/fly for so few.
func (c flyOf) Advance(ctx context.Context, r fly.Rollout) (p fly.Progress, err error) {
	err = c.ask(ctx, flySide, "advance", r.App.Name, func(a *flyApp) error {
		p = c.advance(a, r)
		return nil
	})
	return p, err
}

func (c flyOf) Instances(ctx context.Context, app fly.App) (instances []string, err error) {
	err = c.ask(ctx, flySide, "instances", app.Name, func(a *flyApp) error {
		instances = []string{}
		for _, m := range a.machines {
			instances = append(instances, m.instanceID())
		}
		return nil
	})
	return instances, err
}

func (c flyOf) Deployed(ctx context.Context, app fly.App, variable string, before []string) (p fly.Progress, err error) {
	err = c.ask(ctx, flySide, "deployed", app.Name, func(a *flyApp) error {
		for _, m := range a.machines {
			p.Total++
			switch {
			case slices.Contains(before, m.instanceID()):
				p.Waiting = "a deploy"
			case !m.running:
				p.OnNextStart++
			case c.p.w.failing(m, variable):
				p.Failed++
				p.Waiting = m.id + " is unhealthy"
			default:
				p.Updated++
			}
		}
		return nil
	})
	return p, err
}

// RecordRelease changes nothing that a tenant depends on, whatever becomes of it.
func (c flyOf) RecordRelease(ctx context.Context, r fly.Rollout, _ string) string {
	if err := c.ask(ctx, flySide, "record release", r.App.Name, func(*flyApp) error { return nil }); err != nil {
		return "fly does not show it"
	}
	return ""
}

func (c flyOf) advance(a *flyApp, r fly.Rollout) (p fly.Progress) {
	var next *machine
	for _, m := range a.machines {
		p.Total++
		switch reached := m.revision == r.Revision && m.version == r.SecretVersion; {
		case !reached && m.leased:
			p.Waiting = "a lease"
		case !reached:
			if next == nil {
				next = m
			}
		case m.onNextStart && !m.running:
			p.OnNextStart++
		case !c.p.w.failing(m, r.Variable) && m.running && time.Since(m.since) < smokeTime:
			p.Waiting = m.id + " has only just started"
		case c.p.w.failing(m, r.Variable) && !m.unhealthyBefore:
			p.Failed++
			p.Halted = m.id + " is unhealthy"
		default:
			p.Updated++
		}
	}
	if next == nil || p.Waiting != "" || p.Halted != "" {
		return p
	}
	next.revision, next.version = r.Revision, r.SecretVersion
	next.update(a)
	next.onNextStart, next.unhealthyBefore = !next.running, next.running && c.p.unwell[next.id]
	if next.running {
		c.p.w.boot(next, r.Variable)
	}
	p.Waiting = next.id + " has been updated"
	return p
}
