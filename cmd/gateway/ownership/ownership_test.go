package ownership

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

var (
	server *pgserver.Server
	logged = &bytes.Buffer{}
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(zap.New(zap.WriteTo(logged)))
	var err error
	if server, err = pgserver.Start(context.Background(), pgserver.Options{Version: "18"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	server.Stop()
	os.Exit(code)
}

// platform is a database with a function owner_is as the ledger has it, and the URL of a login that may execute it and nothing else.
func platform(t *testing.T) (dba *pgx.Conn, login string) {
	t.Helper()
	name := "platform_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	administrator, err := pgx.Connect(t.Context(), server.SuperuserURL())
	require.NoError(t, err)
	_, err = administrator.Exec(t.Context(), "create database "+name)
	require.NoError(t, err)
	require.NoError(t, administrator.Close(t.Context()))
	dba, err = pgx.Connect(t.Context(), strings.Replace(server.SuperuserURL(), "/postgres?", "/"+name+"?", 1))
	require.NoError(t, err)
	t.Cleanup(func() { _ = dba.Close(context.Background()) })
	_, err = dba.Exec(t.Context(), fmt.Sprintf(`create schema tenant_credentials;
		create table tenant_credentials.owners (tenant uuid primary key, owner text);
		create function tenant_credentials.owner_is(tenant uuid, subject text) returns boolean language sql security definer
			set search_path = pg_catalog, pg_temp as 'select o.owner = subject from tenant_credentials.owners o where o.tenant = owner_is.tenant';
		revoke execute on function tenant_credentials.owner_is from public;
		create role %[1]s login password 'gateway-secret';
		grant usage on schema tenant_credentials to %[1]s;
		grant execute on function tenant_credentials.owner_is to %[1]s`, name+"_gateway"))
	require.NoError(t, err)
	return dba, server.URL(name+"_gateway", "gateway-secret", name)
}

func folder(t *testing.T, logins map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for environment, login := range logins {
		require.NoError(t, os.WriteFile(filepath.Join(folder, environment), []byte(login+"\n"), 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(folder, "..data"), 0o700)) // as a mounted Secret has it
	return folder
}

func opened(t *testing.T, folder string) *Logins {
	t.Helper()
	logins := New(folder)
	t.Cleanup(logins.Close)
	return logins
}

func TestTheOwner(t *testing.T) {
	dba, login := platform(t)
	tenant, unowned := uuid.NewString(), uuid.NewString()
	_, err := dba.Exec(t.Context(), "insert into tenant_credentials.owners values ($1, 'alice'), ($2, null)", tenant, unowned)
	require.NoError(t, err)
	logins := opened(t, folder(t, map[string]string{"sandbox": login}))
	owned := func(tenant, subject string) bool {
		answer := logins.Ask(t.Context(), tenant, subject)
		require.False(t, answer.Silent)
		return answer.Owned["sandbox"]
	}
	require.True(t, owned(tenant, "alice"))
	require.False(t, owned(tenant, "Alice"))
	require.False(t, owned(tenant, "alice' or true --"))
	require.False(t, owned(unowned, "alice"), "null")
	require.False(t, owned(uuid.NewString(), "alice"), "a tenant that there is not")
}

func TestEveryEnvironmentIsAsked(t *testing.T) {
	sandbox, sandboxLogin := platform(t)
	_, prodLogin := platform(t)
	tenant := uuid.NewString()
	_, err := sandbox.Exec(t.Context(), "insert into tenant_credentials.owners values ($1, 'alice')", tenant)
	require.NoError(t, err)
	logins := opened(t, folder(t, map[string]string{"sandbox": sandboxLogin, "prod": prodLogin}))
	require.Equal(t, Answer{Owned: map[string]bool{"sandbox": true, "prod": false}}, logins.Ask(t.Context(), tenant, "alice"))

	down := opened(t, folder(t, map[string]string{"sandbox": sandboxLogin, "prod": unreachable(t)}))
	require.Equal(t, Answer{Owned: map[string]bool{"sandbox": true, "prod": false}, Silent: true}, down.Ask(t.Context(), tenant, "alice"))
}

// unreachable is a login of a server that accepts connections and says nothing.
func unreachable(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return "postgres://gateway:silent-secret@" + listener.Addr().String() + "/platform?sslmode=disable"
}

func TestWhereItCannotBeAsked(t *testing.T) {
	dba, login := platform(t)
	_, err := dba.Exec(t.Context(), "revoke execute on function tenant_credentials.owner_is from "+strings.Split(strings.TrimPrefix(login, "postgres://"), ":")[0])
	require.NoError(t, err)
	for name, test := range map[string]string{
		"no URL":               "user=gateway password=keyword-secret",
		"another scheme":       "mysql://gateway:mysql-secret@127.0.0.1/platform",
		"a broken URL":         "postgres://gateway:broken-secret@127.0.0.1:port/platform",
		"a wrong password":     strings.Replace(login, "gateway-secret", "wrong-secret", 1),
		"a silent server":      unreachable(t),
		"no TLS at the server": strings.Replace(login, "?sslmode=disable", "", 1),
		"no right to ask":      login,
	} {
		t.Run(name, func(t *testing.T) {
			logins := opened(t, folder(t, map[string]string{"sandbox": test}))
			begun := time.Now()
			require.Equal(t, Answer{Owned: map[string]bool{"sandbox": false}, Silent: true}, logins.Ask(t.Context(), uuid.NewString(), "alice"))
			require.Less(t, time.Since(begun), timeout+2*time.Second)
		})
	}
	require.NotContains(t, logged.String(), "-secret", "what is logged holds a password")
	for _, part := range []string{"postgres://", "127.0.0.1", "user=", "gateway"} {
		require.NotContains(t, strings.ReplaceAll(logged.String(), "tenant-credential-gateway", ""), part, "and of the URL nothing")
	}
}

func TestAChangedFileIsTakenUp(t *testing.T) {
	_, login := platform(t)
	where := folder(t, map[string]string{"sandbox": strings.Replace(login, "gateway-secret", "wrong-secret", 1)})
	logins := opened(t, where)
	require.True(t, logins.Ask(t.Context(), uuid.NewString(), "alice").Silent)
	require.NoError(t, os.WriteFile(filepath.Join(where, "sandbox"), []byte(login), 0o600))
	require.False(t, logins.Ask(t.Context(), uuid.NewString(), "alice").Silent)
}

func TestWithoutLogins(t *testing.T) {
	for _, where := range []string{"", filepath.Join(t.TempDir(), "missing"), t.TempDir()} {
		require.False(t, opened(t, where).Ask(t.Context(), uuid.NewString(), "alice").Silent)
		require.Empty(t, opened(t, where).Ask(t.Context(), uuid.NewString(), "alice").Owned)
	}
}

func TestTheCertificateIsCheckedUnlessTheURLSaysOtherwise(t *testing.T) {
	for url, verified := range map[string]bool{
		"postgres://gateway:x@db.example.com/platform":                       true,
		"postgresql://gateway:sslmode%3Ddisable@db.example.com/platform?x=y": true,
		"postgres://gateway:x@db.example.com/platform?sslmode=disable":       false,
	} {
		config, err := configuration(url)
		require.NoError(t, err)
		secure := config.ConnConfig.TLSConfig != nil && !config.ConnConfig.TLSConfig.InsecureSkipVerify && config.ConnConfig.TLSConfig.ServerName == "db.example.com"
		require.Equal(t, verified, secure, url)
		require.Empty(t, config.ConnConfig.Fallbacks)
	}
}

func TestAQuestionThatHangs(t *testing.T) {
	dba, login := platform(t)
	logins := opened(t, folder(t, map[string]string{"sandbox": login}))
	require.False(t, logins.Ask(t.Context(), uuid.NewString(), "alice").Silent)
	held, err := dba.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = held.Rollback(context.Background()) }()
	_, err = held.Exec(t.Context(), "lock table tenant_credentials.owners in access exclusive mode")
	require.NoError(t, err)
	begun := time.Now()
	require.True(t, logins.Ask(t.Context(), uuid.NewString(), "alice").Silent)
	require.Less(t, time.Since(begun), timeout+2*time.Second)
}
