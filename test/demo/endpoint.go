package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// rotateByCurl asks the endpoint as the platform's callers do, with the token of the tenant's owner. The token comes from standard input: a process
// list shows arguments.
func (d *demo) rotateByCurl(name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if err := d.expect(ctx, name); err != nil {
			return "", err
		}
		command := exec.CommandContext(ctx, "curl", "-sS", "--fail-with-body", "--cacert", os.Getenv("GATEWAY_CA"), "-H", "@-", "-X", "POST",
			os.Getenv("GATEWAY_URL")+"/api/v1/tenants/"+tenantIDs[name]+"/rotate-credentials")
		command.Stdin = strings.NewReader("Authorization: Bearer " + os.Getenv("GATEWAY_OWNER_TOKEN"))
		output, err := command.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("curl: %w\n%s", err, output)
		}
		return string(output), nil
	}
}

// rotateByTcred does it with the callers' command line, which saves what it reads out of a Machine, and logs in with what was saved.
func (d *demo) rotateByTcred(name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if err := d.expect(ctx, name); err != nil {
			return "", err
		}
		home, err := os.MkdirTemp("", "tcred-demo-")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(home) //nolint:errcheck // it is temporary
		environment := append(os.Environ(), "TCRED_TOKEN="+os.Getenv("GATEWAY_OWNER_TOKEN"),
			"PGSERVICEFILE="+filepath.Join(home, "services"), "PGPASSFILE="+filepath.Join(home, "passwords"))
		rotate := exec.CommandContext(ctx, "tcred", "rotate-credentials", tenantIDs[name], "--server", os.Getenv("GATEWAY_URL"), "--ca-file", os.Getenv("GATEWAY_CA"),
			"--save="+name)
		rotate.Env = environment
		said, err := rotate.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("tcred: %w\n%s", err, said)
		}
		login := exec.CommandContext(ctx, "psql", "-XAt", "service="+name, "-c", "SELECT 'psql service="+name+" logs in as ' || session_user")
		login.Env = withoutLibpq(environment)
		answer, err := login.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("psql: %w\n%s", err, answer)
		}
		return string(said) + string(answer), nil
	}
}

// expect notes what is so before a rotation that is due from now on.
func (d *demo) expect(ctx context.Context, name string) (err error) {
	d.due[tenantIDs[name]]++
	d.previous[name], err = see(ctx, name)
	return err
}

// withoutLibpq leaves out the playground's own login, but not the two files.
func withoutLibpq(environment []string) []string {
	var left []string
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "PG") || name == "PGSERVICEFILE" || name == "PGPASSFILE" {
			left = append(left, variable)
		}
	}
	return left
}
