package checker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"regexp"
	"strings"
)

// kubernetesSecret is what the checker reads of a Secret.
type kubernetesSecret struct {
	Metadata metadata          `json:"metadata"`
	Type     string            `json:"type"`
	Data     map[string][]byte `json:"data"`
}

func (s kubernetesSecret) name() string { return s.Metadata.Namespace + "/" + s.Metadata.Name }

// owner is the UID of the TenantCredential that the operator made the Secret for; made says that it has made it at all.
func (s kubernetesSecret) owner() (uid string, made bool) {
	for _, o := range s.Metadata.OwnerReferences {
		if strings.HasPrefix(o.APIVersion, "credentials.systemprompt.io/") {
			return o.UID, true
		}
	}
	return "", false
}

func (s kubernetesSecret) belongsTo(o *object) bool {
	uid, made := s.owner()
	return made && uid == o.Metadata.UID
}

// readSecrets reads the Secrets of the cluster.
func (w *world) readSecrets(ctx context.Context) error {
	var list struct{ Items []kubernetesSecret }
	err := w.config.kubectlJSON(ctx, &list, "get", "secrets", "-A", "-o", "json")
	w.secrets = list.Items
	return err
}

// connectionSecret is the Secret that an object asks for, nil where there is none.
func (w *world) connectionSecret(o *object) *kubernetesSecret {
	for i := range w.secrets {
		if o.asksFor(w.secrets[i].name()) {
			return &w.secrets[i]
		}
	}
	return nil
}

// asksFor says whether the object wants its credentials in the Secret of that name.
func (o *object) asksFor(secret string) bool {
	return o != nil && o.Spec.Delivery.ConnectionSecret != nil && o.Metadata.Namespace+"/"+o.Spec.Delivery.ConnectionSecret.Name == secret
}

// deliversToFly says whether the app gets the credentials; that of an object that is gone did.
func (o *object) deliversToFly() bool {
	return o == nil || o.Spec.Delivery.Fly != nil || o.Spec.Delivery.ConnectionSecret == nil
}

// staged is the name of a Secret that holds a revision until it is committed.
var staged = regexp.MustCompile(`^(.+)-r[0-9]+$`)

// connectionSecretAgrees compares the Secret that the holder asks for with PostgreSQL, and each of its keys with the others.
func connectionSecretAgrees(w *world, t *tenant) []string {
	o, last := t.holder(), t.last()
	if o == nil || o.Spec.Delivery.ConnectionSecret == nil || last == nil {
		return nil
	}
	s := w.connectionSecret(o)
	if s == nil {
		return []string{fmt.Sprintf("revision %d was delivered, and Secret %s/%s does not exist", last.revision, o.Metadata.Namespace, o.Spec.Delivery.ConnectionSecret.Name)}
	}
	var wrong []string
	say := func(bad bool, format string, arguments ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, arguments...))
		}
	}
	for _, other := range w.secrets {
		match := staged.FindStringSubmatch(other.name())
		_, made := other.owner()
		say(made && match != nil && match[1] == s.name(), "Secret %s is left from a rotation", other.name())
	}
	say(s.Type != "servicebinding.io/postgresql", "Secret %s has type %q", s.name(), s.Type)
	say(!s.belongsTo(o), "Secret %s does not belong to %s", s.name(), o.name())
	url, readable := parseURL(string(s.Data["url"]))
	if !readable {
		return append(wrong, fmt.Sprintf("url in Secret %s is not the URL of a login", s.name()))
	}
	say(url.user != t.login() || url.database != t.database, "url in Secret %s is of another login or database", s.name())
	say(!Satisfies(t.verifier, url.password), "the password in Secret %s does not satisfy the verifier of role %s", s.name(), t.login())
	say(w.environments[o.Spec.EnvironmentRef.Name].address() != url.address, "url in Secret %s does not lead to the environment's server", s.name())
	host, port, _ := net.SplitHostPort(url.address)
	for key, value := range map[string]string{"type": "postgresql", "username": url.user, "password": url.password, "database": url.database, "host": host, "port": port} {
		say(string(s.Data[key]) != value, "%s in Secret %s does not say what its url says", key, s.name())
	}
	return wrong
}

// logInBySecret tries what each connection Secret has.
func (w *world) logInBySecret(ctx context.Context) []Violation {
	return w.eachTenant(func(t *tenant) string {
		o := t.holder()
		if o == nil || o.Spec.Delivery.ConnectionSecret == nil || t.last() == nil || w.connectionSecret(o) == nil {
			return "" // connectionSecretAgrees has said so
		}
		url, readable := parseURL(string(w.connectionSecret(o).Data["url"]))
		if !readable {
			return ""
		}
		if err := t.try(ctx, url); err != nil {
			return fmt.Sprintf("the login with the url in Secret %s is refused: %s", w.connectionSecret(o).name(), sqlState(err))
		}
		return ""
	})
}

// auditEvent is what the checker reads of a line of the API server's audit log.
type auditEvent struct {
	Verb      string `json:"verb"`
	ObjectRef struct {
		Resource  string `json:"resource"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"objectRef"`
	RequestObject  json.RawMessage `json:"requestObject"`
	ResponseObject json.RawMessage `json:"responseObject"`
}

// written gathers the passwords that were written into Secrets which a TenantCredential asks for, or has asked for: the audit log knows
// also those of objects and rotations that are gone. They may stand in these Secrets, and so in etcd, and in the audit log's lines about
// Secrets. A tenant that never asked for a Secret has none.
func (w *world) written(h *hoard) {
	asked := map[string]string{} // by the Secret: a tenant's ID
	for _, o := range w.objects {
		if o.Spec.Delivery.ConnectionSecret != nil {
			asked[o.Metadata.Namespace+"/"+o.Spec.Delivery.ConnectionSecret.Name] = o.Spec.TenantID
		}
	}
	for _, s := range w.secrets {
		w.take(h, asked, s)
	}
	if w.config.AuditLog == "" {
		return
	}
	for _, read := range []func(line []byte){
		func(line []byte) { auditAsked(line, asked) },
		func(line []byte) {
			if s, is := auditWritten(line); is {
				w.take(h, asked, s)
			}
		},
	} {
		if err := eachLine(w.config.AuditLog, read); err != nil {
			h.unread("log "+w.config.AuditLog, err)
		}
	}
}

// take takes up the password of a Secret of the operator's making, if a tenant has asked for that Secret.
func (w *world) take(h *hoard, asked map[string]string, s kubernetesSecret) {
	name := s.name()
	id, is := asked[name]
	if match := staged.FindStringSubmatch(name); !is && match != nil {
		id, is = asked[match[1]]
	}
	password := string(s.Data["password"])
	if _, made := s.owner(); !is || !made || password == "" {
		return
	}
	label := id
	if t := w.tenant(id); t != nil {
		label = t.label()
	}
	h.written[h.add(password, label, "a password that was written into Secret "+name)] = true
}

// auditAsked notes which Secret a TenantCredential asks for, if the line is about one.
func auditAsked(line []byte, asked map[string]string) {
	var event auditEvent
	var o object
	if !bytes.Contains(line, []byte(`"connectionSecret"`)) || json.Unmarshal(line, &event) != nil || event.ObjectRef.Resource != "tenantcredentials" ||
		json.Unmarshal(event.ResponseObject, &o) != nil || o.Spec.Delivery.ConnectionSecret == nil {
		return
	}
	asked[o.Metadata.Namespace+"/"+o.Spec.Delivery.ConnectionSecret.Name] = o.Spec.TenantID
}

// auditWritten is the Secret that a line says was sent to be written.
func auditWritten(line []byte) (s kubernetesSecret, is bool) {
	var event auditEvent
	if !bytes.Contains(line, []byte(`"servicebinding.io/postgresql"`)) || json.Unmarshal(line, &event) != nil || event.ObjectRef.Resource != "secrets" {
		return s, false
	}
	err := json.Unmarshal(event.RequestObject, &s)
	s.Metadata.Namespace = event.ObjectRef.Namespace
	return s, err == nil && (event.Verb == "create" || event.Verb == "update")
}

// audit searches the API server's audit log line by line: content that was written into a Secret may stand in lines about Secrets, and nowhere else.
func (h *hoard) audit(path string) {
	inSecrets := union(h.own, h.written)
	err := eachLine(path, func(line []byte) {
		found := map[int]bool{}
		if h.finder.in(line, found); len(found) == 0 {
			return
		}
		allowed := h.own
		var event auditEvent
		if json.Unmarshal(line, &event) == nil && event.ObjectRef.Resource == "secrets" {
			allowed = inSecrets
		}
		h.report("log "+path, found, allowed)
	})
	if err != nil {
		h.unread("log "+path, err)
	}
}

func eachLine(path string, do func(line []byte)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it is only read
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			do(line)
		}
		if err == io.EOF { //nolint:errorlint // a reader returns io.EOF itself
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// searchSecrets returns the content of the Secrets that the operator did not make: their makers meant it to stand there. One that the operator made has
// nothing but the content that its owner has asked for.
func (h *hoard) searchSecrets(w *world) map[int]bool {
	usersOwn := map[int]bool{}
	for _, s := range w.secrets {
		found := map[int]bool{}
		for _, value := range s.Data {
			h.finder.in(value, found)
		}
		if _, made := s.owner(); !made {
			maps.Copy(usersOwn, found)
			continue
		}
		h.report("Secret "+s.name()+", which the operator made", found, h.meantFor(w, s))
	}
	return usersOwn
}

// meantFor are the passwords that may stand in a Secret of the operator's making. One that its owner does not ask for any more stays, with a
// previous password.
func (h *hoard) meantFor(w *world, s kubernetesSecret) map[int]bool {
	meant := map[int]bool{}
	for _, t := range w.tenants {
		for _, o := range t.objects {
			if !s.belongsTo(o) {
				continue
			}
			for i := range h.written {
				if h.names[i].Tenant == t.label() {
					meant[i] = true
				}
			}
		}
	}
	return meant
}
