package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"
	"github.com/systempromptio/tenant-credential-operator/cmd/tcred/endpoint"
)

// follower waits for one rotation and then delivers what it has made.
type follower struct {
	*program
	delivery *delivery
	client   *endpoint.Client
	tenant   string
	until    client.RotationRequestUntil
}

// pollPeriod is how often to ask where the endpoint does not say.
const pollPeriod = 2 * time.Second

// finish waits until the rotation has come as far as it is to, and delivers.
func (f *follower) finish(ctx context.Context, s endpoint.State) (*result, error) {
	s, err := f.wait(ctx, s)
	if err != nil {
		return f.describe(s), err
	}
	r := f.describe(s)
	if f.until != client.Completed {
		r.Next = f.goOn(s.Revision)
	}
	return r, f.delivery.deliver(ctx, f, s, r)
}

// asItIs shows a rotation without waiting for it.
func (f *follower) asItIs(s endpoint.State) (*result, error) {
	r := f.describe(s)
	if err := ended(s); err != nil {
		return r, err
	}
	if !f.done(s) {
		r.Next = f.goOn(s.Revision)
	}
	_, err := f.delivery.masked(f, s, r)
	return r, err
}

func (f *follower) wait(ctx context.Context, s endpoint.State) (endpoint.State, error) {
	for !f.done(s) {
		if err := ended(s); err != nil {
			return s, err
		}
		f.progress.show(howFar(s))
		select {
		case <-ctx.Done():
			return s, f.over(ctx, s)
		case <-time.After(cmp.Or(s.After, pollPeriod)):
		}
		next, err := f.client.Again(ctx, s.Next)
		if ctx.Err() != nil {
			return s, f.over(ctx, s)
		}
		if err != nil {
			return s, fmt.Errorf("%w. The rotation continues automatically. To look again: %s", err, f.goOn(s.Revision))
		}
		next.After = cmp.Or(next.After, s.After)
		s = next
	}
	return s, nil
}

// done says whether the rotation has come as far as it is to. "Rotated" alone may mean committed.
func (f *follower) done(s endpoint.State) bool {
	return s.Status == client.Rotated && (s.Reached || f.until == client.Committed || s.CompletionTime != nil)
}

// ended is the error of a rotation that will not be done.
func ended(s endpoint.State) error {
	message := endpoint.Printable(s.Message)
	switch s.Status {
	case client.Failed:
		if s.Reason != nil {
			return fmt.Errorf("the rotation with revision %d has failed (%s): %s", s.Revision, endpoint.Printable(*s.Reason), message)
		}
		return fmt.Errorf("the rotation with revision %d has failed: %s", s.Revision, message)
	case client.Superseded:
		return fmt.Errorf("the rotation with revision %d was superseded by a later one: %s", s.Revision, message)
	}
	return nil
}

func howFar(s endpoint.State) string {
	if s.Machines != nil && s.CommitTime != nil {
		return fmt.Sprintf("%d of %d Machines run with revision %d", s.Machines.Updated, s.Machines.Total, s.Revision)
	}
	return fmt.Sprintf("Revision %d: %s", s.Revision, endpoint.Printable(s.Message))
}

func (f *follower) over(ctx context.Context, s endpoint.State) error {
	return &timeOver{fmt.Errorf("%s, and the rotation continues automatically: %s. To look again: %s", f.whyOver(ctx), howFar(s), f.goOn(s.Revision))}
}

// goOn is the command that goes on with this rotation.
func (f *follower) goOn(revision int64) string {
	words := append([]string{"tcred", "rotation", f.tenant, strconv.FormatInt(revision, 10)}, f.server.arguments()...)
	return commandLine(append(words, f.delivery.arguments()...)...)
}

func (f *follower) describe(s endpoint.State) *result {
	r := &result{
		TenantID: f.tenant, Status: string(s.Status), Message: endpoint.Printable(s.Message), Revision: s.Revision, Machines: s.Machines,
	}
	switch {
	case !f.done(s):
		r.headline = howFar(s)
	case s.Machines != nil:
		r.headline = fmt.Sprintf("Credentials rotated: %d of %d Machines run with revision %d.", s.Machines.Updated, s.Machines.Total, s.Revision)
	default:
		r.headline = fmt.Sprintf("Credentials rotated: revision %d.", s.Revision)
	}
	return r
}
