package checker

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// askForSecret has acme ask for a Secret, beside its app, and makes it as it should be.
func askForSecret(t *testing.T, f *fixture) (secret map[string]any, data map[string][]byte) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(`{"delivery": {"fly": {}, "connectionSecret": {"name": "db"}}}`), &f.objects[0].Spec))
	data = map[string][]byte{"type": []byte("postgresql"), "provider": []byte("x"), "url": []byte(f.url(acme, acmeSecond)), "host": []byte("127.0.0.1"),
		"port": []byte(fmt.Sprint(f.port)), "username": []byte("tenant_7dd06cd6"), "password": []byte(acmeSecond), "database": []byte("site_7dd06cd6")}
	secret = map[string]any{"type": "servicebinding.io/postgresql", "data": data,
		"metadata": map[string]any{"namespace": "tenants", "name": "db", "ownerReferences": []any{map[string]string{"apiVersion": "credentials.systemprompt.io/v1alpha1", "uid": acmeUID}}}}
	f.secrets = append(f.secrets, secret)
	return secret, data
}

// The Secret that a tenant has asked for has its password, and etcd's files have it with that.
func TestConnectionSecretIsAsItShouldBe(t *testing.T) {
	f := newFixture(t)
	askForSecret(t, f)
	f.write(f.config.EtcdDir+"/snap", f.url(acme, acmeSecond))
	require.Empty(t, f.check(nil, nil))
}

// A tenant without an app at all: nothing is expected of Fly.
func TestConnectionSecretAlone(t *testing.T) {
	f := newFixture(t)
	askForSecret(t, f)
	f.objects[0].Spec.Delivery.Fly, f.objects[0].Status.Fly = nil, nil
	f.sql("UPDATE tenant_credentials.rotations SET fly_app = NULL, fly_secret_version = NULL, fly_secret_digest = NULL")
	delete(f.apps, "sp-7dd06cd6")
	f.arrivals = nil
	require.Empty(t, f.check(nil, nil))
	f.objects[0].Status.Conditions = []condition{{"Ready", "False", "X"}, {"Reconciling", "True", "X"}}
	require.Contains(t, strings.Join(f.check(nil, nil), "\n"), "is not Ready (X), and generation 2 that is asked for is done")
}

func TestConnectionSecretBroken(t *testing.T) {
	tests := []struct {
		name string
		do   func(f *fixture, secret map[string]any, data map[string][]byte)
		says string
	}{
		{"gone", func(f *fixture, _ map[string]any, _ map[string][]byte) { f.secrets = f.secrets[:2] }, "Secret tenants/db does not exist"},
		{"type", func(_ *fixture, secret map[string]any, _ map[string][]byte) { secret["type"] = "Opaque" }, `Secret tenants/db has type "Opaque"`},
		{"previous password", func(f *fixture, _ map[string]any, data map[string][]byte) {
			data["url"], data["password"] = []byte(f.url(acme, acmeFirst)), []byte(acmeFirst)
		}, "the login with the url in Secret tenants/db is refused: SQLSTATE 28P01"},
		{"keys that contradict one another", func(_ *fixture, _ map[string]any, data map[string][]byte) { data["host"] = []byte("elsewhere") }, "host in Secret tenants/db does not say"},
		{"staged one left", func(f *fixture, secret map[string]any, _ map[string][]byte) {
			f.secrets = append(f.secrets, map[string]any{"type": secret["type"], "metadata": map[string]any{"namespace": "tenants", "name": "db-r2",
				"ownerReferences": secret["metadata"].(map[string]any)["ownerReferences"]}})
		}, "Secret tenants/db-r2 is left from a rotation"},
		{"of a previous object", func(_ *fixture, secret map[string]any, _ map[string][]byte) {
			secret["metadata"].(map[string]any)["ownerReferences"].([]any)[0].(map[string]string)["uid"] = "previous"
		}, "Secret tenants/db does not belong to tenants/acme"},
		{"another tenant's password", func(f *fixture, _ map[string]any, data map[string][]byte) {
			f.apps["sp-b1e0c0de"] = f.app(beta, betaFirst, betaFirst)
			data["comment"] = []byte(betaFirst)
		}, "stands in Secret tenants/db, which the operator made"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			secret, data := askForSecret(t, f)
			test.do(f, secret, data)
			require.Contains(t, strings.Join(f.check(nil, nil), "\n"), test.says)
		})
	}
}

// Secrets' content in the audit log is no finding where it was written into one that a tenant has asked for, whether or not both are still
// there; and it is one everywhere else.
func TestAuditLog(t *testing.T) {
	const owner = `"ownerReferences":[{"apiVersion":"credentials.systemprompt.io/v1alpha1","uid":"u"}]`
	asked := `{"verb":"patch","objectRef":{"resource":"tenantcredentials"},"responseObject":{"metadata":{"namespace":"tenants","name":"acme"},` +
		`"spec":{"tenantID":"` + acme + `","delivery":{"connectionSecret":{"name":"db"}}}}}`
	staged := func(name, password string) string {
		return `{"verb":"create","objectRef":{"resource":"secrets","namespace":"tenants","name":"` + name + `"},"requestObject":{"metadata":{"name":"` + name + `",` + owner +
			`},"type":"servicebinding.io/postgresql","data":{"password":"` + base64.StdEncoding.EncodeToString([]byte(password)) + `"}}}`
	}
	elsewhere := func(password string) string {
		return `{"verb":"create","objectRef":{"resource":"configmaps"},"requestObject":{"data":{"x":"` + password + `"}}}`
	}
	tests := []struct {
		name  string
		lines []string
		etcd  string
		says  string // "" = nothing
	}{
		{"asked for and staged", []string{asked, staged("db-r3", acmeFirst)}, acmeFirst, ""},
		{"never asked for", []string{staged("db-r3", acmeFirst)}, "", "stands in log "},
		{"another name than was asked for", []string{asked, staged("other-r3", acmeFirst)}, "", "stands in log "},
		{"in another object", []string{asked, staged("db-r3", acmeFirst), elsewhere(acmeFirst)}, "", "stands in log "},
		{"another one of the tenant in etcd", []string{asked, staged("db-r3", acmeFirst)}, acmeRefused, "stands in etcd's file "},
		{"one that was only ever staged, in another object", []string{asked, staged("db-r3", "oNlyEverStagedGGGGGGGGGGGGGGGGGG"), elsewhere("oNlyEverStagedGGGGGGGGGGGGGGGGGG")}, "",
			"a password that was written into Secret tenants/db-r3 stands in log "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.config.AuditLog = f.config.LogFiles[0] + ".audit"
			f.write(f.config.AuditLog, strings.Join(test.lines, "\n")+"\n")
			f.write(f.config.EtcdDir+"/snap", "\x00"+test.etcd)
			said := f.check(nil, nil)
			if test.says == "" {
				require.Empty(t, said)
				return
			}
			require.Len(t, said, 1)
			require.Contains(t, said[0], test.says)
		})
	}
}
