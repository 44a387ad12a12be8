package faultmatrix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// witness looks at one tenant all the while, and notes what must not be at any moment.
type witness struct {
	lane   *lane
	site   *site
	tenant platform.Tenant
	from   int64 // the object's generation that the rotation is asked for by: an earlier report is no news
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	seen []string
}

// watch begins to look. end returns what was noted.
func (l *lane) watch(t *testing.T, at *site, x platform.Tenant, from int64) *witness {
	ctx, stop := context.WithCancel(t.Context())
	w := &witness{lane: l, site: at, tenant: x, from: from, stop: stop}
	look := w.credentials
	if at.table != nil {
		look = w.apart
	}
	w.done.Go(func() { w.note(look(ctx)) })
	w.done.Go(func() { w.note(w.readiness(ctx)) })
	return w
}

func (w *witness) end() []string {
	w.stop()
	w.done.Wait()
	return w.seen
}

func (w *witness) say(format string, arguments ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, fmt.Sprintf(format, arguments...))
}

func (w *witness) note(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		w.say("the witness could not look: %v", err)
	}
}

// credentials asserts that all committed values agree at every moment: one statement sees one moment. So a rotation that was not
// committed has changed nothing, or has closed the login after a compromise, and the ledger says that it has. And the password in force
// was at Fly before it came into force: no other place ever has that password.
func (w *witness) credentials(ctx context.Context) error {
	c, err := pgx.Connect(ctx, platform.Sandbox().URL)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	if err := quieten(ctx, c); err != nil {
		return err
	}
	known := ""
	for ctx.Err() == nil {
		var verifier string
		var role, hash bool
		err := c.QueryRow(ctx, `SELECT coalesce(a.rolpassword, ''), CASE WHEN a.rolpassword IS NULL
				THEN NOT a.rolcanlogin AND EXISTS (SELECT FROM tenant_credentials.rotations o WHERE o.tenant_id = c.tenant_id AND o.state = 'open' AND o.closed_at IS NOT NULL)
				ELSE sha256(convert_to(a.rolpassword, 'UTF8')) = coalesce(r.verifier_digest, c.verifier_digest) END,
			sha256(convert_to(t.password_hash, 'UTF8')) = coalesce(r.hash_digest, c.hash_digest)
			FROM tenant_credentials.claims c JOIN management.tenants t ON t.id = c.tenant_id
			LEFT JOIN LATERAL (SELECT * FROM tenant_credentials.rotations r WHERE r.tenant_id = c.tenant_id AND r.state IN ('committed', 'rolled', 'completed')
				ORDER BY r.revision DESC LIMIT 1) r ON true JOIN pg_authid a ON a.rolname = coalesce(r.login, c.role) WHERE c.tenant_id = $1`, w.tenant.ID).Scan(&verifier, &role, &hash)
		if err != nil {
			return err
		}
		if !role || !hash {
			w.say("at a moment in between, the ledger agreed with the role: %t, with the stored hash: %t", role, hash)
			return nil
		}
		if verifier != known && verifier != "" {
			if !w.atFly(ctx, verifier) {
				w.say("a password came into force that Fly did not have")
				return nil
			}
			known = verifier
		}
		time.Sleep(50 * time.Millisecond) // a sample
	}
	return nil
}

// quieten keeps a session that asks all the while out of the server's log, where it costs more than it tells.
func quieten(ctx context.Context, c *pgx.Conn) error {
	return execute(ctx, c, "SELECT set_config(name, '-1', false) FROM pg_settings WHERE name IN ('auto_explain.log_min_duration', 'log_min_duration_statement')",
		"SET log_statement = none", "SET log_duration = off")
}

// atFly says whether any value that the app ever had satisfies the verifier.
func (w *witness) atFly(ctx context.Context, verifier string) bool {
	var app struct{ History []struct{ Value *string } }
	if err := platform.AskAdmin(ctx, http.MethodGet, "/admin/apps/"+w.tenant.App(), "", &app); err != nil {
		return ctx.Err() != nil
	}
	for _, change := range app.History {
		if change.Value == nil {
			continue
		}
		if u, err := url.Parse(*change.Value); err == nil && u.User != nil {
			if password, _ := u.User.Password(); checker.Satisfies(verifier, password) {
				return true
			}
		}
	}
	return false
}

// readiness has the checker judge whenever the object says that it is ready for what is asked for.
func (w *witness) readiness(ctx context.Context) error {
	for ctx.Err() == nil {
		events, err := w.lane.objects.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + w.tenant.Name})
		if err != nil {
			return err
		}
		for event := range events.ResultChan() {
			object, is := event.Object.(*unstructured.Unstructured)
			if is && blames(object) {
				w.say("HashSynced blamed another client: %s", message(object))
			}
			if is && object.GetGeneration() >= w.from && ready(object) {
				w.judge(ctx, object)
			}
		}
	}
	return nil
}

func (w *witness) judge(ctx context.Context, object *unstructured.Unstructured) {
	found := checker.Check(ctx, w.site.config, nil, nil)
	now, err := w.lane.objects.Get(ctx, w.tenant.Name, metav1.GetOptions{})
	if err != nil || now.GetGeneration() != object.GetGeneration() {
		return // the next rotation is asked for, or the witness is to end
	}
	for _, violation := range found {
		if strings.Contains(violation.Tenant, w.tenant.ID) {
			w.say("while the object said Ready: %s", violation.Text)
		}
	}
}

// blames says that the object names another client alone as the one that changed the stored hash: in a trial, only the operator does.
func blames(object *unstructured.Unstructured) bool {
	for line := range strings.Lines(message(object)) {
		if strings.HasPrefix(line, "HashSynced=False") && strings.Contains(line, "; another client changed it") {
			return true
		}
	}
	return false
}

// ready says that the object is Ready, and says so of its present spec.
func ready(object *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if c, is := c.(map[string]any); is && c["type"] == "Ready" {
			observed, _, _ := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
			return c["status"] == "True" && observed == object.GetGeneration() && c["observedGeneration"] == object.GetGeneration()
		}
	}
	return false
}

// message is what the object says of itself.
func message(object *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	text := ""
	for _, c := range conditions {
		if c, is := c.(map[string]any); is {
			text += fmt.Sprintf("%v=%v %v: %v\n", c["type"], c["status"], c["reason"], c["message"])
		}
	}
	return text
}
