package checker

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// hoard is every secret that must not be found, and what to call it.
type hoard struct {
	finder *finder
	names  []Violation // whose it is, and in Text what it is
	found  []Violation
}

// searchPasswords looks everywhere for every password that was ever generated, in force or not, and for the verifiers that rotations made: of these
// PostgreSQL is the only home.
func (w *world) searchPasswords(ctx context.Context) []Violation {
	h := w.hoard()
	for _, file := range w.config.LogFiles {
		h.file(file, "log "+file, nil)
	}
	usersOwn := h.secrets(ctx, w.config)
	if w.config.EtcdDir != "" {
		h.folder(w.config.EtcdDir, usersOwn)
	}
	h.objects(ctx, w.config)
	h.metrics(ctx, w.config)
	for _, e := range w.config.Environments {
		h.server(ctx, e)
	}
	return h.found
}

func (w *world) hoard() *hoard {
	h := &hoard{}
	owner, known := map[string]string{}, map[string]bool{}
	var secrets []string
	add := func(secret, owner, what string) {
		if secret != "" && !known[secret] {
			known[secret] = true
			secrets = append(secrets, secret)
			h.names = append(h.names, Violation{owner, what})
		}
	}
	for _, t := range w.tenants {
		owner[t.app] = t.label()
		if parts := strings.Split(t.verifier, "$"); t.last() != nil && len(parts) == 3 {
			add(parts[2], t.label(), "the present verifier of role "+t.role)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.apps)) {
		for _, c := range w.generated(name) {
			if l, readable := parseURL(*c.Value); readable {
				add(l.password, owner[name], fmt.Sprintf("the password that version %s of %s of app %s has", c.Version, c.Name, name))
			}
		}
	}
	h.finder = newFinder(secrets)
	return h
}

// generated are the values that an app's secrets ever had, without the first of each, which the platform had set before the operator
// came. The operator never learns that one; whoever set it may have written it anywhere. What the ledger knows is never left out.
func (w *world) generated(name string) []change {
	delivered := map[string]bool{}
	for _, t := range w.tenants {
		for _, r := range t.rotations {
			if r.app == name {
				delivered[r.secretVersion] = true
			}
		}
	}
	var values []change
	seen := map[string]bool{}
	for _, c := range w.apps[name].History {
		if c.Value != nil && (seen[c.Name] || delivered[c.Version]) {
			values = append(values, c)
		}
		seen[c.Name] = true
	}
	return values
}

// report says where secrets were found.
func (h *hoard) report(place string, found, allowed map[int]bool) {
	for i := range found {
		if !allowed[i] {
			h.found = append(h.found, Violation{h.names[i].Tenant, h.names[i].Text + " stands in " + place})
		}
	}
}

// unread says that a place could not be searched.
func (h *hoard) unread(place string, err error) {
	h.found = append(h.found, Violation{Text: fmt.Sprintf("%s can not be searched for passwords: %v", place, err)})
}

func (h *hoard) text(place string, text []byte) {
	found := map[int]bool{}
	h.finder.in(text, found)
	h.report(place, found, nil)
}

func (h *hoard) file(path, place string, allowed map[int]bool) {
	file, err := os.Open(path)
	if err != nil {
		h.unread(place, err)
		return
	}
	defer file.Close() //nolint:errcheck // it is only read
	found := map[int]bool{}
	if err := h.finder.read(file, found); err != nil {
		h.unread(place, err)
	}
	h.report(place, found, allowed)
}

// folder searches every file of a folder, as bytes.
func (h *hoard) folder(folder string, allowed map[int]bool) {
	searched := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			h.file(path, "etcd's file "+path, allowed)
			searched++
		}
		return err
	})
	if err != nil {
		h.unread("etcd's folder "+folder, err)
	} else if searched == 0 {
		h.found = append(h.found, Violation{Text: "etcd's folder " + folder + " has no file"})
	}
}

// secrets searches the Secrets of the cluster. It returns what stands in those that the operator did not make: whoever made them
// meant to.
func (h *hoard) secrets(ctx context.Context, config Config) map[int]bool {
	usersOwn := map[int]bool{}
	var list struct {
		Items []struct {
			Metadata metadata          `json:"metadata"`
			Data     map[string][]byte `json:"data"`
		} `json:"items"`
	}
	if err := config.kubectlJSON(ctx, &list, "get", "secrets", "-A", "-o", "json"); err != nil {
		h.unread("Secrets", err)
		return usersOwn
	}
	for _, s := range list.Items {
		found := map[int]bool{}
		for _, value := range s.Data {
			h.finder.in(value, found)
		}
		if slices.ContainsFunc(s.Metadata.OwnerReferences, func(o ownerReference) bool {
			return strings.HasPrefix(o.APIVersion, "credentials.systemprompt.io/")
		}) {
			h.report("Secret "+s.Metadata.Namespace+"/"+s.Metadata.Name+", which the operator made", found, nil)
		} else {
			maps.Copy(usersOwn, found)
		}
	}
	return usersOwn
}

// objects searches every object of every kind but Secret.
func (h *hoard) objects(ctx context.Context, config Config) {
	output, err := config.kubectl(ctx, "api-resources", "--verbs=list", "-o", "name")
	if err != nil {
		h.unread("the cluster's objects", err)
		return
	}
	kinds := slices.DeleteFunc(strings.Fields(string(output)), func(kind string) bool { return kind == "secrets" })
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := config.kubectlJSON(ctx, &list, "get", strings.Join(kinds, ","), "-A", "-o", "json"); err != nil {
		h.unread("the cluster's objects", err)
		return
	}
	for _, item := range list.Items {
		var object struct {
			Kind     string   `json:"kind"`
			Metadata metadata `json:"metadata"`
		}
		if err := json.Unmarshal(item, &object); err != nil {
			h.unread("an object", err)
		}
		h.text(fmt.Sprintf("%s %s/%s", object.Kind, object.Metadata.Namespace, object.Metadata.Name), item)
	}
}

func (h *hoard) metrics(ctx context.Context, config Config) {
	if config.MetricsURL == "" {
		return
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.MetricsURL, nil)
	if err != nil {
		h.unread("the metrics", err)
		return
	}
	request.Header.Set("Authorization", "Bearer "+config.MetricsToken)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		h.unread("the metrics", err)
		return
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	if response.StatusCode != http.StatusOK {
		h.unread("the metrics", fmt.Errorf("the manager answers %s", response.Status))
		return
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		h.unread("the metrics", err)
	}
	h.text("the metrics", text)
}

// server searches the ledger's tables, row by row, and the statements that PostgreSQL remembers.
func (h *hoard) server(ctx context.Context, e Environment) {
	place := "PostgreSQL of " + e.Name
	connection, err := connect(ctx, e.SuperuserURL)
	if err != nil {
		h.unread(place, err)
		return
	}
	defer connection.Close(ctx) //nolint:errcheck // it has only read
	rows, _ := connection.Query(ctx, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname = 'tenant_credentials'
		UNION ALL SELECT 'pg_catalog.pg_stat_activity'
		UNION ALL SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'pg_stat_statements'`)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		h.unread(place, translate("the catalogue", err))
		return
	}
	for _, table := range tables {
		found := map[int]bool{}
		rows, _ := connection.Query(ctx, "SELECT t::text FROM "+table+" t")
		var row string
		if _, err := pgx.ForEachRow(rows, []any{&row}, func() error { h.finder.in([]byte(row), found); return nil }); err != nil {
			h.unread("table "+table+" of "+e.Name, translate("it", err))
		}
		h.report("table "+table+" of "+e.Name, found, nil)
	}
}
