package checker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Config says where to look. An empty LogFiles, ManagerLog, ManagerDir, EtcdDir or MetricsURL is not searched for passwords.
type Config struct {
	// Environments are those of the TenantEnvironments to look at.
	Environments []Environment
	// Kubectl is the program; "" = kubectl in PATH.
	Kubectl string
	// Kubeconfig is the path of its configuration; "" = kubectl's default.
	Kubeconfig string
	// FlyAdminURL is the address of the Fly emulator's admin API.
	FlyAdminURL string
	// LogFiles are the logs of every program that takes part, but the manager's.
	LogFiles []string
	// AuditLog is the API server's; "" = there is none. It has the content of every Secret that a tenant has asked for.
	AuditLog string
	// GatewayLog is the gateway's, GatewayMetricsURL where it shows its metrics, to MetricsToken. No token of CallerTokens may stand in either, nor
	// in the manager's log.
	GatewayLog, GatewayMetricsURL string
	CallerTokens                  []string
	// ManagerLog is the manager's, with what it printed when it crashed. No login or token of the operator's own may stand in it either.
	ManagerLog string
	// ManagerDir is the folder that the manager runs in, and its temporary one.
	ManagerDir string
	// EtcdDir is etcd's data directory.
	EtcdDir string
	// MetricsURL is the manager's; its certificate is not verified.
	MetricsURL string
	// MetricsToken is the bearer token for MetricsURL.
	MetricsToken string
}

// Environment is one PostgreSQL server with its tenants.
type Environment struct {
	// Name is the TenantEnvironment's.
	Name string
	// SuperuserURL leads a superuser to the database that has the management table and the ledger.
	SuperuserURL string
	// LogFile is the server's log; "" = it is not searched for passwords.
	LogFile string
	// DataDir is the server's data directory; "" = it is not searched for passwords.
	DataDir string
	// Organization owns the tenants' Fly apps; "" = it is not checked.
	Organization string
	// Naming says how the management table and what belongs to a tenant are called.
	Naming Naming
}

// Naming is the platform's. The zero value of a prefix or of Table, ID and PasswordHash is the documented default of a
// TenantEnvironment; the zero value of an override column means that there is none.
type Naming struct {
	Table, ID, PasswordHash                  string
	Role, Database, FlyApp                   string // override columns
	RolePrefix, DatabasePrefix, FlyAppPrefix string
}

func (n Naming) withDefaults() Naming {
	n.Table = cmp.Or(n.Table, "management.tenants")
	n.ID = cmp.Or(n.ID, "id")
	n.PasswordHash = cmp.Or(n.PasswordHash, "password_hash")
	n.RolePrefix = cmp.Or(n.RolePrefix, "tenant_")
	n.DatabasePrefix = cmp.Or(n.DatabasePrefix, "site_")
	n.FlyAppPrefix = cmp.Or(n.FlyAppPrefix, "sp-")
	return n
}

// Violation is one thing that is not as it has to be.
type Violation struct {
	// Tenant is the tenant's ID, with its object where there is one; "" = it concerns no tenant in particular.
	Tenant string
	// Text is a sentence. It never contains a secret.
	Text string
}

func (v Violation) String() string {
	if v.Tenant == "" {
		return v.Text
	}
	return "tenant " + v.Tenant + ": " + v.Text
}

// Check returns what is wrong, ordered by tenant; empty = all is well. since may be nil: then nothing is said about the number of
// rotations. due has for each tenant (by ID) the number of rotations that had to be completed since then; a tenant that is not in
// it had none due. An item that cannot be looked at is a violation too.
func Check(ctx context.Context, config Config, since *Snapshot, due map[string]int) []Violation {
	return check(ctx, config, func(w *world) []Violation {
		if since == nil {
			return nil
		}
		return since.compare(ctx, w, due)
	})
}

// CheckServed is Check for a time in which generations were raised at will: one rotation may answer several raises, and
// one that another client's write at Fly undid was made again. raised has for each tenant (by ID) how often its generation was raised since
// then; a tenant that is not in it was let alone.
func CheckServed(ctx context.Context, config Config, since *Snapshot, raised map[string]int) []Violation {
	return check(ctx, config, func(w *world) []Violation { return since.served(ctx, w, raised) })
}

func check(ctx context.Context, config Config, history func(*world) []Violation) []Violation {
	w, err := look(ctx, config)
	if err != nil {
		return []Violation{{Text: err.Error()}}
	}
	var found []Violation
	for _, t := range w.tenants {
		if !t.concerned() {
			continue
		}
		for _, invariant := range []func(*world, *tenant) []string{credentialsAgree, ledgerIsClosed, flyAgrees, machinesAgree, connectionSecretAgrees, statusAgrees} {
			for _, text := range invariant(w, t) {
				found = append(found, Violation{t.label(), text})
			}
		}
	}
	found = append(found, w.strangers()...)
	found = append(found, w.logIn(ctx)...)
	found = append(found, w.logInBySecret(ctx)...)
	found = append(found, history(w)...)
	found = append(found, w.searchPasswords(ctx)...)
	return tidy(found)
}

// tidy orders what was found and says everything once.
func tidy(found []Violation) []Violation {
	slices.SortStableFunc(found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(found)
}

// world is everything that is compared, as it was read.
type world struct {
	config       Config
	tenants      []*tenant
	apps         map[string]*app
	arrivals     []arrival
	objects      []*object
	environments map[string]environmentObject
	secrets      []kubernetesSecret
}

// look reads everything but what is only searched for passwords.
func look(ctx context.Context, config Config) (*world, error) {
	w := &world{config: config}
	if len(config.Environments) == 0 {
		return nil, errors.New("there is no environment to look at")
	}
	for _, e := range config.Environments {
		e.Naming = e.Naming.withDefaults()
		tenants, err := readServer(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("PostgreSQL of %s cannot be read: %w", e.Name, err)
		}
		w.tenants = append(w.tenants, tenants...)
	}
	var err error
	if w.apps, err = readApps(ctx, config.FlyAdminURL); err == nil {
		err = getJSON(ctx, config.FlyAdminURL+"/admin/arrivals", &w.arrivals)
	}
	if err != nil {
		return nil, fmt.Errorf("the Fly emulator cannot be read: %w", err)
	}
	if err = w.readObjects(ctx); err == nil {
		err = w.readSecrets(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("the cluster cannot be read: %w", err)
	}
	w.join()
	return w, nil
}

// join gives each tenant the objects that name it.
func (w *world) join() {
	byID := map[string]*tenant{}
	for _, t := range w.tenants {
		byID[t.environment.Name+"/"+t.id] = t
	}
	for _, o := range w.objects {
		if t := byID[w.server(o.Spec.EnvironmentRef.Name)+"/"+o.Spec.TenantID]; t != nil {
			t.objects = append(t.objects, o)
			o.tenant = t
		}
	}
}

// server is the name under which the configuration has an environment's server: one server may serve several environments.
func (w *world) server(environment string) string {
	for _, e := range w.config.Environments {
		if e.Name == environment {
			return environment
		}
	}
	for _, e := range w.config.Environments {
		if other, exists := w.environments[e.Name]; exists && other.address() == w.environments[environment].address() {
			return e.Name
		}
	}
	return ""
}

func (w *world) tenant(id string) *tenant {
	for _, t := range w.tenants {
		if t.id == id {
			return t
		}
	}
	return nil
}
