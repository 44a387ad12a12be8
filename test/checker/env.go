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
	config.LogFiles = append(config.LogFiles, need("MANAGER_LOG"))
	for _, name := range environmentNames() {
		variable := "PLAYGROUND_" + strings.ToUpper(name)
		config.LogFiles = append(config.LogFiles, need(variable+"_POSTGRES_LOG"))
		config.Environments = append(config.Environments, Environment{
			Name:         name,
			SuperuserURL: need(variable + "_URL"),
			Organization: "example-" + name,
			Naming:       Naming{Role: "db_role", Database: "db_name", FlyApp: "fly_app"},
		})
	}
	if len(missing) > 0 || len(config.Environments) == 0 {
		return Config{}, errors.New("no playground: source bin/playground/env first; missing: " +
			cmp.Or(strings.Join(missing, ", "), "PLAYGROUND_<environment>_POSTGRES_LOG"))
	}
	slices.Sort(config.LogFiles)
	config.LogFiles = slices.Compact(config.LogFiles)
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
