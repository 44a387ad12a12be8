// Command demo does the main job on a running playground and proves what happened: it adopts the sample tenants, rotates some of them
// with kubectl apply, and looks at PostgreSQL, at Fly and into the Machines whether it is so. The independent checker has the last word.
//
// With the argument overlap it makes two tenants of its own, rotates both at the same time, one with each strategy, and counts how many
// logins of their apps fail.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
)

func main() {
	name, scenario := "demo", run
	if len(os.Args) > 1 && os.Args[1] == "overlap" {
		name, scenario = "demo-overlap", runOverlap
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := scenario(ctx)
	stop()
	if err != nil {
		fmt.Printf("\n%s: failed: %v\nLook at: kubectl get tcred -A -o wide, and at the manager's log, %s\n", name, err, os.Getenv("MANAGER_LOG"))
		os.Exit(1)
	}
	fmt.Println(name + ": ok")
}

// demo is what the steps share.
type demo struct {
	config   checker.Config
	began    *checker.Snapshot // before the samples were applied
	writes   int               // requests that changed something at Fly, by then
	due      map[string]int    // rotations since then, by tenant ID
	previous map[string]*view  // before each tenant's last rotation
}

// step is one line of the report.
type step struct {
	says string
	do   func(context.Context) (found string, err error)
}

func run(ctx context.Context) error {
	config, err := checker.FromEnvironment()
	if err != nil {
		return err
	}
	d := &demo{config: config, due: map[string]int{}, previous: map[string]*view{}}
	return report(ctx, d.steps())
}

// report does the steps one after another, until one of them cannot be done.
func report(ctx context.Context, steps []step) error {
	began := time.Now()
	for _, s := range steps {
		if err := s.run(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("all of it in %.1f s\n", time.Since(began).Seconds())
	return nil
}

func (d *demo) steps() []step {
	return []step{
		{"what is so before anything is done", d.remember},
		{"kubectl apply -f config/samples/tenants.yaml", applySamples},
		{"kubectl wait: the tenants are Ready", waitForAll},
		{"umbrella has no Fly app, and its status says so", missingApp},
		{"adoption has changed nothing", d.provenUntouched},
		{"kubectl apply: rotationGeneration raised of globex (2 Machines) and acme (one)", d.raise("globex", "acme")},
		{"curl POST …/rotate-credentials: initech (a Machine and a stopped one), with the token of its owner", d.rotateByCurl("initech")},
		{"kubectl wait: acme", ready("acme")},
		{"acme: what is so now", d.prove("acme")},
		{"acme is raised again, while the others are under way", d.raise("acme")},
		{"kubectl wait: globex, initech, acme", ready("globex", "initech", "acme")},
		{"globex: what is so now", d.prove("globex")},
		{"initech: what is so now", d.prove("initech")},
		{"acme: what is so now", d.prove("acme")},
		{"tcred rotate-credentials --save: globex, and psql with what was saved", d.rotateByTcred("globex")},
		{"kubectl wait: globex", ready("globex")},
		{"globex: what is so now", d.prove("globex")},
		{"vandelay, whose application reads a Secret: kubectl patch, kubectl wait, and a login with what the Secret says", d.rotateIntoSecret},
		{"globex applied again unchanged", reapply},
		{"the independent checker looks at every tenant, and for passwords in logs, objects, events, metrics, the ledger and etcd", d.check},
	}
}

// run does a step and reports it with the time that it took.
func (s step) run(ctx context.Context) error {
	fmt.Printf("• %s\n", s.says)
	start := time.Now()
	found, err := s.do(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.says, err)
	}
	mark := fmt.Sprintf("%5.1f s", time.Since(start).Seconds())
	for line := range strings.SplitSeq(strings.TrimSpace(found), "\n") {
		fmt.Printf("  %s  %s\n", mark, line)
		mark = strings.Repeat(" ", len(mark))
	}
	return nil
}

func (d *demo) remember(ctx context.Context) (found string, err error) {
	if d.began, err = checker.Take(ctx, d.config); err != nil {
		return "", err
	}
	if d.writes, err = flyWrites(ctx); err != nil {
		return "", err
	}
	for name := range tenantIDs {
		if d.previous[name], err = see(ctx, name); err != nil {
			return "", err
		}
		if code := login(ctx, d.previous[name].url); code != "" {
			return "", fmt.Errorf("%s cannot log in with the DATABASE_URL that its app has: %s", name, code)
		}
	}
	return "each tenant logs in with the DATABASE_URL that its app has", nil
}

// provenUntouched asks the checker, for which no rotation is due, and Fly, which has seen no write.
func (d *demo) provenUntouched(ctx context.Context) (string, error) {
	if err := complain(checker.Check(ctx, d.config, d.began, nil)); err != nil {
		return "", err
	}
	writes, err := flyWrites(ctx)
	if err != nil {
		return "", err
	}
	if writes != d.writes {
		return "", fmt.Errorf("%d requests have changed something at Fly", writes-d.writes)
	}
	return "every password, stored hash and value at Fly is as it was; no new ledger row, no write to Fly", nil
}

func (d *demo) check(ctx context.Context) (string, error) {
	if err := complain(checker.Check(ctx, d.config, d.began, d.due)); err != nil {
		return "", err
	}
	return "checker: ok", nil
}

func complain(violations []checker.Violation) error {
	if len(violations) == 0 {
		return nil
	}
	lines := []string{"the checker says:"}
	for _, v := range violations {
		lines = append(lines, "  "+v.String())
	}
	return fmt.Errorf("%s", strings.Join(lines, "\n"))
}
