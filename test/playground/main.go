// Command playground runs the whole system on one machine: a kube-apiserver with etcd, two PostgreSQL servers, the Fly emulator, and the
// manager with its own least-privileged service account and database login. `up` starts it and leaves it running, `down` ends it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
)

const usage = `usage: playground [-dir DIR] [-quiet] COMMAND

  up                       start it, or what has ended of it, and return when it is ready
  down                     end it, and remove what it left
  postgres-down ENV        stop the PostgreSQL server of sandbox or prod
  postgres-up ENV          start it again, with its data
  cluster-down             stop kube-apiserver and etcd
  cluster-up               start them again, with their data, ports and certificates
  apiserver-kill           kill kube-apiserver and start it again; etcd runs on
  manager-down             end the manager as a stop of its pod does
  manager-up               start it again
`

func main() {
	dir := flag.String("dir", "bin/playground", "where its files are; one playground a folder")
	quiet := flag.Bool("quiet", false, "for up: nothing is logged that a platform would not log, and PostgreSQL writes to the disk, so that figures mean something")
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, *quiet, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "playground:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, quiet bool, arguments []string) error {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	f := files{absolute}
	switch command, rest := first(arguments); {
	case command == "up" && len(rest) == 0:
		return up(ctx, f, quiet)
	case command == "down" && len(rest) == 0:
		return down(f)
	case command == "serve" && len(rest) == 0: // not for people: the process that `up` leaves running
		return serve(ctx, f, quiet)
	case (command == "postgres-down" || command == "postgres-up") && len(rest) == 1:
		return control(ctx, f, command+"/"+rest[0])
	case slices.Contains([]string{"cluster-down", "cluster-up", "apiserver-kill", "manager-down", "manager-up"}, command) && len(rest) == 0:
		return control(ctx, f, command)
	}
	flag.Usage()
	return fmt.Errorf("no such command: %v", arguments)
}

func first(arguments []string) (string, []string) {
	if len(arguments) == 0 {
		return "", nil
	}
	return arguments[0], arguments[1:]
}
