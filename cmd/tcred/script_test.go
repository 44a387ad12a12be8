package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"
	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
	pgserver "github.com/systempromptio/tenant-credential-operator/test/postgres"
)

const flyToken = "fm2_of-the-user"

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"tcred": main}) }

// The scenes of testdata/script run tcred itself against an endpoint that behaves as its contract says, Fly's emulator, and a PostgreSQL server.
func TestScripts(t *testing.T) {
	server := sync.OnceValues(func() (*pgserver.Server, error) {
		s, err := pgserver.Start(context.Background(), pgserver.Options{Version: "15"})
		if err == nil {
			t.Cleanup(s.Stop)
		}
		return s, err
	})
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: func(env *testscript.Env) error { return setUp(env, server) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "endpoint": endpointCommand, "calls": calls, "fly": flyCommand, "postgres": postgresCommand, "mode": mode, "holds": holds, "watched": watched,
		},
	})
}

// scene is what one script has around it.
type scene struct {
	*fake
	fly       *flyemulator.Emulator
	passwords []string
	database  func(password string) error // nil = there is none
	server    func() (*pgserver.Server, error)
}

func setUp(env *testscript.Env, server func() (*pgserver.Server, error)) error {
	s := &scene{fake: newFake(), fly: flyemulator.New(flyemulator.Options{}), server: server}
	api := httptest.NewServer(s.fly.API())
	env.Defer(func() { s.Close(); s.fly.Close(); api.Close() })
	s.fly.PutToken(flyToken, flyemulator.Token{Organization: "o"})
	s.fly.PutApp(testApp, "o", "")
	s.onRotate = s.rotated
	ca := filepath.Join(env.WorkDir, "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		return err
	}
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("TCRED_SERVER", s.URL)
	env.Setenv("TCRED_CA_FILE", ca)
	env.Setenv("TCRED_TOKEN", testToken)
	env.Setenv("FLY_API_TOKEN", flyToken)
	env.Setenv("FLY_FLAPS_BASE_URL", api.URL)
	env.Setenv("ID", testTenant)
	env.Values["scene"] = s
	return nil
}

func of(ts *testscript.TestScript) *scene { return ts.Value("scene").(*scene) }

// rotated makes a new password: in the database, and in a Machine that is newer than the others. It has what a URL, a password file and a
// shell could trip over.
func (s *scene) rotated(revision int64) {
	password := fmt.Sprintf(`p:a\s/s@%%?#&"'$ %d of revision %d`, len(s.passwords), revision)
	s.passwords = append(s.passwords, password)
	if s.database != nil {
		if err := s.database(password); err != nil {
			panic(err)
		}
	}
	u := url.URL{
		Scheme: "postgresql", User: url.UserPassword(testLogin, password), Host: fmt.Sprintf("127.0.0.1:%d", s.port), Path: "/" + testDB, RawQuery: "sslmode=disable",
	}
	value := u.String()
	s.fly.PutSecret(testApp, "DATABASE_URL", &value)
	if _, err := s.fly.AddMachine(testApp, flyemulator.NewMachine{}); err != nil {
		panic(err)
	}
}

// exits runs a program and expects its exit code. It fails where a token, or a password that --show-password did not ask for, is printed.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, is := errors.AsType[*exec.ExitError](err); is {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, and not %s", code, args[0])
	}
	printed := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	for _, secret := range append([]string{testToken, flyToken}, s.secrets(slices.Contains(args, "--show-password"))...) {
		if strings.Contains(printed, secret) {
			ts.Fatalf("a secret was printed: %s", secret)
		}
	}
}

// secrets are the passwords, as they are and as they stand in a URL.
func (s *scene) secrets(shown bool) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, password := range s.passwords {
		if !shown {
			list = append(list, password, strings.TrimPrefix(url.UserPassword("", password).String(), ":"))
		}
	}
	return list
}

// endpointCommand arranges what the endpoint does: faults for the next requests, or how it is.
func endpointCommand(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, arg := range args {
		switch arg {
		case "slow":
			s.slow = true
		case "quick":
			s.slow = false
		case "fails":
			s.ending = client.Failed
		case "supersedes":
			s.ending = client.Superseded
		case "no-fly":
			s.noFly = true
		case "external":
			s.access = client.Enabled
		default:
			s.faults = append(s.faults, arg)
		}
	}
}

// calls says which requests the endpoint has had since the last time, "key" for a call's idempotency key by the order of keys, and how many
// rotations there are.
func calls(ts *testscript.TestScript, _ bool, _ []string) {
	s := of(ts)
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := []string{""}
	for _, r := range s.requests {
		at := slices.Index(keys, r.key)
		if at < 0 {
			at, keys = len(keys), append(keys, r.key)
		}
		ts.Check(write(ts, fmt.Sprintf("%s key=%d prefer=%s body=%s\n", r.call, at, r.prefer, r.body)))
	}
	ts.Check(write(ts, fmt.Sprintf("rotations: %d\n", len(s.rotations))))
	s.requests = nil
}

func write(ts *testscript.TestScript, text string) error {
	_, err := ts.Stdout().Write([]byte(text))
	return err
}

// flyCommand arranges what is at Fly.
func flyCommand(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	switch args[0] {
	case "stale": // a newer Machine that still has another login's value
		state, _ := s.fly.Inspect(context.Background(), testApp)
		present := state.Machines[0].Env["DATABASE_URL"]
		stale := strings.Replace(present, testLogin, testLogin+"_b", 1)
		s.fly.PutSecret(testApp, "DATABASE_URL", &stale)
		_, err := s.fly.AddMachine(testApp, flyemulator.NewMachine{})
		ts.Check(err)
		s.fly.PutSecret(testApp, "DATABASE_URL", &present)
	case "revoked":
		s.fly.DeleteToken(flyToken)
	case "asked": // how many commands were run in Machines
		n := 0
		for _, r := range s.fly.Requests() {
			if strings.HasSuffix(r.Path, "/exec") {
				n++
			}
		}
		ts.Check(write(ts, fmt.Sprintf("exec: %d\n", n)))
	}
}

// postgresCommand gives the scene a database, in which each rotation sets the password.
func postgresCommand(ts *testscript.TestScript, _ bool, _ []string) {
	s := of(ts)
	postgres, err := s.server()
	ts.Check(err)
	run := func(statement string) error {
		ctx := context.Background()
		c, err := pgx.Connect(ctx, postgres.SuperuserURL())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close(ctx) }()
		_, err = c.Exec(ctx, statement)
		return err
	}
	for _, statement := range []string{
		"DROP DATABASE IF EXISTS " + testDB, "DROP ROLE IF EXISTS " + testLogin,
		"CREATE ROLE " + testLogin + " LOGIN", "CREATE DATABASE " + testDB + " OWNER " + testLogin,
	} {
		ts.Check(run(statement))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.port = postgres.Port
	s.database = func(password string) error {
		return run("ALTER ROLE " + testLogin + " PASSWORD '" + strings.ReplaceAll(password, "'", "''") + "'")
	}
}

// mode expects a file's mode.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has the mode %s", args[1], got)
	}
}

// holds says that a file has the last password in it; with "!" that no file of the scene has one.
func holds(ts *testscript.TestScript, not bool, args []string) {
	s := of(ts)
	if !not {
		passwords := s.secrets(false) // each as it is, and as it stands in a URL
		if !strings.Contains(strings.ReplaceAll(ts.ReadFile(args[0]), `\`, ""), strings.ReplaceAll(passwords[len(passwords)-2], `\`, "")) {
			ts.Fatalf("%s does not have the password", args[0])
		}
		return
	}
	ts.Check(filepath.WalkDir(ts.MkAbs("."), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || slices.Contains(args, filepath.Base(path)) {
			return err
		}
		content, err := os.ReadFile(path)
		for _, password := range s.secrets(false) {
			if strings.Contains(string(content), password) {
				ts.Fatalf("%s has a password", path)
			}
		}
		return err
	}))
}
