package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/systempromptio/tenant-credential-operator/test/checker"
)

const (
	rotations = 3
	// calm is how often each Machine logs in between two rotations.
	calm = 20
)

// overlapDemo rotates two tenants at the same time, one with each strategy, while their apps log in all the time.
type overlapDemo struct {
	config checker.Config
	began  *checker.Snapshot
	pair   []*side
	watch  *watch
}

func runOverlap(ctx context.Context) error {
	config, err := checker.FromEnvironment()
	if err != nil {
		return err
	}
	d := &overlapDemo{config: config, pair: []*side{newSide("Overlap"), newSide("InPlace")}}
	d.watch = newWatch(d.pair)
	err = report(ctx, d.steps())
	d.watch.stop()
	if err != nil { // else they are stopped already
		_, _ = d.each(context.WithoutCancel(ctx), (*side).stopMachines) // so that no app goes on logging in
	}
	return err
}

func (d *overlapDemo) steps() []step {
	steps := []step{
		{fmt.Sprintf("two tenants, each with an app of %d Machines that log in anew every %s", machinesOfEach, loginInterval), d.makeTenants},
		{"the DBA prepares the second login of the one that is to overlap", d.prepare},
		{"kubectl apply, kubectl wait: both are adopted", d.adopt},
	}
	for n := range int64(rotations) {
		steps = append(steps, step{fmt.Sprintf("kubectl apply: rotationGeneration %d of both; kubectl wait", n+1), d.rotate(n + 1)})
	}
	return append(steps,
		step{"the Machines are stopped, and every process tells what it has counted", d.finish},
		step{"the independent checker looks at every tenant, and for passwords everywhere", d.check},
		step{"failed logins", d.result},
	)
}

// each does the same for both tenants.
func (d *overlapDemo) each(ctx context.Context, do func(*side, context.Context) (string, error)) (string, error) {
	var said []string
	for _, s := range d.pair {
		text, err := do(s, ctx)
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.strategy, err)
		}
		said = append(said, fmt.Sprintf("%s: %s", s.strategy, text))
	}
	return strings.Join(said, "\n"), nil
}

func (d *overlapDemo) makeTenants(ctx context.Context) (string, error) {
	return d.each(ctx, (*side).make)
}

func (d *overlapDemo) prepare(ctx context.Context) (string, error) {
	statement := fmt.Sprintf("SELECT tenant_credentials.prepare_overlap('%s')", d.pair[0].role())
	return statement, d.pair[0].sql(ctx, "", statement)
}

func (d *overlapDemo) adopt(ctx context.Context) (string, error) {
	for _, s := range d.pair {
		if err := s.ask(ctx, 0); err != nil {
			return "", err
		}
	}
	if err := d.awaitReady(ctx); err != nil {
		return "", err
	}
	var err error
	if d.began, err = checker.Take(ctx, d.config); err != nil {
		return "", err
	}
	d.watch.start(ctx)
	return d.each(ctx, (*side).prove)
}

func (d *overlapDemo) awaitReady(ctx context.Context) error {
	return awaitReady(ctx, d.pair[0].name, d.pair[1].name)
}

func (d *overlapDemo) rotate(generation int64) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if err := d.watch.awaitLogins(ctx, calm); err != nil {
			return "", err
		}
		for _, s := range d.pair {
			if err := s.ask(ctx, generation); err != nil {
				return "", err
			}
		}
		if err := d.awaitReady(ctx); err != nil {
			return "", err
		}
		return d.each(ctx, (*side).prove)
	}
}

// finish ends every process, so that the totals are those of whole lives.
func (d *overlapDemo) finish(ctx context.Context) (string, error) {
	if err := d.watch.awaitLogins(ctx, calm); err != nil {
		return "", err
	}
	d.watch.stop()
	if d.watch.failed != nil {
		return "", d.watch.failed
	}
	return d.each(ctx, (*side).stopMachines)
}

func (d *overlapDemo) check(ctx context.Context) (string, error) {
	due := map[string]int{}
	for _, s := range d.pair {
		due[s.id] = rotations
	}
	if err := complain(checker.Check(ctx, d.config, d.began, due)); err != nil {
		return "", err
	}
	return "checker: ok", nil
}

// result prints what was measured, and complains if a login failed where none may.
func (d *overlapDemo) result(context.Context) (string, error) {
	fmt.Printf("\n%s\n%s\n", d.table(), d.timeline())
	if failed := d.pair[0].total().failures; failed > 0 {
		return "", fmt.Errorf("%d logins have failed with Overlap", failed)
	}
	if d.pair[0].total().logins == 0 {
		return "", errors.New("no app has logged in, so nothing was measured")
	}
	return "none with Overlap", nil
}
