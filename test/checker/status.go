package checker

import (
	"cmp"
	"fmt"
)

// statusAgrees compares the status of every object that names the tenant with the ledger.
func statusAgrees(w *world, t *tenant) []string {
	var wrong []string
	for _, o := range t.objects {
		if o.Metadata.DeletionTimestamp != nil {
			continue
		}
		wrong = append(wrong, o.contract()...)
		switch {
		case t.claim != nil && t.claim.uid == o.Metadata.UID:
			wrong = append(wrong, o.agrees(t)...)
			wrong = append(wrong, o.readiness(w, t)...)
		case o.is("Ready"):
			wrong = append(wrong, o.name()+" is Ready, and does not hold the tenant's claim")
		}
	}
	return wrong
}

// contract is what holds for every status, in any state of the tenant.
func (o *object) contract() []string {
	var wrong []string
	if o.Status.ObservedGeneration != o.Metadata.Generation {
		wrong = append(wrong, fmt.Sprintf("the status of %s speaks of generation %d of the object, which is at %d",
			o.name(), o.Status.ObservedGeneration, o.Metadata.Generation))
	}
	ready, reconciling, stalled := o.is("Ready"), o.is("Reconciling"), o.is("Stalled")
	switch {
	case ready && (reconciling || stalled):
		wrong = append(wrong, o.name()+" is Ready, and Reconciling or Stalled too")
	case reconciling && stalled:
		wrong = append(wrong, o.name()+" is both Reconciling and Stalled")
	case !ready && !reconciling && !stalled && o.condition("Ready").Reason != "Suspended":
		wrong = append(wrong, o.name()+" is neither Ready nor Reconciling nor Stalled")
	}
	return wrong
}

// agrees compares the numbers that the holder's status shows with the ledger's.
func (o *object) agrees(t *tenant) []string {
	var wrong []string
	say := func(bad bool, format string, arguments ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, arguments...))
		}
	}
	status, last := o.Status, t.last()
	say(status.RotationGeneration != t.claim.generation, "status.rotationGeneration is %d, and the claim's is %d", status.RotationGeneration, t.claim.generation)
	if last == nil {
		say(status.Revision != 0, "status.revision is %d, and the ledger has none", status.Revision)
		return wrong
	}
	say(status.Revision != last.revision, "status.revision is %d, and the ledger's is %d", status.Revision, last.revision)
	if r := status.LastRotation; r == nil {
		say(true, "status.lastRotation is missing, and the ledger has revision %d", last.revision)
	} else {
		say(r.Revision != last.revision, "status.lastRotation is of revision %d, and the ledger's last is %d", r.Revision, last.revision)
		say((r.CompletionTime != nil) != (last.completedAt != nil), "status.lastRotation and the ledger disagree on whether revision %d is completed", last.revision)
	}
	if fly := status.Fly; fly == nil || !o.deliversToFly() {
		say(fly != nil, "status.fly is there, and nothing is delivered to Fly")
		say(o.deliversToFly(), "status.fly is missing, and revision %d was delivered", last.revision)
	} else {
		say(fly.SecretVersion != cmp.Or(last.secretVersion, "0"), "status.fly.secretVersion is %q, and the ledger's is %s", fly.SecretVersion, last.secretVersion)
		say(fly.SecretDigest != last.digest, "status.fly.secretDigest is %q, and the ledger's is %s", fly.SecretDigest, last.digest)
	}
	return wrong
}

// readiness asserts that the holder is Ready if, and only if, what its spec asks for is done.
func (o *object) readiness(w *world, t *tenant) []string {
	asked, done := o.Spec.RotationGeneration, t.claim.generation
	if o.is("Ready") {
		if asked > done {
			return []string{fmt.Sprintf("%s is Ready, and of generation %d that is asked for only %d is done", o.name(), asked, done)}
		}
		return nil
	}
	// A Stalled one waits for a person; one whose app or variable is missing has nothing to deliver to.
	complete := t.inTable && t.roleExists && (!o.deliversToFly() || w.apps[t.app].secret(o.variable()) != nil)
	if complete && asked <= done && !o.is("Stalled") {
		return []string{fmt.Sprintf("%s is not Ready (%s), and generation %d that is asked for is done", o.name(), o.condition("Ready").Reason, asked)}
	}
	return nil
}

// strangers are Ready objects whose tenant PostgreSQL does not know.
func (w *world) strangers() []Violation {
	var found []Violation
	for _, o := range w.objects {
		if o.tenant == nil && o.is("Ready") {
			found = append(found, Violation{o.Spec.TenantID + " (" + o.name() + ")",
				"it is Ready, and the server of environment " + o.Spec.EnvironmentRef.Name + " knows no such tenant"})
		}
	}
	return found
}
