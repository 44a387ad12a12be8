// Command fly-emulator serves the Fly emulator and its admin API until it is told to stop.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address of the Fly API")
	admin := flag.String("admin", "127.0.0.1:0", "address of the admin API; loopback only")
	tenantApp := flag.String("tenantapp", "", "path of the tenantapp program; empty runs no apps")
	stateFile := flag.String("state-file", "", "file to write the addresses to, once listening")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *admin, *tenantApp, *stateFile); err != nil {
		fmt.Fprintln(os.Stderr, "fly-emulator:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, admin, tenantApp, stateFile string) error {
	apiListener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	adminListener, err := net.Listen("tcp", admin)
	if err != nil {
		return err
	}
	if !adminListener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return fmt.Errorf("the admin API shows secrets: it listens on the loopback interface only, not on %s", admin)
	}
	emulator := flyemulator.New(flyemulator.Options{TenantApp: tenantApp})
	defer emulator.Close()

	failed := make(chan error, 2)
	defer serve(apiListener, emulator.API(), failed)()
	defer serve(adminListener, emulator.Admin(), failed)()
	if err := announce(stateFile, apiListener.Addr(), adminListener.Addr()); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// serve serves until the function that it returns is called.
func serve(listener net.Listener, handler http.Handler, failed chan<- error) (end func()) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return func() { _ = server.Close() } // the process ends anyway
}

// announce prints the addresses, and writes them to the file in one step, so that a process that waits for it never reads half of it.
func announce(stateFile string, api, admin net.Addr) error {
	text, err := json.Marshal(map[string]string{"api": "http://" + api.String(), "admin": "http://" + admin.String()})
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	if stateFile == "" {
		return nil
	}
	partial, err := os.CreateTemp(filepath.Dir(stateFile), ".fly-emulator-*")
	if err != nil {
		return err
	}
	if _, err := partial.Write(append(text, '\n')); err != nil {
		return errors.Join(err, partial.Close())
	}
	if err := partial.Close(); err != nil {
		return err
	}
	return os.Rename(partial.Name(), stateFile)
}
