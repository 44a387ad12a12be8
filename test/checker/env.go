package checker

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// FromEnvironment reads where a playground is, from the variables of its file env. One that is missing is an error: nothing is left
// out silently.
func FromEnvironment() (Config, error) {
	var missing []string
	need := func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			missing = append(missing, name)
		}
		return value
	}
	config := Config{
		Kubeconfig:   need("KUBECONFIG"),
		FlyAdminURL:  need("FLY_EMULATOR_ADMIN_URL"),
		EtcdDir:      need("PLAYGROUND_ETCD_DIR"),
		MetricsURL:   need("PLAYGROUND_METRICS_URL"),
		MetricsToken: need("PLAYGROUND_METRICS_TOKEN"),
	}
	var err error
	if config.LogFiles, err = filepath.Glob(filepath.Join(need("PLAYGROUND_LOG_DIR"), "*")); err != nil {
		return Config{}, fmt.Errorf("PLAYGROUND_LOG_DIR: %w", err)
	}
	config.ManagerLog, config.ManagerDir = need("MANAGER_LOG"), need("PLAYGROUND_MANAGER_DIR")
	config.AuditLog = filepath.Join(need("PLAYGROUND_LOG_DIR"), "audit.log")
	config.GatewayLog, config.GatewayMetricsURL = need("GATEWAY_LOG"), need("GATEWAY_METRICS_URL")
	config.CallerTokens = []string{need("GATEWAY_OWNER_TOKEN"), need("GATEWAY_STRANGER_TOKEN"), need("GATEWAY_STAFF_TOKEN")}
	config.LogFiles = slices.DeleteFunc(config.LogFiles, func(file string) bool {
		return slices.Contains([]string{config.ManagerLog, config.AuditLog, config.GatewayLog}, file)
	})
	for _, name := range environmentNames() {
		variable := "PLAYGROUND_" + strings.ToUpper(name)
		config.Environments = append(config.Environments, Environment{
			Name:         name,
			SuperuserURL: need(variable + "_URL"),
			LogFile:      need(variable + "_POSTGRES_LOG"),
			DataDir:      need(variable + "_POSTGRES_DATA"),
			Organization: "example-" + name,
			Naming:       Naming{Role: "db_role", Database: "db_name", FlyApp: "fly_app"},
		})
	}
	if len(missing) > 0 || len(config.Environments) == 0 {
		return Config{}, errors.New("no playground: source bin/playground/env first; missing: " +
			cmp.Or(strings.Join(missing, ", "), "PLAYGROUND_<environment>_POSTGRES_LOG"))
	}
	return config, nil
}

var postgresLog = regexp.MustCompile(`^PLAYGROUND_([A-Z0-9]+)_POSTGRES_LOG=`)

// environmentNames are those of the playground's PostgreSQL servers.
func environmentNames() []string {
	var names []string
	for _, variable := range os.Environ() {
		if match := postgresLog.FindStringSubmatch(variable); match != nil {
			names = append(names, strings.ToLower(match[1]))
		}
	}
	slices.Sort(names)
	return names
}
