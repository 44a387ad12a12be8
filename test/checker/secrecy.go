package checker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// hoard is every secret that must not be found, and its name.
type hoard struct {
	finder    *finder
	secrets   []string
	known     map[string]int // where each stands in secrets
	names     []Violation    // whose it is, and in Text what it is
	own       map[int]bool   // logins and tokens of the operator's own: the platform that gave them to it has them elsewhere, too
	verifiers map[int]bool   // PostgreSQL is their home
	written   map[int]bool   // passwords that were written into Secrets which a tenant asked for
	found     []Violation
}

// searchPasswords looks everywhere for every password that was ever generated, in force or not, and whether or not Fly took it; for the
// verifiers that rotations made, of which PostgreSQL is the only home; and, where the operator writes, for its own logins and tokens.
func (w *world) searchPasswords(ctx context.Context) []Violation {
	h := &hoard{known: map[string]int{}, own: map[int]bool{}, verifiers: map[int]bool{}, written: map[int]bool{}}
	w.fill(h)
	usersOwn := h.searchSecrets(w)
	for _, file := range w.config.LogFiles {
		h.file(file, "log "+file, h.own)
	}
	if w.config.AuditLog != "" {
		h.audit(w.config.AuditLog)
	}
	for _, log := range []string{w.config.ManagerLog, w.config.GatewayLog} {
		if log != "" {
			h.file(log, "log "+log, nil)
			h.lookalikes(log)
		}
	}
	if w.config.ManagerDir != "" {
		h.folder(w.config.ManagerDir, "file", nil, nil)
	}
	if w.config.EtcdDir != "" {
		if h.folder(w.config.EtcdDir, "etcd's file", union(union(usersOwn, h.own), h.written), nil) == 0 {
			h.found = append(h.found, Violation{Text: "etcd's folder " + w.config.EtcdDir + " has no file"})
		}
	}
	h.objects(ctx, w.config)
	h.address(ctx, "the metrics", w.config.MetricsURL, w.config.MetricsToken)
	h.address(ctx, "the gateway's metrics", w.config.GatewayMetricsURL, w.config.MetricsToken)
	h.address(ctx, "the Fly emulator's list of requests", w.config.FlyAdminURL+"/admin/requests", "")
	for _, e := range w.config.Environments {
		h.server(ctx, e)
	}
	return h.found
}

// add adds a secret, and returns where it stands; one that is there already keeps its place and its name.
func (h *hoard) add(secret, owner, what string) int {
	if _, known := h.known[secret]; !known {
		h.known[secret] = len(h.secrets)
		h.secrets = append(h.secrets, secret)
		h.names = append(h.names, Violation{owner, what})
	}
	return h.known[secret]
}

// fill gathers everything that is searched for.
func (w *world) fill(h *hoard) {
	owner := map[string]string{}
	for _, t := range w.tenants {
		owner[t.app] = t.label()
		if parts := strings.Split(t.verifier, "$"); t.last() != nil && len(parts) == 3 {
			h.verifiers[h.add(parts[2], t.label(), "the present verifier of role "+t.role)] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.apps)) {
		for _, c := range w.generated(name) {
			if l, readable := parseURL(*c.Value); readable {
				h.add(l.password, owner[name], fmt.Sprintf("the password that version %s of %s of app %s has", c.Version, c.Name, name))
			}
		}
	}
	for _, a := range w.arrivals {
		if l, readable := parseURL(a.Value); readable {
			h.add(l.password, owner[a.App], "a password that was sent to app "+a.App)
		}
	}
	w.written(h)
	for _, s := range w.secrets {
		for _, value := range w.operatorsOwn(s) {
			h.own[h.add(value, "", "the operator's own login or token from Secret "+s.name())] = true
		}
	}
	for _, token := range w.config.CallerTokens {
		h.own[h.add(token, "", "a token of the endpoint's callers")] = true
	}
	h.finder = newFinder(h.secrets)
}

// operatorsOwn are the values of a Secret that an environment names: a login's password, a Fly token. One so short that it may be a word
// is left out.
func (w *world) operatorsOwn(s kubernetesSecret) []string {
	var values []string
	for _, e := range w.environments {
		if s.Metadata.Name == e.Spec.Fly.TokenSecretRef.Name {
			values = append(values, string(s.Data[cmp.Or(e.Spec.Fly.TokenSecretRef.Key, "token")]))
		}
		if s.Metadata.Name == e.Spec.Postgres.LoginSecretRef.Name {
			l, _ := parseURL(string(s.Data[cmp.Or(e.Spec.Postgres.LoginSecretRef.Key, "url")]))
			values = append(values, l.password)
		}
	}
	return slices.DeleteFunc(values, func(value string) bool { return len(value) < 16 })
}

// generated are the values that an app's secrets ever had, without the first of each, which the platform had set before the operator
// came. The operator never learns that one; the platform may have written it anywhere. Passwords that the ledger knows are never left out.
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
	h.found = append(h.found, Violation{Text: fmt.Sprintf("%s cannot be searched for passwords: %v", place, err)})
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
	h.opened(file, place, allowed)
}

// opened searches a file and closes it.
func (h *hoard) opened(file *os.File, place string, allowed map[int]bool) {
	defer file.Close() //nolint:errcheck // it is only read
	found := map[int]bool{}
	if err := h.finder.read(file, found); err != nil {
		h.unread(place, err)
	}
	h.report(place, found, allowed)
}

// folder searches every file of a folder, as bytes, and returns how many there are. left says which folders to leave out.
func (h *hoard) folder(folder, what string, allowed map[int]bool, left func(path string) bool) int {
	searched := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != folder { // PostgreSQL removes files of its own while it runs
			return nil
		}
		if err == nil && entry.IsDir() && left != nil && left(path) {
			return fs.SkipDir
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			h.opened(file, what+" "+path, allowed)
			searched++
		}
		return err
	})
	if err != nil {
		h.unread("folder "+folder, err)
	}
	return searched
}

// passwordLike is what looks like a password of the operator's making. A longer word, or a piece of base64, does not.
var passwordLike = regexp.MustCompile(`(?:^|[^A-Za-z0-9+/=_-])([A-Za-z0-9]{32})(?:$|[^A-Za-z0-9+/=_-])`)

// lookalikes searches a log for passwords that the checker does not know, because they were thrown away before they were sent anywhere.
func (h *hoard) lookalikes(path string) {
	file, err := os.Open(path)
	if err != nil {
		h.unread("log "+path, err)
		return
	}
	defer file.Close() //nolint:errcheck // it is only read
	lines := bufio.NewReader(file)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		for _, match := range passwordLike.FindAllSubmatch(line, -1) {
			if _, known := h.known[string(match[1])]; mixed(match[1]) && !known {
				h.found = append(h.found, Violation{Text: fmt.Sprintf("what looks like a password stands in line %d of log %s", number, path)})
			}
		}
		if err != nil {
			return
		}
	}
}

// mixed says that a word has capital letters, small ones and digits; one password in seventy lacks one of these.
func mixed(word []byte) bool {
	return bytes.ContainsAny(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") && bytes.ContainsAny(word, "abcdefghijklmnopqrstuvwxyz") && bytes.ContainsAny(word, "0123456789")
}

func union(a, b map[int]bool) map[int]bool {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
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

// address searches what a web server answers. A certificate is not verified: the manager makes its own.
func (h *hoard) address(ctx context.Context, place, url, token string) {
	if url == "" {
		return
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		h.unread(place, err)
		return
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		h.unread(place, err)
		return
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	if response.StatusCode != http.StatusOK {
		h.unread(place, fmt.Errorf("the answer is %s", response.Status))
		return
	}
	found := map[int]bool{}
	if err := h.finder.read(response.Body, found); err != nil {
		h.unread(place, err)
	}
	h.report(place, found, nil)
}

// server searches a server's log, its files, the ledger's tables row by row, and the statements that PostgreSQL remembers.
func (h *hoard) server(ctx context.Context, e Environment) {
	place := "PostgreSQL of " + e.Name
	if e.LogFile != "" {
		h.file(e.LogFile, "log "+e.LogFile, h.own)
		h.lookalikes(e.LogFile)
	}
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
	h.data(ctx, e, connection)
	for _, table := range tables {
		found := map[int]bool{}
		rows, _ := connection.Query(ctx, "SELECT t::text FROM "+table+" t")
		var row string
		if _, err := pgx.ForEachRow(rows, []any{&row}, func() error { h.finder.in([]byte(row), found); return nil }); err != nil {
			h.unread("table "+table+" of "+e.Name, translate("it", err))
		}
		h.report("table "+table+" of "+e.Name, found, h.own)
	}
}

// data searches the files of the server, its write-ahead log among them, as bytes. The databases of the tenants are left out: they are
// many, and the operator writes nothing into them.
func (h *hoard) data(ctx context.Context, e Environment, connection *pgx.Conn) {
	if e.DataDir == "" {
		return
	}
	var database string
	if err := connection.QueryRow(ctx, "SELECT oid::text FROM pg_database WHERE datname = current_database()").Scan(&database); err != nil {
		h.unread("the files of "+e.Name, translate("the catalogue", err))
		return
	}
	base := filepath.Join(e.DataDir, "base")
	h.folder(e.DataDir, "PostgreSQL's file", union(h.verifiers, h.own), func(path string) bool {
		return filepath.Dir(path) == base && filepath.Base(path) != database
	})
}
