// Command tenantapp is what the Fly emulator runs on a Machine: an app that logs in to PostgreSQL anew every second (or every
// LOGIN_INTERVAL, for fleets) with the URL in its environment, and counts how that goes. It prints {"port":N} once and then answers on
// 127.0.0.1:
//
//	GET /status  {"logins":N,"failures":N,"last_error":"28P01"}
//	GET /health  200 if the last login worked, 503 if it did not
//
// After SIGUSR1 it logs in no more, and both go on saying what they said last. When it ends it prints once more what /status says, so
// that nothing that it has counted is lost.
// CRASH_ON_LOGIN_FAILURE=true in its environment makes it exit with status 1 at the first failure. It never prints the URL.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	variable := flag.String("variable", "DATABASE_URL", "environment variable that holds the database URL")
	withParent := flag.Bool("with-parent", false, "exit when standard input ends")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *withParent {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent does, however it does
			stop()
		}()
	}
	interval, err := time.ParseDuration(cmp.Or(os.Getenv("LOGIN_INTERVAL"), "1s"))
	if err == nil {
		err = run(ctx, os.Getenv(*variable), interval, os.Getenv("CRASH_ON_LOGIN_FAILURE") == "true")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tenantapp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string, interval time.Duration, crash bool) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	rest := make(chan os.Signal, 1)
	signal.Notify(rest, syscall.SIGUSR1)
	if err := json.NewEncoder(os.Stdout).Encode(map[string]int{"port": listener.Addr().(*net.TCPAddr).Port}); err != nil {
		return err
	}
	app := &app{url: url}
	server := &http.Server{Handler: app.routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close
	defer func() { _ = server.Close() }()
	defer app.tell(os.Stdout)

	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if class := app.login(ctx); class != "" && crash {
			return fmt.Errorf("login failed: %s", class)
		}
		select {
		case <-tick.C:
		case <-rest:
			<-ctx.Done()
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}
