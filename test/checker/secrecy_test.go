package checker

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// Each place in which a password can stand.
func TestPasswordsFound(t *testing.T) {
	base64URL := func(f *fixture) string { return base64.StdEncoding.EncodeToString([]byte(f.url(acme, acmeFirst))) }
	secret := func(f *fixture, owners ...any) {
		f.secrets = append(f.secrets, map[string]any{"metadata": map[string]any{"namespace": "n", "name": "s", "ownerReferences": owners},
			"data": map[string]string{"url": base64URL(f)}})
	}
	tests := []struct {
		name, says string
		do         func(*fixture)
	}{
		{"log", "stands in log ", func(f *fixture) { f.write(f.config.LogFiles[0], "a line\nurl="+f.url(acme, acmeFirst)) }},
		{"log, base64", "stands in log ", func(f *fixture) { f.write(f.config.LogFiles[0], base64URL(f)) }},
		{"verifier in a log", "the present verifier of role tenant_7dd06cd6 stands in log ", func(f *fixture) { f.write(f.config.LogFiles[0], acmeVerifier(t)) }},
		{"etcd", "stands in etcd's file ", func(f *fixture) { f.write(f.config.EtcdDir+"/snap", "\x00\x01"+acmeFirst) }},
		{"etcd, base64", "stands in etcd's file ", func(f *fixture) { f.write(f.config.EtcdDir+"/snap", base64URL(f)) }},
		{"status", "stands in TenantCredential tenants/acme", func(f *fixture) { f.objects[0].Status.Conditions[0].Reason = acmeFirst }},
		{"event", "stands in Event n/e", func(f *fixture) {
			f.events = append(f.events, map[string]any{"kind": "Event", "metadata": map[string]string{"namespace": "n", "name": "e"}, "message": f.url(acme, acmeFirst)})
		}},
		{"metrics", "stands in the metrics", func(f *fixture) { f.metrics = `x{p="` + acmeFirst + `"} 1` }},
		{"ledger", "stands in table tenant_credentials.rotations of sandbox", func(f *fixture) { f.sql("UPDATE tenant_credentials.rotations SET field_manager = '" + acmeFirst + "'") }},
		{"ledger, as bytes", "stands in table tenant_credentials.rotations of sandbox", func(f *fixture) {
			f.sql("UPDATE tenant_credentials.rotations SET delivery_digest = '" + acmeFirst + "'")
		}},
		{"log of PostgreSQL", "stands in log ", func(f *fixture) { f.write(f.config.Environments[0].LogFile, "statement: "+acmeFirst) }},
		{"one that Fly refused", "a password that was sent to app sp-7dd06cd6 stands in log ", func(f *fixture) { f.write(f.config.ManagerLog, f.url(acme, acmeRefused)) }},
		{"crash output", "stands in log ", func(f *fixture) { f.write(f.config.ManagerLog, fmt.Sprintf("panic: %v", []byte(acmeFirst))) }},
		{"hex dump", "stands in log ", func(f *fixture) { f.write(f.config.LogFiles[0], hex.Dump([]byte("body "+f.url(acme, acmeFirst)))) }},
		{"the manager's folder", "stands in file ", func(f *fixture) { f.write(f.config.ManagerDir+"/core", "\x00"+acmeFirst) }},
		{"files of PostgreSQL", "stands in PostgreSQL's file ", func(f *fixture) {
			f.write(f.config.Environments[0].DataDir+"/pg_wal/000000010000000000000001", "\x00"+acmeFirst)
		}},
		{"the emulator's requests", "stands in the Fly emulator's list of requests", func(f *fixture) { f.requests = []string{"/v1?password=" + acmeFirst} }},
		{"a statement", "stands in table pg_catalog.pg_stat_activity of sandbox", func(f *fixture) { remember(f.t, "SELECT '"+acmeFirst+"'") }},
		{"the operator's Secret", "stands in Secret n/s, which the operator made", func(f *fixture) {
			secret(f, map[string]string{"apiVersion": "credentials.systemprompt.io/v1alpha1"})
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			test.do(f)
			said := f.check(nil, nil)
			require.Len(t, said, 1)
			require.Contains(t, said[0], "tenant "+acme+" (tenants/acme): ")
			require.Contains(t, said[0], test.says)
		})
	}
	t.Run("the operator's own", func(t *testing.T) {
		for _, place := range []func(*fixture, string){
			func(f *fixture, text string) { f.write(f.config.ManagerLog, text) },
			func(f *fixture, text string) { f.metrics = text },
		} {
			f := newFixture(t)
			place(f, "Authorization: "+operatorToken+", password="+operatorPassword)
			said := f.check(nil, nil)
			require.Len(t, said, 2)
			require.Contains(t, said[0], "the operator's own login or token from Secret system/fly stands in ")
			require.Contains(t, said[1], "the operator's own login or token from Secret system/postgres stands in ")
		}
	})
	t.Run("the operator's own, where whoever made it has it", func(t *testing.T) {
		f := newFixture(t)
		for _, file := range []string{f.config.LogFiles[0], f.config.Environments[0].LogFile, f.config.EtcdDir + "/snap"} {
			f.write(file, operatorToken+" "+operatorPassword)
		}
		require.Empty(t, f.check(nil, nil))
	})
	t.Run("one that was thrown away before it was sent", func(t *testing.T) {
		f := newFixture(t)
		f.write(f.config.ManagerLog, "a line\n"+`{"error":"connect: postgres://u:k3JxQ9vWm2TzR7bNfH5sYc8LpD4gAe6U@h/d"}`)
		f.write(f.config.Environments[0].LogFile, "base64: k3JxQ9vWm2TzR7bNfH5sYc8LpD4gAe6U= and /k3JxQ9vWm2TzR7bNfH5sYc8LpD4gAe6U and k3JxQ9vWm2TzR7bNfH5sYc8LpD4gAe6U1")
		require.Equal(t, []string{"what looks like a password stands in line 2 of log " + f.config.ManagerLog}, f.check(nil, nil))
	})
	t.Run("files of the tenants' databases", func(t *testing.T) {
		f := newFixture(t)
		f.write(f.config.Environments[0].DataDir+"/base/1/1259", acmeFirst)
		require.Empty(t, f.check(nil, nil))
	})
	t.Run("what the platform had set is the platform's affair", func(t *testing.T) {
		f := newFixture(t)
		f.write(f.config.LogFiles[0], f.url(acme, acmeFound)+f.url(beta, betaFirst))
		require.Empty(t, f.check(nil, nil))
	})
	t.Run("a first value that the ledger knows is not the platform's", func(t *testing.T) {
		f := newFixture(t)
		f.apps["sp-7dd06cd6"].History = f.apps["sp-7dd06cd6"].History[1:]
		f.write(f.config.LogFiles[0], f.url(acme, acmeFirst))
		require.Len(t, f.check(nil, nil), 1)
	})
	t.Run("the user's own Secret is the user's affair", func(t *testing.T) {
		f := newFixture(t)
		secret(f)
		f.write(f.config.EtcdDir+"/snap", f.url(acme, acmeFirst))
		require.Empty(t, f.check(nil, nil))
	})
}

// remember leaves a session with a statement in it until the test ends.
func remember(t *testing.T, statement string) {
	connection, err := pgx.Connect(context.Background(), server.SuperuserURL())
	require.NoError(t, err)
	_, err = connection.Exec(context.Background(), statement)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connection.Close(context.Background())) })
}

func acmeVerifier(t *testing.T) string {
	connection, err := pgx.Connect(context.Background(), server.SuperuserURL())
	require.NoError(t, err)
	defer connection.Close(context.Background())
	var verifier string
	require.NoError(t, connection.QueryRow(context.Background(), "SELECT rolpassword FROM pg_authid WHERE rolname = 'tenant_7dd06cd6'").Scan(&verifier))
	return verifier
}
