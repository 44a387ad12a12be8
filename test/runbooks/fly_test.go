package runbooks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	fly "github.com/superfly/fly-go"
	"github.com/superfly/fly-go/flaps"
	"github.com/superfly/fly-go/tokens"
)

// This program called as fly does what Fly's own command does for the few commands that the page uses, with Fly's own client and, as far as
// it was recorded, with the same requests. The one that is left out is the release that `secrets deploy` notes in Fly's history.

// flyCommand refuses everything that the page does not use, as a misspelt option would be.
func flyCommand(arguments []string) error {
	command := ""
	for len(arguments) > 0 && !strings.HasPrefix(arguments[0], "-") {
		command, arguments = strings.TrimSpace(command+" "+arguments[0]), arguments[1:]
	}
	flags := flag.NewFlagSet("fly "+command, flag.ContinueOnError)
	c := cli{ctx: context.Background()}
	flags.StringVar(&c.app, "a", "", "the app")
	switch command {
	case "secrets import":
		flags.BoolVar(&c.stage, "stage", false, "set, and do not deploy")
	case "machine list":
		flags.BoolVar(&c.json, "json", false, "print JSON")
	}
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	do := map[string]func() error{"secrets list": c.listSecrets, "secrets import": c.importSecrets, "secrets deploy": c.deploySecrets, "machine list": c.listMachines}[command]
	if do == nil || c.app == "" || flags.NArg() > 0 {
		return fmt.Errorf("the page does not use this: fly %s", command)
	}
	var err error
	token := tokens.Parse(os.Getenv("FLY_API_TOKEN"))
	c.flaps, err = flaps.NewWithOptions(c.ctx, flaps.NewClientOpts{Tokens: token})
	if err != nil {
		return err
	}
	fly.SetBaseURL(os.Getenv("FLY_API_BASE_URL"))
	c.graphQL = fly.NewClientFromOptions(fly.ClientOptions{AccessToken: os.Getenv("FLY_API_TOKEN"), BaseURL: os.Getenv("FLY_API_BASE_URL"), Name: "fly", Version: "0"})
	return do()
}

type cli struct {
	ctx         context.Context
	flaps       *flaps.Client
	graphQL     *fly.Client
	app         string
	stage, json bool
}

func (c *cli) listSecrets() error {
	secrets, err := c.flaps.ListAppSecrets(c.ctx, c.app, nil, false)
	if err != nil {
		return err
	}
	if _, err := c.flaps.List(c.ctx, c.app, ""); err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 8, 1, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATUS\tDIGEST")
	for _, secret := range secrets {
		fmt.Fprintf(table, "%s\tStaged\t%s\n", secret.Name, secret.Digest)
	}
	return table.Flush()
}

// importSecrets reads NAME=VALUE lines. The version that Fly answers is kept on this computer, for a later deploy.
func (c *cli) importSecrets() error {
	if !c.stage {
		return errors.New("the page does not use this: fly secrets import without --stage")
	}
	if _, err := c.graphQL.GetAppCompact(c.ctx, c.app); err != nil {
		return err
	}
	values := map[string]*string{}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		name, value, found := strings.Cut(lines.Text(), "=")
		if !found {
			return errors.New("secrets must be provided as NAME=VALUE pairs")
		}
		values[name] = &value
	}
	answer, err := c.flaps.UpdateAppSecrets(c.ctx, c.app, values)
	if err != nil {
		return err
	}
	fmt.Println("Secrets have been staged, but not set on VMs. Deploy or update machines in this app for the secrets to take effect.")
	return os.WriteFile(c.versionFile(), []byte(strconv.FormatUint(answer.Version, 10)), 0o600)
}

func (c *cli) versionFile() string {
	return filepath.Join(os.Getenv("FLY_CONFIG_DIR"), "secrets-version-"+c.app)
}

// minVersion is nil where the secrets were set on another computer.
func (c *cli) minVersion() *uint64 {
	content, err := os.ReadFile(c.versionFile())
	if err != nil {
		return nil
	}
	version, err := strconv.ParseUint(string(content), 10, 64)
	if err != nil {
		return nil
	}
	return &version
}

// deploySecrets updates every Machine to the config that it has, one after the other.
func (c *cli) deploySecrets() error {
	if _, err := c.graphQL.GetAppCompact(c.ctx, c.app); err != nil {
		return err
	}
	machines, err := c.flaps.ListActive(c.ctx, c.app)
	if err != nil {
		return err
	}
	ttl := 60
	leases := map[string]string{}
	defer func() {
		for id, nonce := range leases {
			_ = c.flaps.ReleaseLease(c.ctx, c.app, id, nonce)
		}
	}()
	for _, m := range machines {
		lease, err := c.flaps.RefreshLease(c.ctx, c.app, m.ID, &ttl, "")
		if err != nil {
			return err
		}
		leases[m.ID] = lease.Data.Nonce
	}
	for _, m := range machines {
		if err := c.update(m, leases[m.ID]); err != nil {
			return err
		}
		fmt.Printf("  ✔ Machine %s is now in a good state\n", m.ID)
	}
	return nil
}

func (c *cli) update(m *fly.Machine, nonce string) error {
	running := m.State == fly.MachineStateStarted
	updated, err := c.flaps.Update(c.ctx, c.app, fly.LaunchMachineInput{
		ID: m.ID, Region: m.Region, Name: m.Name, Config: m.Config, MinSecretsVersion: c.minVersion(), SkipLaunch: !running,
	}, nonce)
	if err != nil || !running {
		return err
	}
	return c.flaps.Wait(c.ctx, c.app, m.ID, flaps.WithWaitStates(fly.MachineStateStarted), flaps.WithWaitVersion(updated.InstanceID),
		flaps.WithWaitTimeout(30*time.Second))
}

func (c *cli) listMachines() error {
	machines, err := c.flaps.List(c.ctx, c.app, "")
	if err != nil {
		return err
	}
	if c.json {
		return json.NewEncoder(os.Stdout).Encode(machines)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 8, 1, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tSTATE\tREGION\tLAST UPDATED")
	for _, m := range machines {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", m.ID, m.Name, m.State, m.Region, m.UpdatedAt)
	}
	return table.Flush()
}
