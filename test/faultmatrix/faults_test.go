package faultmatrix

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// fault is a column of the matrix.
type fault struct {
	name string
	// dies: the manager does, and is started again.
	dies bool
	// deposes: the lease is lost to the other manager.
	deposes bool
	// voids: where it happens to the COMMIT of the platform's own server, that one stands, and ours is rolled back.
	voids bool
	// onWire happens to a call, inServer to a place inside stage; nil = that cannot be, and why says the reason.
	onWire   func(*incident, faultproxy.Passage) error
	inServer func(*incident, faultproxy.Passage) error
	why      string
}

var faults = []fault{
	{name: "fails before it takes effect", onWire: refuse, inServer: refuseInServer},
	{name: "takes effect, answer lost", voids: true, onWire: loseAnswer,
		why: "it is a part of the call stage and has no answer of its own; that stage's is lost is the cell of stage"},
	{name: "hangs until the deadline", onWire: hang, inServer: hangInServer},
	{name: "process dies before it", dies: true, onWire: dieBefore, inServer: dieInServer},
	{name: "process dies after it", dies: true, voids: true, onWire: dieAfter,
		why: "to the process it is the same moment as its death before the next place in stage, or, after the last one, after stage"},
	{name: "leadership lost during it", deposes: true, onWire: depose, inServer: deposeInServer},
}

const (
	// callerPatience is how long a caller may wait for an answer that does not come.
	callerPatience = 45 * time.Second
	// handover is how long the other manager may take to lead and to come to the tenant.
	handover = 20 * time.Second
)

var errEndless = errors.New("the caller still waited for an answer after " + callerPatience.String())

func refuse(_ *incident, p faultproxy.Passage) error {
	p.Refuse()
	return nil
}

func loseAnswer(_ *incident, p faultproxy.Passage) error { return p.Forward() }

func hang(_ *incident, p faultproxy.Passage) error {
	select {
	case <-p.GivenUp():
		return nil
	case <-time.After(callerPatience):
		return errEndless
	}
}

func dieBefore(i *incident, _ faultproxy.Passage) error {
	i.lane.leader.kill()
	return nil
}

func dieAfter(i *incident, p faultproxy.Passage) error {
	err := p.Forward()
	i.lane.leader.kill()
	return err
}

// depose cuts the leader off from the API server, has the other one lead and come to the tenant, and only then lets the call go on.
func depose(i *incident, p faultproxy.Passage) error {
	if err := i.handOver(); err != nil {
		return err
	}
	i.awaitSuccessor()
	if err := p.Forward(); err != nil {
		return err
	}
	p.Answer()
	return nil
}

// atGate has the server work on stage up to the gate and calls f there. It answers stage, if a caller still waits for it.
func (i *incident) atGate(p faultproxy.Passage, f func(ctx context.Context, c *pgx.Conn) error) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), callerPatience)
	defer cancel()
	c, err := pgx.Connect(ctx, platform.Sandbox().URL)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	watch, err := pgx.Connect(ctx, platform.Sandbox().URL)
	if err != nil {
		return err
	}
	defer watch.Close(ctx)
	if err := quieten(ctx, watch); err != nil {
		return err
	}
	if err := i.step.inside.close(ctx, c, i.tenant); err != nil {
		return fmt.Errorf("close the gate: %w", err)
	}
	defer func() { err = errors.Join(err, i.step.inside.open(ctx, c, i.tenant)) }()
	answered := make(chan error, 1)
	go func() { answered <- p.Forward() }()
	if err := awaitHeld(ctx, watch); err != nil {
		return fmt.Errorf("the server does not come to the gate: %w", err)
	}
	if err := f(ctx, c); err != nil {
		return err
	}
	select {
	case err = <-answered:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err == nil {
		p.Answer()
	}
	return err
}

func refuseInServer(i *incident, p faultproxy.Passage) error {
	return i.atGate(p, func(ctx context.Context, c *pgx.Conn) error { return i.step.inside.refuse(ctx, c, i.tenant) })
}

// hangInServer leaves the gate closed: the server gives up by its own limits.
func hangInServer(i *incident, p faultproxy.Passage) error {
	return i.atGate(p, func(context.Context, *pgx.Conn) error { return nil })
}

// dieInServer kills the manager while the server works for it; the server goes on, and finds no client to answer.
func dieInServer(i *incident, p faultproxy.Passage) error {
	return i.atGate(p, func(ctx context.Context, c *pgx.Conn) error {
		i.lane.leader.kill()
		return i.step.inside.open(ctx, c, i.tenant)
	})
}

// deposeInServer has the other manager lead before the server comes to the gate, where it may stay for a few seconds only.
func deposeInServer(i *incident, p faultproxy.Passage) error {
	if err := i.handOver(); err != nil {
		return err
	}
	return i.atGate(p, func(ctx context.Context, c *pgx.Conn) error {
		i.awaitSuccessor()
		return i.step.inside.open(ctx, c, i.tenant)
	})
}
