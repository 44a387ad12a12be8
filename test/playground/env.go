package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// writeEnv writes what a person, a test or the checker needs to know, as a file to be sourced.
func (s *supervisor) writeEnv(ctx context.Context) error {
	metricsToken, err := s.cluster.token(ctx, metricsAccount)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	variables := [][2]string{
		{"KUBECONFIG", s.files.kubeconfig()},
		{"KUBECACHEDIR", s.files.kubectlCache()},
		{"FLY_API_BASE_URL", s.fly.API},
		{"FLY_FLAPS_BASE_URL", s.fly.API},
		{"FLY_API_TOKEN", s.fly.token["sandbox"]},
		{"FLY_EMULATOR_ADMIN_URL", s.fly.Admin},
		{"MANAGER_PID", strconv.Itoa(s.manager.Process.Pid)},
		{"MANAGER_LOG", s.files.log("manager")},
		{"POSTGRES_LOG", s.databases["sandbox"].server.LogFile},
		{"PLAYGROUND_DIR", s.files.dir},
		{"PLAYGROUND_METRICS_URL", fmt.Sprintf("https://127.0.0.1:%d/metrics", s.ports.metrics)},
		{"PLAYGROUND_METRICS_TOKEN", metricsToken},
		{"PLAYGROUND_ETCD_DIR", s.files.path("etcd")},
		{"PLAYGROUND_LOG_DIR", s.files.path("log")},
		{"PLAYGROUND_MANAGER_DIR", s.files.managerFolder()},
	}
	gateway, err := s.gatewayVariables(ctx)
	if err != nil {
		return err
	}
	variables = append(variables, gateway...)
	for _, environment := range environments {
		prefix := "PLAYGROUND_" + strings.ToUpper(environment)
		d := s.databases[environment]
		variables = append(variables, [2]string{prefix + "_URL", d.superuser}, [2]string{prefix + "_POSTGRES_LOG", d.server.LogFile},
			[2]string{prefix + "_POSTGRES_DATA", d.server.DataDir()})
	}
	variables = append(variables, libpq(s.databases["sandbox"].superuser)...)

	var text bytes.Buffer
	for _, v := range variables {
		fmt.Fprintf(&text, "export %s='%s'\n", v[0], v[1])
	}
	fmt.Fprintf(&text, "export PATH='%s':\"$PATH\"\n", filepath.Dir(self))
	partial := s.files.env() + ".partial"
	if err := os.WriteFile(partial, text.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(partial, s.files.env())
}

// libpq are the variables that psql reads (PostgreSQL documentation, libpq environment variables).
func libpq(superuser string) [][2]string {
	u, err := url.Parse(superuser)
	if err != nil {
		return nil
	}
	password, _ := u.User.Password()
	return [][2]string{
		{"PGHOST", u.Hostname()}, {"PGPORT", u.Port()}, {"PGUSER", u.User.Username()}, {"PGPASSWORD", password},
		{"PGDATABASE", strings.TrimPrefix(u.Path, "/")}, {"PGSSLMODE", "disable"},
	}
}
