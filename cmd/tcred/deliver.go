package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/connection"
	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/endpoint"
	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/machines"
	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/pgfiles"
)

// delivery is what becomes of the new credentials on this computer.
type delivery struct {
	*program
	noFetch, external, show, force bool
	save                           string // the service's name; "" = it is not saved
	flyToken                       string
}

// defaultName stands for --save without a name. No service can be called so.
const defaultName = "tenant_<first 8 digits>"

func (d *delivery) bind(flags *pflag.FlagSet) {
	flags.BoolVar(&d.noFetch, "no-fetch", false, "do not read the new URL out of a Machine")
	flags.BoolVar(&d.external, "external", false, "connect from outside the platform's network: host, port and parameters are those for there")
	flags.StringVar(&d.save, "save", "", "save it for psql, as the service of this `name`")
	flags.Lookup("save").NoOptDefVal = defaultName
	flags.BoolVar(&d.force, "force", false, "with --save: replace a service, or a line of the password file, that tcred did not write")
	flags.BoolVar(&d.show, "show-password", false, "print the URL with the password in it")
}

// arguments are the flags as they were given, for the commands that tcred prints.
func (d *delivery) arguments() (list []string) {
	for _, flag := range []struct {
		name  string
		given bool
	}{{"--no-fetch", d.noFetch}, {"--external", d.external}, {"--save=" + d.save, d.save != ""}, {"--force", d.force}, {"--show-password", d.show}} {
		if flag.given {
			list = append(list, flag.name)
		}
	}
	return list
}

// needsValue: it cannot be done without the password.
func (d *delivery) needsValue() bool { return d.save != "" || d.show }

// prepare finds what would fail at the end, before anything is rotated.
func (d *delivery) prepare(tenant string) error {
	d.flyToken = os.Getenv("FLY_API_TOKEN")
	switch {
	case d.needsValue() && d.noFetch:
		return &usageError{"--save and --show-password need the new password, which --no-fetch does not read"}
	case d.needsValue() && d.flyToken == "":
		return &usageError{"--save and --show-password read the new password out of a Machine. To fix: set FLY_API_TOKEN"}
	case d.save == "":
		return nil
	case d.save == defaultName:
		d.save = "tenant_" + tenant[:8]
	}
	if err := pgfiles.CheckName(d.save); err != nil {
		return &usageError{err.Error()}
	}
	return d.checkService(tenant)
}

func (d *delivery) checkService(tenant string) error {
	file, err := pgfiles.ServiceFile()
	if err != nil {
		return err
	}
	content, err := pgfiles.Read(file)
	if err != nil {
		return err
	}
	if err := pgfiles.CheckService(content, d.save, tenant); err != nil && !d.force {
		return d.foreign(fmt.Sprintf("the service %s in %s", d.save, file), err)
	}
	return nil
}

func (d *delivery) foreign(what string, err error) error {
	if errors.Is(err, pgfiles.ErrForeign) {
		return fmt.Errorf("%s was %w. To fix: choose another name (--save=NAME), or replace it with --force", what, err)
	}
	return err
}

func (d *delivery) notEnabled(tenant string) error {
	words := append([]string{"tcred", "external-access", "enable", tenant}, d.server.arguments()...)
	return fmt.Errorf("external access is not enabled for this tenant. To fix: %s", commandLine(words...))
}

// masked notes the URL without its password, and returns it as it is for the app and, with --external, for the user.
func (d *delivery) masked(f *follower, s endpoint.State, r *result) (app connection.Connection, err error) {
	app, err = connection.Parse(s.InternalDatabaseURL)
	if err != nil {
		return app, errors.New("the endpoint's answer has no internal_database_url that can be used")
	}
	shown, err := d.way(f.tenant, app, s)
	if err != nil {
		return app, err
	}
	r.DatabaseURL = shown.String()
	r.Connect = "psql '" + shown.String() + "'"
	return app, nil
}

// way is a login by the way that the user takes.
func (d *delivery) way(tenant string, login connection.Connection, s endpoint.State) (connection.Connection, error) {
	if !d.external {
		return login, nil
	}
	if s.ExternalDatabaseURL == "" {
		return login, d.notEnabled(tenant)
	}
	outside, err := connection.Parse(s.ExternalDatabaseURL)
	if err != nil {
		return login, errors.New("the endpoint's answer has no external_database_url that can be used")
	}
	return login.Through(outside), nil
}

// deliver reads the new credentials, saves them as asked, and notes how to connect.
func (d *delivery) deliver(ctx context.Context, f *follower, s endpoint.State, r *result) error {
	app, err := d.masked(f, s, r)
	if err != nil {
		return err
	}
	if s.Fly == nil {
		if d.needsValue() {
			return errors.New("the credentials were rotated, and are not at Fly, where --save and --show-password read them")
		}
		return nil
	}
	if err := machines.Check(s.Fly.App, s.Fly.Variable); err != nil {
		return err
	}
	if d.noFetch || d.flyToken == "" || f.until != "completed" {
		r.Retrieve = machines.Command(s.Fly.App, s.Fly.Variable)
		return nil
	}
	login, err := d.fetch(ctx, s, app)
	if err != nil && !d.needsValue() {
		f.progress.note(fmt.Sprintf("The new URL was not read: %v.", err))
		r.Retrieve = machines.Command(s.Fly.App, s.Fly.Variable)
		return nil
	}
	if err != nil {
		return fmt.Errorf("the credentials were rotated, and were not read: %w. To go on, without a second rotation: %s", err, f.goOn(s.Revision))
	}
	return d.use(f, s, login, r)
}

// fetch reads the URL out of a Machine. One with another login is a Machine that does not run with this rotation.
func (d *delivery) fetch(ctx context.Context, s endpoint.State, app connection.Connection) (login connection.Connection, err error) {
	d.progress.show(fmt.Sprintf("Reading %s out of a Machine of %s", s.Fly.Variable, s.Fly.App))
	c, err := machines.New(d.flyToken)
	if err != nil {
		return login, err
	}
	err = c.Read(ctx, s.Fly.App, s.Fly.Variable, func(value string) error {
		found, err := connection.Parse(value)
		if err != nil {
			return err
		}
		if !found.SameLogin(app) {
			return fmt.Errorf("the URL is not for the login and server of revision %d", s.Revision)
		}
		login = found
		return nil
	})
	return login, err
}

// use saves the login, and notes how to connect.
func (d *delivery) use(f *follower, s endpoint.State, login connection.Connection, r *result) error {
	login, err := d.way(f.tenant, login, s)
	if err != nil {
		return err
	}
	if d.show {
		r.DatabaseURL = login.URL().Reveal()
	}
	if d.save == "" {
		if !d.show {
			r.Retrieve = machines.Command(s.Fly.App, s.Fly.Variable)
		}
		return nil
	}
	if err := d.store(f.tenant, login, r); err != nil {
		return fmt.Errorf("the credentials were rotated, and were not saved: %w. To go on, without a second rotation: %s", err, f.goOn(s.Revision))
	}
	r.Connect = "psql service=" + d.save
	return nil
}

// store writes the password first: a service without one would ask for it.
func (d *delivery) store(tenant string, login connection.Connection, r *result) error {
	service, err := pgfiles.ServiceFile()
	if err != nil {
		return err
	}
	password, err := pgfiles.PasswordFile()
	if err != nil {
		return err
	}
	err = pgfiles.Edit(password, func(content []byte) ([]byte, error) {
		to := pgfiles.Login{Host: login.Host, Port: login.Port, Database: login.Database, User: login.User}
		return pgfiles.PutPassword(content, to, login.Password.Reveal(), tenant, d.force)
	})
	if err != nil {
		return d.foreign("the line for this login in "+password, err)
	}
	kept, left := login.Settings()
	section := pgfiles.Service{Name: d.save, Tenant: tenant}
	for _, setting := range kept {
		section.Settings = append(section.Settings, pgfiles.Setting{Name: setting[0], Value: setting[1]})
	}
	for _, name := range left {
		d.progress.note(fmt.Sprintf("The URL's parameter %s is left out of the service: a service file cannot have it.", name))
	}
	err = pgfiles.Edit(service, func(content []byte) ([]byte, error) { return pgfiles.PutService(content, section, d.force) })
	if err != nil {
		return d.foreign("the service "+d.save, err)
	}
	r.Service, r.ServiceFile, r.PasswordFile = d.save, service, password
	return nil
}
