package checker

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Snapshot is what the tenants' credentials were at one moment. It holds passwords, and shows none of them.
type Snapshot struct{ tenants map[string]before }

// before is one tenant's part.
type before struct {
	label          string
	completed      int
	rows           int // of the ledger
	verifier, hash string
	delivered      string // the variable's value; "" = Fly had none
}

// String keeps a snapshot from being printed.
func (s Snapshot) String() string { return fmt.Sprintf("snapshot of %d tenants", len(s.tenants)) }

// GoString is String, for %#v.
func (s Snapshot) GoString() string { return s.String() }

// Take remembers what is so now, for a later Check.
func Take(ctx context.Context, config Config) (*Snapshot, error) {
	w, err := look(ctx, config)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{map[string]before{}}
	for _, t := range w.tenants {
		s.tenants[t.id] = w.remember(t)
	}
	return s, nil
}

func (w *world) remember(t *tenant) before {
	b := before{label: t.label(), completed: t.completed(), rows: len(t.rotations), verifier: t.verifier, hash: t.hash}
	if s := w.apps[t.app].secret(t.holder().variable()); s != nil {
		b.delivered = s.Value
	}
	return b
}

// compare says of which tenants another number of rotations was completed than were due, and whose credentials did not change, or
// changed, as that demands.
func (s *Snapshot) compare(ctx context.Context, w *world, due map[string]int) []Violation {
	var found []Violation
	for _, id := range slices.Sorted(maps.Keys(due)) {
		if w.tenant(id) == nil {
			found = append(found, Violation{id, fmt.Sprintf("%d rotations were due, and no server knows the tenant", due[id])})
		}
	}
	for id, b := range s.tenants {
		if w.tenant(id) == nil {
			found = append(found, Violation{b.label, "it is gone from the management table and from the ledger"})
		}
	}
	for _, t := range w.tenants {
		b, known := s.tenants[t.id]
		if made := t.completed() - b.completed; made != due[t.id] {
			found = append(found, Violation{t.label(), fmt.Sprintf("%d rotations were due, and %d were completed", due[t.id], made)})
		}
		if known && due[t.id] == 0 {
			for _, text := range unchanged(b, w.remember(t)) {
				found = append(found, Violation{t.label(), text})
			}
		}
	}
	return append(found, w.eachTenant(func(t *tenant) string { return s.tenants[t.id].outlived(ctx, t, due[t.id]) })...)
}

// served says of which tenants a raised generation was not done, or more was done than the raises asked for.
func (s *Snapshot) served(ctx context.Context, w *world, raised map[string]int) []Violation {
	var found []Violation
	for id, b := range s.tenants {
		t := w.tenant(id)
		if t == nil {
			found = append(found, Violation{b.label, "it is gone from the management table and from the ledger"})
			continue
		}
		wrong := t.answers(b.rows)
		if made := t.completed() - b.completed; made > raised[id] || (made == 0 && raised[id] > 0) {
			wrong = append(wrong, fmt.Sprintf("its generation was raised %d times, and %d rotations were completed", raised[id], made))
		}
		if o := t.holder(); o != nil && o.Spec.RotationGeneration != t.claim.generation {
			wrong = append(wrong, fmt.Sprintf("generation %d is asked for, and %d is done", o.Spec.RotationGeneration, t.claim.generation))
		}
		if raised[id] == 0 {
			wrong = append(wrong, unchanged(b, w.remember(t))...)
		}
		for _, text := range wrong {
			found = append(found, Violation{t.label(), text})
		}
	}
	return append(found, w.eachTenant(func(t *tenant) string { return s.tenants[t.id].outlived(ctx, t, raised[t.id]) })...)
}

// answers says which rotations after the first so many rows of the ledger answer nothing: a raised generation does, for the first time
// (ledgerIsClosed looks at that), and so do a request, and what makes a superseded rotation good.
func (t *tenant) answers(rows int) []string {
	var wrong []string
	for i := rows; i < len(t.rotations); i++ {
		r := t.rotations[i]
		repairs := i > 0 && t.rotations[i-1].state == "superseded"
		if r.state == "completed" && r.cause != "GenerationRaised" && r.cause != "Requested" && !repairs {
			wrong = append(wrong, fmt.Sprintf("revision %d was made for %s, and nothing before it had to be made good", r.revision, r.cause))
		}
	}
	return wrong
}

// unchanged says what of a tenant's credentials is another than before, though it had no rotation due.
func unchanged(then, now before) []string {
	var wrong []string
	if now.verifier != then.verifier {
		wrong = append(wrong, "no rotation was due, and its role's password was changed")
	}
	if now.hash != then.hash {
		wrong = append(wrong, "no rotation was due, and its stored hash was changed")
	}
	if now.delivered != then.delivered {
		wrong = append(wrong, "no rotation was due, and its value at Fly was changed")
	}
	return wrong
}

// outlived says whether the password from before a rotation is still accepted.
func (b before) outlived(ctx context.Context, t *tenant, due int) string {
	former, readable := parseURL(b.delivered)
	if due == 0 || !readable || !Satisfies(b.verifier, former.password) {
		return "" // it was no good before
	}
	switch err := t.try(ctx, former); {
	case err == nil:
		return "the password from before the rotation is still accepted"
	case !refused(err):
		return "the password from before the rotation is refused for another reason (28P01 is right): " + sqlState(err)
	}
	return ""
}
