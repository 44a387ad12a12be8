package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5/pgconn"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
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
	gateway := flags.String("gateway-login", "", "The endpoint's login role, where there is an endpoint. It exists, and gets EXECUTE on owner_is and nothing more.")
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
	installation := postgres.Installation{Settings: tenantenvironment.LedgerSettings(environment), OperatorLogin: *login, GatewayLogin: *gateway}
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
	place, err := pgconn.ParseConfig(url)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The ledger of TenantEnvironment %s is installed in database %s, version %d.\n", environment.Name, place.Database, postgres.LedgerVersion)
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
	manifest, err = onlyDocument(file, manifest)
	if err != nil {
		return nil, err
	}
	var environment v1alpha1.TenantEnvironment
	if err := yaml.UnmarshalStrict(manifest, &environment); err != nil {
		return nil, fmt.Errorf("%s is not one TenantEnvironment: %w", file, err)
	}
	if environment.Kind != "TenantEnvironment" {
		return nil, fmt.Errorf("%s holds a %q, and a TenantEnvironment is expected", file, environment.Kind)
	}
	return &environment, nil
}

// onlyDocument is the one YAML document of a file. Of several the first would be taken, which may not be the environment that is meant.
func onlyDocument(file string, manifest []byte) ([]byte, error) {
	var documents [][]byte
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest))); ; {
		document, err := reader.Read()
		if err == io.EOF { //nolint:errorlint // a reader returns io.EOF itself
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		var content any
		if err := yaml.Unmarshal(document, &content); err != nil {
			return nil, fmt.Errorf("%s is not YAML: %w", file, err)
		}
		if content != nil { // comments alone are none
			documents = append(documents, document)
		}
	}
	if len(documents) != 1 {
		return nil, fmt.Errorf("%s holds %d documents, and one TenantEnvironment is expected: write only that one, as by kubectl get tenv <name> -o yaml", file, len(documents))
	}
	return documents[0], nil
}
