package endpoint

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

// step is what a call does to the object.
type step string

const (
	// refuse answers with the decision's problem.
	refuse step = "refuse"
	// await writes nothing and waits for the decision's target.
	await step = "await"
	// join adds the call's id to the request that there is.
	join step = "join"
	// write writes the decision's request in the place of the one that there is, which is fulfilled or asks for less.
	write step = "write"
)

// decision is what becomes of a call, as far as the object says it.
type decision struct {
	step    step
	problem *problem.Problem
	target  target
	request v1alpha1.RotationRequest
}

// clocksDiffer is by how much the clocks of PostgreSQL and of this process may differ. The times in a status are whole seconds.
const clocksDiffer = 5 * time.Second

// mostJoined is how many ids the field joinedIDs takes.
const mostJoined = 256

// decide is the one place that says what a call does. It is an ordered chain in which the first that answers wins.
func decide(c *v1alpha1.TenantCredential, environmentReady bool, a ask, minInterval time.Duration, now time.Time) decision {
	if p := unrecordable(a); p != nil {
		return refused(p)
	}
	if repeated, id := remembered(c, a); id != "" {
		if id != a.id {
			return refused(problem.New(http.StatusUnprocessableEntity, openapi.IdempotencyKeyReused,
				"The Idempotency-Key was used for another call: its reason, compromised, until or If-Match was another. Nothing was done. To fix: use a new key."))
		}
		return decision{step: await, target: repeated}
	}
	if p := late(c, a); p != nil {
		return *p
	}
	if p := precluded(c, environmentReady, a); p != nil {
		return refused(p)
	}
	if request := pending(c); request != nil {
		return joining(c, request, a)
	}
	if p := tooSoon(c, a, minInterval, now); p != nil {
		return refused(p)
	}
	return writing(c, a, c.Status.Revision, nil)
}

func refused(p *problem.Problem) decision { return decision{step: refuse, problem: p} }

// late answers a call that arrived before the last rotation was committed, and is read after it: that rotation replaced the revision which the call meant.
// Without this, calls that arrive together would be two rotations where the first is fast.
func late(c *v1alpha1.TenantCredential, a ask) *decision {
	if c.Status.Revision <= a.known || a.ifMatch != nil && *a.ifMatch != a.known {
		return nil
	}
	t := target{replaces: a.known, generation: c.Generation}
	request := c.Spec.RotationRequest
	if a.compromised {
		// Only a rotation that was asked for because of a compromise will do.
		if request == nil || !request.Compromised || request.ReplacesRevision < a.known {
			return nil
		}
		t = requested(c)
	}
	done := t.find(c)
	if done == nil || done.CommitTime.Time.Before(a.arrived.Add(-clocksDiffer)) {
		return nil // not yet; or this process has not heard of the API server for a while, so that what it knew is old
	}
	d := &decision{step: await, target: t}
	switch {
	case a.key == "": // nothing has to remember it
	case request != nil && pending(c) == nil && request.ReplacesRevision == a.known && len(request.JoinedIDs) < mostJoined:
		d.step = join
	case pending(c) == nil && !a.compromised:
		// Another cause rotated it. A request that is fulfilled already does nothing, and remembers the key.
		*d = writing(c, a, a.known, nil)
	}
	return d
}

// precluded is why nothing can be asked of the object now; nil = something can.
func precluded(c *v1alpha1.TenantCredential, environmentReady bool, a ask) *problem.Problem {
	standstill := stalled(c, c.Generation)
	switch {
	case a.ifMatch != nil && *a.ifMatch != c.Status.Revision:
		return problem.New(http.StatusPreconditionFailed, openapi.RevisionMismatch,
			"The revision is %d, and If-Match names %d. Nothing was done. To fix: read the rotations and decide again.", c.Status.Revision, *a.ifMatch)
	case !c.DeletionTimestamp.IsZero():
		return problem.New(http.StatusConflict, openapi.Deleting, "The tenant's credentials are being removed from management. Nothing was done.")
	case c.Spec.Suspend && !inProgress(c):
		return suspended(c, a.caller)
	case standstill != nil && !healed(standstill):
		return standingStill(standstill, a.caller, "Nothing was done.")
	case !environmentReady:
		return problem.Unavailable("The tenant's environment is not ready now. Nothing was done.").After(10 * time.Second)
	default:
		return nil
	}
}

// inProgress says that the request there is has been begun: then it is finished, suspended or not.
func inProgress(c *v1alpha1.TenantCredential) bool {
	return pending(c) != nil && meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ReconcilingCondition)
}

// joining answers a call by the request that there is. A compromise needs a request that says so, which then stands for the earlier one, too.
func joining(c *v1alpha1.TenantCredential, request *v1alpha1.RotationRequest, a ask) decision {
	if a.compromised && !request.Compromised {
		ids := slices.Clone(request.JoinedIDs)
		if request.ID != "" {
			ids = append([]string{request.ID}, ids...)
		}
		return writing(c, a, c.Status.Revision, ids[:min(len(ids), mostJoined)])
	}
	t := requested(c)
	t.compromised = a.compromised
	switch {
	case a.key == "":
		return decision{step: await, target: t}
	case len(request.JoinedIDs) >= mostJoined:
		return refused(problem.New(http.StatusTooManyRequests, openapi.RateLimited,
			"%d calls with an Idempotency-Key wait for this rotation already. Nothing was done.", mostJoined).After(10 * time.Second))
	default:
		return decision{step: join, target: t}
	}
}

// tooSoon is the limit of rotations of one tenant. A compromise is none that could wait.
func tooSoon(c *v1alpha1.TenantCredential, a ask, minInterval time.Duration, now time.Time) *problem.Problem {
	if c.Status.LastRotation == nil || a.compromised {
		return nil
	}
	left := minInterval - now.Sub(c.Status.LastRotation.CommitTime.Time)
	if left <= 0 {
		return nil
	}
	left = min(left, minInterval) // the server that committed it has another clock
	return problem.New(http.StatusTooManyRequests, openapi.RateLimited,
		"The credentials were rotated less than %s ago (revision %d). Nothing was done.", minInterval, c.Status.Revision).After(left)
}

func writing(c *v1alpha1.TenantCredential, a ask, replaces int64, joined []string) decision {
	request := v1alpha1.RotationRequest{
		ReplacesRevision: replaces, Reason: a.reason, RequestedBy: a.caller.Name(), ID: a.id, JoinedIDs: joined, Compromised: a.compromised,
	}
	return decision{step: write, request: request, target: target{replaces: replaces, compromised: a.compromised, requestID: a.id, generation: c.Generation}}
}

// unrecordable is why the object does not take the call's texts.
func unrecordable(a ask) *problem.Problem {
	switch name := a.caller.Name(); {
	case name == "" || utf8.RuneCountInString(name) > 253 || !oneLine(name):
		return problem.New(http.StatusForbidden, openapi.Forbidden,
			"Your username cannot be recorded with the rotation: it is longer than 253 characters, or not one line of plain text. Nothing was done.")
	case !oneLine(a.reason):
		return problem.New(http.StatusBadRequest, openapi.InvalidRequest, "The reason is not one line of plain text. Nothing was done.")
	default:
		return nil
	}
}

// oneLine says that the text is what the object's fields take: one line of plain text.
func oneLine(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
	})
}

func suspended(c *v1alpha1.TenantCredential, caller identity.Caller) *problem.Problem {
	const fact = "The tenant's rotations are suspended. Nothing was done. "
	if caller.Kind == identity.Customer {
		return problem.New(http.StatusConflict, openapi.Suspended, fact+"Ask the platform's operators.")
	}
	return problem.New(http.StatusConflict, openapi.Suspended,
		fact+"To fix: kubectl patch tcred %s -n %s --type merge -p '{\"spec\":{\"suspend\":false}}'", c.Name, c.Namespace)
}
