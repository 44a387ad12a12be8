package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// A malformed environment is refused before it exists, with a message that says what to write. spec replaces a line of a manifest that is well-formed.
func TestMalformedEnvironmentsAreRefused(t *testing.T) {
	t.Parallel()
	const wellFormed = `apiVersion: credentials.systemprompt.io/v1alpha1
kind: TenantEnvironment
metadata: {name: malformed}
spec:
  postgres:
    loginSecretRef: {name: postgres-sandbox}
    internal: {host: db.internal}
  fly: {tokenSecretRef: {name: fly-sandbox}}
  allowedNamespaces: {from: All}
  rotation: {}
`
	const (
		login, token = "loginSecretRef: {name: postgres-sandbox}", "fly: {tokenSecretRef: {name: fly-sandbox}}"
		host, from   = "internal: {host: db.internal}", "{from: All}"
		secret       = "write the name of a Secret, for example postgres-sandbox: small letters, digits, dashes and dots"
		url          = "write a URL of a scheme and a host alone, for example https://api.machines.dev"
		labelKey     = "of labels such as example.com/environment: a DNS name and a slash, or neither, and at most 63 letters, digits, dashes, underscores and dots"
		labelValue   = "write the value of a label: at most 63 letters, digits, dashes, underscores and dots, with a letter or digit first and last"
		values       = "write values with the operators In and NotIn, and none with Exists and DoesNotExist"
		duration     = "write a length of time in hours, minutes and seconds, for example 15m or 1h30m"
	)
	selector := func(text string) string { return "{from: Selector, selector: " + text + "}" }
	labels := func(text string) string { return selector("{matchLabels: " + text + "}") }
	expression := func(text string) string { return selector("{matchExpressions: [{" + text + "}]}") }
	grace := func(text string) string { return "rotation: {overlapGracePeriod: " + text + "}" }
	tests := map[string]struct{ old, new, says string }{
		"well-formed":                {"", "", ""},
		"login Secret in capitals":   {login, "loginSecretRef: {name: Sandbox}", secret},
		"login Secret with two dots": {login, "loginSecretRef: {name: a..b}", secret},
		"login Secret elsewhere":     {login, "loginSecretRef: {name: default/postgres}", secret},
		"no login Secret":            {login, `loginSecretRef: {name: ""}`, secret},
		"login key":                  {login, "loginSecretRef: {name: a, key: a b}", "write a key of the Secret, for example url: letters, digits, dashes, underscores and dots"},
		"token Secret":               {token, "fly: {tokenSecretRef: {name: Fly}}", secret},
		"CA Secret":                  {host, host + "\n    caSecretRef: {name: CA}", "write the name of a Secret, for example platform-ca: small letters, digits, dashes and dots"},
		"CA key":                     {token, "fly: {tokenSecretRef: {name: fly}, caSecretRef: {name: ca, key: a/b}}", "write a key of the Secret, for example ca.crt: letters, digits, dashes, underscores and dots"},
		"token key":                  {token, `fly: {tokenSecretRef: {name: fly, key: ""}}`, "write a key of the Secret, for example token"},
		"user in apiURL":             {token, `fly: {tokenSecretRef: {name: fly}, apiURL: "https://me@api.machines.dev"}`, url},
		"query in apiURL":            {token, `fly: {tokenSecretRef: {name: fly}, apiURL: "https://api.machines.dev?a=b"}`, url},
		"fragment in apiURL":         {token, `fly: {tokenSecretRef: {name: fly}, apiURL: "https://api.machines.dev#a"}`, url},
		"host with a port":           {host, `internal: {host: "db.internal:5432"}`, "write a host name such as sp-postgres-sandbox.internal, or an IP address, without port or scheme"},
		"port":                       {host, "internal: {host: db.internal, port: 65536}", "should be less than or equal to 65535"},
		"selector without from":      {from, "{from: All, selector: {}}", "write a selector with from: Selector, and none with from: All"},
		"key of a label":             {from, labels(`{"a/b/c": d}`), "write keys " + labelKey},
		"empty key of a label":       {from, labels(`{"": d}`), "write keys " + labelKey},
		"value of a label":           {from, labels("{a: -b}"), labelValue},
		"long value of a label":      {from, labels("{a: " + strings.Repeat("b", 64) + "}"), "Too long: may not be more than 63 bytes"},
		"too many labels":            {from, labels("{" + strings.Join(each(17, "a%d: b"), ", ") + "}"), "must have at most 16 items"},
		"key of an expression":       {from, expression("key: a b, operator: Exists"), "write the key of a label such as example.com/environment"},
		"operator":                   {from, expression("key: a, operator: Is, values: [b]"), `supported values: "In", "NotIn", "Exists", "DoesNotExist"`},
		"In without values":          {from, expression("key: a, operator: In"), values},
		"NotIn with no value":        {from, expression("key: a, operator: NotIn, values: []"), values},
		"Exists with values":         {from, expression("key: a, operator: Exists, values: [b]"), values},
		"value of an expression":     {from, expression("key: a, operator: In, values: [b c]"), labelValue},
		"a selector":                 {from, selector("{matchLabels: {example.com/a: b, c: \"\"}, matchExpressions: [{key: d, operator: In, values: [e]}, {key: f, operator: DoesNotExist}]}"), ""},
		"no duration":                {"rotation: {}", grace("fifteen"), duration},
		"duration of days":           {"rotation: {}", grace("7d"), duration},
		"long duration":              {"rotation: {}", grace("168h1s"), "write 168h or less"},
		"longest duration":           {"rotation: {}", grace("168h"), ""},
		"reserved role prefix":       {"rotation: {}", "naming: {rolePrefix: pg_tenant_}", "write a prefix of lower-case letters, digits and underscores that does not begin with pg_, for example tenant_"},
		"no concurrency":             {"rotation: {}", "maxConcurrent: 0", "should be greater than or equal to 1"},
		"login in the URL":           {host, "internal: {host: db.internal, parameters: {user: a}}", "the login, the password and the address are the operator's to write"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, wellFormed, test.old)
			output, err := try(strings.Replace(wellFormed, test.old, test.new, 1), "create", "--dry-run=server", "-f", "-")
			if test.says == "" {
				require.NoError(t, err, output)
				return
			}
			require.Error(t, err, output)
			require.Contains(t, output, test.says)
		})
	}
}

func each(n int, format string) []string {
	made := make([]string, n)
	for i := range made {
		made[i] = fmt.Sprintf(format, i)
	}
	return made
}

// A status is never refused because of what it holds: the longest texts that PostgreSQL, Fly or a spec could bring are cut to what the CRD accepts.
func TestLongestStatusIsAccepted(t *testing.T) {
	t.Parallel()
	x := newRow(t)
	x.Apply("suspend: true")
	kinds := map[string]struct {
		object []string
		status interface{ Bound() }
	}{
		"TenantCredential":  {[]string{"-n", "tenants-sandbox", "patch", "tcred", x.Name}, &v1alpha1.TenantCredentialStatus{}},
		"TenantEnvironment": {[]string{"patch", "tenv", "sandbox"}, &v1alpha1.TenantEnvironmentStatus{}},
	}
	for name, test := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fill(reflect.ValueOf(test.status).Elem())
			patch := func() (string, error) {
				content, err := json.Marshal(map[string]any{"status": test.status})
				require.NoError(t, err)
				file := filepath.Join(t.TempDir(), "status.json")
				require.NoError(t, os.WriteFile(file, content, 0o600))
				return try("", append(test.object, "--subresource=status", "--dry-run=server", "--type=merge", "--patch-file="+file)...)
			}
			output, err := patch()
			require.Error(t, err)
			require.Contains(t, output, "Too long", "the CRD bounds it")
			test.status.Bound()
			output, err = patch()
			require.NoError(t, err, output)
		})
	}
}

// fill gives every text of a value more characters than any maximum, of several bytes each; a list of conditions is full.
func fill(v reflect.Value) {
	switch value := v.Addr().Interface().(type) {
	case *metav1.Time:
		*value = metav1.NewTime(time.Now())
		return
	case *[]metav1.Condition:
		for _, kind := range each(16, "Kind%d") {
			*value = append(*value, metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reasons.Unexpected, LastTransitionTime: metav1.Now(), Message: strings.Repeat("é", 33000)})
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat("𝔁", 5000))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

// Text that a namespace's editor and the management table's author can write makes a message long: the operator shows the beginning, and its event, and
// goes on.
func TestLongMessagesAreCut(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "stopped")
	parameters := each(16, `p%d: "`+strings.Repeat("é", 512)+`"`)
	x.Apply("databaseURL: {parameters: {" + strings.Join(parameters, ", ") + "}}")
	x.WaitReady()
	message := []rune(x.Get().Condition("Ready").Message)
	require.Len(t, message, 4096)
	require.True(t, strings.HasSuffix(string(message), "…"))
	require.Eventually(t, func() bool {
		return strings.Contains(kubectl(t, "", "-n", "tenants-sandbox", "get", "events.events.k8s.io", "--field-selector=reason=Adopted,regarding.name="+x.Name, "-o", "jsonpath={.items[*].note}"), "…")
	}, patience, 200*time.Millisecond, "the event is accepted, too")

	override(x, "fly_app", strings.Repeat("a", 5000))
	x.Apply("databaseURL: {parameters: {a: b}}")
	x.WaitReason("FlyAppNotFound")
	require.Contains(t, x.Get().Condition("Ready").Message, strings.Repeat("a", 60)+"…")
	override(x, "fly_app", x.App())
	x.WaitReady()
}

// A reference and a host belong to one writer: another one's replaces it whole, and no half of the previous one is left beside it.
func TestReferencesAreReplacedWhole(t *testing.T) {
	t.Parallel()
	manifest := func(internal, login string) string {
		return `{"apiVersion": "credentials.systemprompt.io/v1alpha1", "kind": "TenantEnvironment", "metadata": {"name": "whole"}, "spec": {"postgres": {
			"loginSecretRef": ` + login + `, "internal": ` + internal + `}, "fly": {"tokenSecretRef": {"name": "a"}}, "allowedNamespaces": {"from": "All"}}}`
	}
	apply := func(manager, manifest string) string {
		kubectl(t, manifest, "apply", "--server-side", "--force-conflicts", "--field-manager="+manager, "-f", "-")
		return kubectl(t, "", "get", "tenv", "whole", "-o", "jsonpath={.spec.postgres.internal.port} {.spec.postgres.loginSecretRef.key}")
	}
	t.Cleanup(func() { kubectl(t, "", "delete", "tenv", "whole") })
	require.Equal(t, "6432 dsn", apply("git", manifest(`{"host": "a.internal", "port": 6432}`, `{"name": "a", "key": "dsn"}`)))
	require.Equal(t, "5432 url", apply("engineer", manifest(`{"host": "b.internal"}`, `{"name": "b"}`)))
}
