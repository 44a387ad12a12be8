package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantenvironment"
)

// installSQL installs or upgrades the ledger. The DBA's URL comes from the environment, where a process list does not show it.
func installSQL(ctx context.Context, arguments []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("install-sql", flag.ContinueOnError)
	file := flags.String("environment", "", "File with the TenantEnvironment that the ledger is for; - reads standard input.")
	login := flags.String("operator-login", "", "The operator's login role. It exists, and gets EXECUTE on the ledger's functions and nothing more.")
	show := flags.Bool("print", false, "Print the SQL instead of running it.")
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *file == "" || *login == "" {
		return errors.New("write --environment FILE and --operator-login ROLE")
	}
	environment, err := readEnvironment(*file, in)
	if err != nil {
		return err
	}
	installation := postgres.Installation{Settings: tenantenvironment.LedgerSettings(environment), OperatorLogin: *login}
	if *show {
		return postgres.Script(out, installation)
	}
	url := os.Getenv("DATABASE_URL")
	if url == "" {
		return errors.New("set DATABASE_URL to a DBA's URL of the database that holds the management table, or write --print for the SQL")
	}
	if err := postgres.Install(ctx, url, installation); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The ledger is installed, version %d.\n", postgres.LedgerVersion)
	return err
}

func readEnvironment(file string, in io.Reader) (*v1alpha1.TenantEnvironment, error) {
	read := func() ([]byte, error) { return os.ReadFile(file) }
	if file == "-" {
		read = func() ([]byte, error) { return io.ReadAll(in) }
	}
	manifest, err := read()
	if err != nil {
		return nil, err
	}
	var environment v1alpha1.TenantEnvironment
	if err := yaml.UnmarshalStrict(manifest, &environment); err != nil {
		return nil, fmt.Errorf("%s is not one TenantEnvironment: %w", file, err)
	}
	if environment.Kind != "TenantEnvironment" {
		return nil, fmt.Errorf("%s holds a %q, and a TenantEnvironment is wanted", file, environment.Kind)
	}
	return &environment, nil
}
